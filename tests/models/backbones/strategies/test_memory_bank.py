"""The bank returns the stored features, and clips in the bank are not encoded."""
import copy
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.runner.checkpoint import load_state_dict
from reference.feature_bank import encode_with_bank
from small_backbones import R3D
from torch import nn

from sbp_tad.models import SBPBackbone, TemporalDetector
from sbp_tad.models.backbones.clip_layout import ClipLayout
from sbp_tad.models.backbones.strategies.memory_bank import (
    FeatureBank,
    MemoryBankStrategy,
    Place,
    place_in_video,
)
from sbp_tad.registry import MODELS
from sbp_tad.sbp import SavedMemory, SBPError, draw_kept_clips
from sbp_tad.structures import TADDataSample, Window

NUM_FRAMES = 32


def window(video='a', start=0.0, stride=2, num_frames=NUM_FRAMES):
    return Window(video, start, num_frames, stride, 10.0, num_frames)


WINDOWS = [window('a', 5.0), window('b')]


class Frames(nn.Module):
    """Encoder of clips (n, 1, L, 1, 1) to features (n, 3, L / 2) that counts its clips."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 3, 3, stride=2, padding=1, dtype=torch.float64)
        self.num_encoded = 0

    def forward(self, clips):
        self.num_encoded += len(clips)
        return self.conv(clips[..., 0, 0])


def on_frames(clip_len=4, **choices):
    encoder, strategy = Frames(), MemoryBankStrategy(clips_at_once=2, **choices)
    strategy.attach(encoder, ClipLayout(clip_len))
    return strategy, encoder


def build(mode='memory_bank', **choices):
    torch.manual_seed(0)
    model = SBPBackbone(R3D, clip_len=4, mode=mode, seed=0, **choices)
    model.init_weights()
    return model.train()


def frames(batch=2):
    return torch.randn(batch, 3, NUM_FRAMES, 16, 16, generator=torch.Generator().manual_seed(1))


def visit(model, video, windows=WINDOWS):
    return model(video, windows=windows)


@settings(deadline=None, max_examples=25)
@given(st.data(), st.sampled_from([0.25, 0.5, 1.0]), st.booleans())
def test_features_and_gradients_are_those_of_the_reference(data, keep_ratio, rescale):
    strategy, encoder = on_frames(keep_ratio=keep_ratio, rescale=rescale)
    strategy.bank.dtype = torch.float64
    slow, num_clips, bank = copy.deepcopy(encoder), 4, {}
    for iteration in range(4):
        windows = [window(data.draw(st.sampled_from('ab')), data.draw(st.integers(0, 40)) / 2,
                          num_frames=4 * num_clips) for _ in range(2)]
        clips = torch.randn(2 * num_clips, 1, 4, 1, 1, dtype=torch.float64)
        keys = [(iteration, sample) for sample in range(2)]
        kept = draw_kept_clips(num_clips, keep_ratio, 'uniform_jitter', keys).flatten()
        # A step is 2 frames at stride 2; halves go up.
        steps = [(w.video_id, int(w.start_frame / 4 + 0.5) + 2 * clip)
                 for w in windows for clip in range(num_clips)]
        expected = encode_with_bank(slow, clips, kept, steps, bank)
        strategy.windows = windows
        features = strategy.encode(encoder, clips, keys)
        torch.testing.assert_close(features, expected)
        for network, output in ((encoder, features), (slow, expected)):
            network.zero_grad()
            output.sin().sum().backward()
        scale = 1 / keep_ratio if rescale else 1
        torch.testing.assert_close(encoder.conv.weight.grad, slow.conv.weight.grad * scale)
        with torch.no_grad():
            for network in (encoder, slow):
                network.conv.weight.mul_(1.5)  # the bank grows old


def test_keep_ratio_one_is_full_backpropagation():
    model, full = build(keep_ratio=1.0), build('full')
    for _ in range(2):
        found, expected = visit(model, frames()), full(frames())
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        found.square().sum().backward()
        expected.square().sum().backward()
    for one, other in zip(model.parameters(), full.parameters()):
        torch.testing.assert_close(one.grad, other.grad)


def test_dropped_clips_are_encoded_once_and_never_again():
    strategy, encoder = on_frames(keep_ratio=0.25)
    clips = torch.randn(16, 1, 4, 1, 1, dtype=torch.float64)
    counts = []
    for iteration in range(3):
        encoder.num_encoded = 0
        strategy.windows = [window(num_frames=32), window('b', 7.0)]
        strategy.encode(encoder, clips, [(iteration, 0), (iteration, 1)])
        counts.append(encoder.num_encoded)
    assert counts == [16, 4, 4]


def test_kept_features_replace_those_of_the_bank():
    model = build(keep_ratio=0.5)
    visit(model, frames())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    features = visit(model, frames()).unflatten(2, (8, 4))
    fresh = model.eval()(frames()).unflatten(2, (8, 4))  # 8 clips of 4 steps
    is_fresh = (features - fresh).abs().amax((1, 3)) < 1e-5
    assert is_fresh.sum(1).tolist() == [4, 4]
    for sample, place in enumerate(WINDOWS):
        for clip in range(8):
            stored = model.strategy.bank.read(place_in_video(place, 4 * clip, 1), 4)
            torch.testing.assert_close(stored, features[sample, :, clip].detach())


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_the_bank_returns_what_was_stored(dtype):
    bank, features = FeatureBank(dtype), torch.randn(5, 3, requires_grad=True)
    assert not bank.holds(Place('a', 0), 1)
    bank.write(Place('a', 7), features)
    assert bank.holds(Place('a', 7), 3) and bank.holds(Place('a', 9), 1)
    assert not any(bank.holds(Place(*place), 3) for place in (('a', 6), ('a', 8), ('b', 7)))
    found = bank.read(Place('a', 7), 3)
    assert not found.requires_grad and torch.equal(found, features.detach().to(dtype))
    bank.write(Place('a', 8), features[:, :1] * 2)
    assert torch.equal(bank.read(Place('a', 7), 3)[:, [0, 2]], found[:, [0, 2]])
    assert torch.equal(bank.read(Place('a', 8), 1), (features[:, :1] * 2).detach().to(dtype))
    assert bank.bytes == 10 * 5 * dtype.itemsize


@settings(deadline=None)
@given(st.floats(0, 5000), st.sampled_from([1, 2, 1.25]), st.sampled_from([1, 2, 8]))
def test_a_place_is_at_most_half_a_step_off(start, stride, frames_per_step):
    step = stride * frames_per_step
    place = place_in_video(window(start=start, stride=stride), 16, frames_per_step)
    assert abs(place.first_step * step - (start + 16 * stride)) <= step / 2 + 1e-6


def test_strides_of_a_video_are_apart():
    places = {place_in_video(window(stride=stride), 0, 2).video for stride in (1, 2)}
    assert places == {'a every 2 frames', 'a every 4 frames'}


def saved_and_loaded(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_a_resumed_bank_goes_on_exactly(dtype):
    model = build(keep_ratio=0.5, options=dict(dtype=dtype))
    visit(model, frames())
    twin = build(keep_ratio=0.5, options=dict(dtype=dtype))
    assert not load_state_dict(twin, saved_and_loaded(model.state_dict()), strict=True)
    twin._last_iteration, twin._repeat = model._last_iteration, model._repeat
    assert twin.strategy.bank.bytes == model.strategy.bank.bytes > 0
    with torch.no_grad():
        for one, other in zip(model.parameters(), twin.parameters()):
            one.mul_(1.1)
            other.mul_(1.1)
    for _ in range(2):
        features = visit(model, frames())
        torch.testing.assert_close(visit(twin, frames()), features, rtol=0, atol=0)
    assert not torch.allclose(features, model.eval()(frames()))  # old ones, of the bank


def test_copies_share_no_memory():
    model = build(keep_ratio=0.5)
    visit(model, frames())
    twin, loaded = copy.deepcopy(model), build()
    loaded.load_state_dict(model.state_dict())
    for other in (twin, loaded):
        assert other.strategy.bank is other.backbone.memory_bank
        place = place_in_video(WINDOWS[0], 0, 1)
        before = other.strategy.bank.read(place, 1).clone()
        model.strategy.bank.write(place, before + 1)
        assert torch.equal(other.strategy.bank.read(place, 1), before)


def test_inference_needs_no_bank_and_minds_none():
    model, plain = build(keep_ratio=0.5), build('full')
    visit(model, frames())
    state = model.state_dict()
    assert set(state) - set(plain.state_dict()) == {'memory_bank._extra_state'}
    plain.load_state_dict(saved_and_loaded(state), strict=True)
    torch.testing.assert_close(plain.eval()(frames()), model.eval()(frames()))
    held = model.strategy.bank.bytes
    model.load_state_dict(plain.state_dict(), strict=True)
    assert model.strategy.bank.bytes == held  # stays
    holder = nn.ModuleDict(dict(backbone=build('full')))
    holder.load_state_dict({f'backbone.{key}': value for key, value in state.items()})


def test_memory_is_that_of_the_kept_clips():
    saved = {}
    for ratio in (0.25, 1.0):
        model = build(keep_ratio=ratio)
        visit(model, frames())
        with SavedMemory(model) as meter:
            visit(model, frames()).sum().backward()
        saved[ratio] = meter.bytes
    assert saved[0.25] / saved[1.0] == pytest.approx(0.25, abs=0.01)


def test_the_bank_can_be_filled_beforehand():
    model = build(keep_ratio=0.25)
    model.strategy.fill(model.eval(), [(frames(), WINDOWS)])
    filled = model.state_dict()['memory_bank._extra_state']
    calls = []
    model.train().backbone.register_forward_hook(lambda _, args, __: calls.append(len(args[0])))
    found = visit(model, frames())
    assert sum(calls) == 4  # of 16 clips
    torch.testing.assert_close(found, model.eval()(frames()))
    assert {name: steps.shape for name, steps in filled['features'].items()} == {
        'a every 2 frames': (35, 16), 'b every 2 frames': (32, 16)}  # from frame 5, 2.5 steps


def test_mixed_precision_reads_what_it_computes_in():
    model = build(keep_ratio=0.5)
    for _ in range(2):
        with torch.autocast('cpu', torch.bfloat16):
            features = visit(model, frames())
        assert features.dtype == torch.bfloat16
        features.float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_detector_hands_over_its_windows():
    detector = TemporalDetector(
        backbone=dict(type='SBPBackbone', mode='memory_bank', clip_len=4, backbone=R3D),
        head=dict(type='AnchorFreeHead', num_classes=2, in_channels=16, strides=(1, ),
                  regression_ranges=((0, 100), ))).train()
    samples = [TADDataSample(metainfo=dict(window=w)) for w in WINDOWS]
    detector(frames(), samples)
    assert set(detector.backbone.strategy.bank._features) == {
        'a every 2 frames', 'b every 2 frames'}
    with pytest.raises(SBPError, match="'memory_bank' needs the windows of its 2 samples .*none"):
        detector(frames())
    detector.eval()
    detector(frames())


def test_windows_of_another_batch_are_refused():
    with pytest.raises(SBPError, match='needs the windows of its 2 samples .*got 1'):
        visit(build(), frames(), WINDOWS[:1])


@pytest.mark.parametrize('options, message', [
    (dict(dtype='int8'), r"dtype of the memory bank must be one of \['float32', 'float16'\]"),
    (dict(sampler='first'), r"sampler must be one of .*got 'first'"),
    (dict(rescale=1), 'rescale must be True or False')])
def test_wrong_options(options, message):
    with pytest.raises(SBPError, match=message):
        SBPBackbone(R3D, clip_len=4, mode='memory_bank', options=options)


def test_live_batch_normalization_is_refused():
    model = MODELS.build(dict(type='SBPBackbone', mode='memory_bank', clip_len=4, norm_eval=False,
                              backbone=dict(R3D, norm_cfg=dict(type='BN3d')))).train()
    with pytest.raises(SBPError, match='is in training mode'):
        visit(model, frames())
