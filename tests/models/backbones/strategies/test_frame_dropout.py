import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_backbones import R3D

from sbp_tad.models import SBPBackbone
from sbp_tad.models.backbones.strategies.frame_dropout import interpolate_dropped
from sbp_tad.sbp import SavedMemory, SBPError


@given(num_clips=st.integers(1, 9), num_steps=st.integers(1, 3), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=60)
def test_interpolation_is_numpys(num_clips, num_steps, seed):
    rng = np.random.default_rng(seed)
    num_kept = rng.integers(1, num_clips, endpoint=True)
    kept = np.stack([rng.permutation(num_clips) < num_kept for _ in range(2)])
    features = rng.normal(size=(2, num_kept, 3, num_steps))
    found = interpolate_dropped(torch.from_numpy(features), torch.from_numpy(kept))
    times = np.arange(num_clips * num_steps)
    for sample in range(2):
        known = times[np.repeat(kept[sample], num_steps)]
        for channel in range(3):
            expected = np.interp(times, known, features[sample, :, channel].ravel())
            np.testing.assert_allclose(found[sample, :, channel].numpy().ravel(), expected,
                                       atol=1e-12)


def build(**choices):
    torch.manual_seed(0)
    return SBPBackbone(R3D, clip_len=4, seed=0, **choices)


@pytest.fixture
def video():
    return torch.randn(2, 3, 32, 16, 16, generator=torch.Generator().manual_seed(1))


def test_only_the_kept_clips_are_encoded(video, monkeypatch):
    model = build(mode='frame_dropout', keep_ratio=0.25)
    seen = []
    encode = model._encode_clips
    monkeypatch.setattr(model, '_encode_clips', lambda clips: seen.append(len(clips))
                        or encode(clips))
    with SavedMemory(model) as saved:
        features = model(video)
    assert seen == [4] and features.shape[2] == build(mode='full')(video).shape[2]
    reference = build(mode='full')
    with SavedMemory(reference) as full:
        reference(video)
    assert saved.bytes == pytest.approx(0.25 * full.bytes, rel=0.05)


def test_kept_clips_have_their_own_features(video):
    model, full = build(mode='frame_dropout', keep_ratio=0.5), build(mode='full')
    found = model(video).unflatten(2, (8, -1))
    expected = full(video).unflatten(2, (8, -1))
    same = torch.isclose(found, expected, atol=1e-5).all(dim=3).all(dim=1)  # (B, K)
    assert same.sum(dim=1).tolist() == [4, 4]


def test_keep_ratio_one_is_full(video):
    model, full = build(mode='frame_dropout', keep_ratio=1.0), build(mode='full')
    for one in (model, full):
        one(video).square().sum().backward()
    for one, other in zip(model.parameters(), full.parameters()):
        torch.testing.assert_close(one.grad, other.grad)


def test_draws_follow_the_seed(video):
    model = build(mode='frame_dropout', options=dict(sampler='random'))
    first, second = model(video), model(video)
    assert not torch.equal(first, second)
    torch.testing.assert_close(build(mode='frame_dropout', options=dict(sampler='random'))(video),
                               first, rtol=0, atol=0)


def test_wrong_sampler():
    with pytest.raises(SBPError, match="sampler must be one of .*got 'best'"):
        build(mode='frame_dropout', options=dict(sampler='best'))
