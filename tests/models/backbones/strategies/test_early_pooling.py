import pytest
import torch
from small_backbones import R3D

from sbp_tad.models import SBPBackbone
from sbp_tad.models.backbones.strategies.early_pooling import pool_clips, spread_steps
from sbp_tad.sbp import SavedMemory, SBPError


def build(**choices):
    torch.manual_seed(0)
    return SBPBackbone(R3D, clip_len=4, **choices)


@pytest.fixture
def video():
    return torch.randn(2, 3, 32, 16, 16, generator=torch.Generator().manual_seed(1))


def test_frames_are_averaged_in_their_order():
    frames = torch.arange(16.).view(1, 1, 16, 1, 1).expand(2, 3, 16, 2, 2)
    clips = frames.unflatten(2, (4, 4)).transpose(1, 2).flatten(0, 1)
    pooled = pool_clips(clips, 2, 2, 'mean')  # every two frames become one
    assert pooled.shape == (4, 3, 4, 2, 2)
    assert pooled[:2, 0, :, 0, 0].flatten().tolist() == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5, 12.5, 14.5]
    strided = pool_clips(clips, 2, 2, 'stride')
    assert strided[2:, 2, :, 1, 1].flatten().tolist() == [1, 3, 5, 7, 9, 11, 13, 15]


def test_steps_come_back_on_a_line():
    steps = torch.arange(8.).view(2, 4).repeat(2, 1)[:, None]  # (2 samples x 2 clips, 1, 4)
    spread = spread_steps(steps, 2, 4).unflatten(0, (2, 4)).flatten(1)  # (B, K * t)
    assert spread.shape == (2, 16)
    differences = spread.diff(dim=1)[:, 1:-1]
    torch.testing.assert_close(differences, torch.full_like(differences, 0.5))


@pytest.mark.parametrize('ratio, left', [(1 / 2, 4), (1 / 4, 2), (1 / 8, 1), (0.2, 2)])
def test_fewer_clips_are_encoded(video, ratio, left, monkeypatch):
    model, full = build(mode='early_pooling', keep_ratio=ratio), build(mode='full')
    with SavedMemory(model) as saved:
        features = model(video)
    with SavedMemory(full) as whole:
        expected = full(video)
    assert features.shape == expected.shape
    assert saved.bytes == pytest.approx(left / 8 * whole.bytes, rel=0.05)
    features.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_evaluation_pools_as_training_does(video):
    model = build(mode='early_pooling', keep_ratio=0.5, clips_at_once=3)
    trained = model(video)
    torch.testing.assert_close(model.eval()(video), trained)


def test_keep_ratio_one_is_full(video):
    torch.testing.assert_close(build(mode='early_pooling', keep_ratio=1.0)(video),
                               build(mode='full')(video))


@pytest.mark.parametrize('choices, message', [
    (dict(options=dict(pooling='max')), "pooling must be 'mean' or 'stride', got 'max'"),
    (dict(context_frames=2), 'no context; leave context_frames=2 out')])
def test_wrong_choices(choices, message):
    with pytest.raises(SBPError, match=message):
        build(mode='early_pooling', **choices)
