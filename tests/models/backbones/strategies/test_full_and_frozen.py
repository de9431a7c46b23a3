import pytest
import torch
from small_backbones import R3D

from sbp_tad.models import SBPBackbone
from sbp_tad.sbp import SavedMemory, SBPError


def build(mode, **options):
    torch.manual_seed(0)
    return SBPBackbone(R3D, mode=mode, clip_len=4, options=options or None)


@pytest.fixture
def video():
    return torch.randn(2, 3, 8, 16, 16, generator=torch.Generator().manual_seed(1))


def test_full_is_direct_with_keep_ratio_one(video):
    full, direct = build('full'), build('direct')
    direct.set_keep_ratio(1)
    for model in (full, direct):
        model(video).square().sum().backward()
    assert full.config.keep_ratio == 1 and full.mode == 'full'
    for one, other in zip(full.parameters(), direct.parameters()):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=0)


def test_frozen_keeps_nothing_and_trains_nothing(video):
    model = build('frozen')
    with SavedMemory(model) as saved:
        features = model(video)
    assert saved.bytes == 0 and not features.requires_grad
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(module.training for module in model.backbone.modules())
    torch.testing.assert_close(features, build('full')(video), rtol=0, atol=0)


def test_frozen_first_parts(video):
    model, full = build('frozen', blocks=['conv1', 'layer1']), build('full')
    shares = []
    for one in (model, full):
        with SavedMemory(one) as saved:
            features = one(video)
        features.square().sum().backward()
        shares.append(saved.bytes)
    assert shares[0] < 0.5 * shares[1]
    trained = [name for name, parameter in model.backbone.named_parameters()
               if parameter.requires_grad]
    assert trained and all(name.startswith('layer2') for name in trained)
    assert not model.backbone.layer1.training and model.backbone.layer2.training
    reference = dict(full.backbone.named_parameters())
    for name, parameter in model.backbone.named_parameters():
        if name in trained:
            torch.testing.assert_close(parameter.grad, reference[name].grad)
        else:
            assert parameter.grad is None


def test_frozen_stays_so_after_evaluation():
    model = build('frozen', blocks=['conv1'])
    model.eval()
    model.train()
    assert model.training and model.backbone.layer1.training and not model.backbone.conv1.training


@pytest.mark.parametrize('blocks, message', [
    (['layer9'],
     r"'layer9' matches no part of ResNet3d, which has \['conv1', 'layer1', 'layer2'\]"),
    ([], r'at least one name or regular expression, got \[\]'),
    ('layer1', "at least one name or regular expression, got 'layer1'")])
def test_wrong_blocks(blocks, message):
    with pytest.raises(SBPError, match=message):
        build('frozen', blocks=blocks)
