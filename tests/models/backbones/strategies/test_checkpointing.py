import copy
import pickle

import pytest
import torch
from small_backbones import R3D, VIT

from sbp_tad.models import SBPBackbone
from sbp_tad.sbp import SavedMemory, SBPError

DEEP = dict(R3D, stage_blocks=(2, 2))
DROPPING = dict(VIT, drop_path_rate=0.5)


def build(backbone, **choices):
    torch.manual_seed(0)
    model = SBPBackbone(backbone, clip_len=4, **choices)
    model.backbone.init_weights()
    return model.train()


def step(model):
    video = torch.randn(2, 3, 8, 16, 16, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(2)  # of stochastic depth
    with SavedMemory(model) as saved:
        features = model(video)
    features.square().sum().backward()
    return features.detach(), [parameter.grad for parameter in model.parameters()], saved.bytes


@pytest.mark.parametrize('backbone', [DEEP, DROPPING], ids=['r3d', 'vit'])
def test_gradient_is_full_and_memory_is_not(backbone):
    features, gradients, saved = step(build(backbone, mode='checkpointing'))
    expected, full_gradients, full = step(build(backbone, mode='full'))
    torch.testing.assert_close(features, expected, rtol=0, atol=0)
    for one, other in zip(gradients, full_gradients):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert saved < 0.7 * full  # the stem keeps its own


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_run_their_own_blocks(copied):
    model = build(DEEP, mode='checkpointing')
    twin = copied(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    features, gradients, saved = step(twin)
    expected, full_gradients, full = step(build(DEEP, mode='full'))
    torch.testing.assert_close(features, expected, rtol=0, atol=0)
    assert saved < 0.7 * full  # the stem keeps its own
    for one, other in zip(gradients, full_gradients):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_named_blocks():
    _, _, saved = step(build(DEEP, mode='checkpointing', options=dict(blocks=['layer1'])))
    _, _, all_blocks = step(build(DEEP, mode='checkpointing'))
    _, _, full = step(build(DEEP, mode='full'))
    assert all_blocks < saved < full


@pytest.mark.parametrize('backbone, options, message', [
    (dict(type='FrameCNN'), None, 'found no block in FrameCNN; name its modules by options'),
    (R3D, dict(blocks=['layer9']), r"found no block in ResNet3d that matches \['layer9'\]")])
def test_no_block(backbone, options, message):
    with pytest.raises(SBPError, match=message):
        SBPBackbone(backbone, mode='checkpointing', clip_len=1, options=options)
