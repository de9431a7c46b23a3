"""Adapters start as the identity, learn while the network is frozen, and see only along time."""
import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.temporal_adapter import adapt_slowly
from small_backbones import R3D, VIT

from sbp_tad.models import SBPBackbone
from sbp_tad.models.backbones.strategies.adapters import TemporalAdapter, list_adapters
from sbp_tad.registry import MODELS
from sbp_tad.sbp import SavedMemory, SBPError

SWIN = dict(type='SwinTransformer3D', pretrained=None, pretrained2d=False, drop_path_rate=0.5,
            arch=dict(embed_dims=12, depths=[1, 2, 1, 1], num_heads=[2, 2, 2, 2]),
            patch_size=(2, 4, 4), window_size=(2, 4, 4), out_indices=(1, ))
BACKBONES = {'videomae': (VIT, 3), 'swin': (SWIN, 5)}
every_backbone = pytest.mark.parametrize('backbone', list(BACKBONES))
NUM_CLIPS = 4


def build(backbone='videomae', mode='adapters', **choices):
    torch.manual_seed(0)
    config = BACKBONES[backbone][0] if isinstance(backbone, str) else backbone
    model = SBPBackbone(config, clip_len=4, mode=mode, **choices)
    model.init_weights()
    return model.train()


def video(batch=2):
    return torch.randn(batch, 3, 4 * NUM_CLIPS, 32, 32, generator=torch.Generator().manual_seed(1))


def wake(model):
    """Draw the last projections, so that the adapters are not the identity."""
    generator = torch.Generator().manual_seed(2)
    for adapter in list_adapters(model):
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
    return model


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.sampled_from([1, 3, 5]))
def test_an_adapter_is_the_reference(windows, together, num_steps, kernel_size):
    torch.manual_seed(0)
    adapter = TemporalAdapter(8, reduction=2, kernel_size=kernel_size).double()
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter)
    adapter.clips_together = together
    x = torch.randn(windows * together, num_steps, 2, 3, 8, dtype=torch.float64)
    pairs = [(layer.weight, layer.bias)
             for layer in (adapter.down, adapter.depth, adapter.point, adapter.up)]
    expected = [adapt_slowly(window.reshape(-1, 6, 8), *pairs, adapter.scale)
                for window in x.split(together)]
    torch.testing.assert_close(adapter(x), torch.cat(expected).view_as(x))


@every_backbone
@pytest.mark.parametrize('training', [True, False])
def test_nothing_changes_at_first(backbone, training):
    model, plain = build(backbone), build(backbone, 'full').eval()
    assert len(list_adapters(model)) == BACKBONES[backbone][1]
    model.load_state_dict(plain.state_dict(), strict=False)
    found = model.train(training)(video())
    torch.testing.assert_close(found, plain(video()), rtol=1e-5, atol=1e-5)
    changed = wake(model)(video())
    assert changed.shape == found.shape and not torch.allclose(changed, found)


@every_backbone
def test_evaluation_is_training_whatever_the_chunks(backbone):
    model = wake(build(backbone, clips_at_once=3))
    torch.testing.assert_close(model(video()), model.eval()(video()), rtol=1e-4, atol=1e-4)


@every_backbone
@pytest.mark.parametrize('across_clips', [True, False])
def test_convolutions_see_neighbouring_clips_or_not(backbone, across_clips):
    model = wake(build(backbone, options=dict(across_clips=across_clips)))
    frames = video().requires_grad_()
    features = model(frames)  # (B, C', T')
    first_clip = features[0, :, :features.shape[2] // NUM_CLIPS]
    seen, = torch.autograd.grad(first_clip.sum(), frames)
    per_clip = seen.abs().amax((1, 3, 4)).unflatten(1, (NUM_CLIPS, -1)).amax(2) > 0
    assert per_clip[0, :2].tolist() == [True, across_clips] and not per_clip[1].any()


@every_backbone
def test_only_adapters_learn(backbone):
    model = build(backbone)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    before = copy.deepcopy(model.state_dict())
    for _ in range(2):
        optimizer.zero_grad()
        model(video()).square().sum().backward()
        optimizer.step()
    trained = {id(p) for adapter in list_adapters(model) for p in adapter.parameters()}
    assert {id(parameter) for parameter in optimizer.state} <= trained
    changed = {key for key, value in model.state_dict().items() if not value.equal(before[key])}
    assert changed and all('.adapter.' in key for key in changed)
    assert any(key.endswith('adapter.down.weight') for key in changed)


@every_backbone
def test_checkpoints_of_the_network_load(backbone):
    model, plain = wake(build(backbone)), build(backbone, 'full').backbone
    assert set(plain.state_dict()) <= set(model.state_dict())
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and missing and all('.adapter.' in key for key in missing)
    twin = build(backbone)
    twin.load_state_dict(model.state_dict(), strict=True)
    torch.testing.assert_close(twin(video()), model(video()), rtol=0, atol=0)


def test_copies_work_by_themselves():
    model = wake(build())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(twin(video()), model(video()), rtol=0, atol=0)
        twin(video()[:1, :, :8])  # another number of clips
        model.eval()(video())


def test_mixed_precision():
    model = build()
    with torch.autocast('cpu', torch.bfloat16):
        features = model(video())
    features.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in list_adapters(model)[0].parameters())


def saved_bytes(model):
    with SavedMemory(model) as saved:
        model(video()).sum().backward()
    return saved.bytes


def test_memory():
    config = dict(VIT, embed_dims=64, num_heads=4, depth=4, img_size=32)
    full = saved_bytes(build(config, 'full'))
    every, last = (saved_bytes(build(config, options=dict(blocks=blocks)))
                   for blocks in (None, [r'blocks\.3']))
    assert 0.5 < every / full < 0.9
    assert last / full < 0.2


def test_chosen_blocks():
    model = build(options=dict(blocks=[r'blocks\.[02]'], reduction=8, kernel_size=5))
    names = {name for name, module in model.backbone.named_modules()
             if isinstance(module, TemporalAdapter)}
    assert names == {'blocks.0.adapter', 'blocks.2.adapter'}
    adapter = list_adapters(model)[0]
    assert adapter.down.weight.shape == (2, 16) and adapter.depth.kernel_size == (5, )


def test_a_batch_of_clips_has_no_neighbours():
    torch.manual_seed(0)
    model = wake(MODELS.build(dict(type='SBPBackbone', backbone=VIT, mode='adapters'))).train()
    clips = torch.randn(3, 3, 4, 16, 16)
    alone = torch.cat([model(clip[None]) for clip in clips])
    torch.testing.assert_close(model(clips), alone, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('backbone, choices, message', [
    (R3D, {}, 'after the blocks of VideoMAE .* found none in ResNet3d; take one'),
    (VIT, dict(blocks=['layers.*']), r"that matches \['layers.\*'\], of \['blocks.0', "),
    (VIT, dict(reduction=0), 'reduction of adapters must be a whole number .*got 0'),
    (VIT, dict(kernel_size=2.5), 'kernel_size of adapters must be a whole number .*got 2.5'),
    (VIT, dict(kernel_size=4), 'kernel_size of adapters must be odd, .*got 4')])
def test_wrong_options(backbone, choices, message):
    with pytest.raises(SBPError, match=message):
        build(backbone, options=choices)


def test_overlapping_clips_are_no_neighbours():
    with pytest.raises(SBPError, match=r'context_frames=2 make clips overlap.*across_clips=False'):
        build(context_frames=2)
    build(dict(VIT, num_frames=8), context_frames=2, options=dict(across_clips=False))(video())
