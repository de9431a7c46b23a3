"""Cutting of windows into clips, and conversion of every form of output to features."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sbp_tad.models.backbones.clip_features import (
    FEATURE_FORMS,
    cut_context,
    encode_together,
    feature_form,
    pool_space,
    split_clips,
)
from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.registry import MODELS
from sbp_tad.sbp import SBPError


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 7))
def test_clips_hold_their_frames_and_those_of_their_neighbours(clip_len, num_clips, context):
    num_frames = clip_len * num_clips
    video = torch.arange(2 * num_frames).view(2, 1, num_frames, 1, 1)
    clips = split_clips(video, clip_len, context)
    assert clips.shape == (2 * num_clips, 1, clip_len + 2 * context, 1, 1)
    for place, clip in enumerate(clips.flatten(1).tolist()):
        sample, first = place // num_clips, place % num_clips * clip_len
        frames = range(first - context, first + clip_len + context)
        assert clip == [sample * num_frames + min(max(f, 0), num_frames - 1) for f in frames]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))
def test_cutting_leaves_the_steps_of_the_clip(stride, num_steps, context_steps):
    features = torch.arange(num_steps + 2 * context_steps).expand(3, 2, -1)
    found = cut_context(features, num_steps * stride, context_steps * stride)
    assert found[0, 0].tolist() == [context_steps + step for step in range(num_steps)]


@pytest.mark.parametrize('clip_len, context, steps, stride', [(8, 3, 7, 2), (8, 4, 1, 16)])
def test_context_must_be_whole_steps(clip_len, context, steps, stride):
    with pytest.raises(SBPError, match=f'gives {steps} feature steps for a clip of {clip_len} .* a '
                                       f'step every {stride} frames, .*multiples of the temporal'):
        cut_context(torch.zeros(2, 3, steps), clip_len, context)


def test_items_in_a_row_stay_together():
    seen = []

    def encoder(rows):
        seen.append(rows.shape)
        return rows, [rows[::2]]

    groups = torch.arange(8).view(2, 4, 1, 1)
    whole, (half, ) = encode_together(encoder, groups[:1])
    assert seen == [(4, 1, 1)] and torch.equal(whole, groups[:1]) and half.shape == (1, 2, 1, 1)


def test_every_form_by_hand():
    clip = torch.arange(24.0).view(1, 2, 3, 2, 2)
    steps = torch.tensor([[[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]])
    frames = clip[0].transpose(0, 1)
    assert torch.equal(pool_space(clip, 1), steps)
    assert torch.equal(pool_space(frames, 1), steps)
    assert torch.equal(pool_space([frames.mean(dim=(2, 3))], 1), steps)
    assert torch.equal(pool_space(([clip, torch.zeros(1, 2)], ), 1), steps)
    fast = torch.cat([clip, clip + 100], dim=2)  # 6 steps to the slow pathway's 3
    joined = pool_space((clip, fast), 1)
    assert torch.equal(joined[:, :2], steps)
    assert joined[0, 2].tolist() == [3.5, (9.5 + 101.5) / 2, 107.5]


@pytest.mark.parametrize('shapes', [
    [(2, 4, 1, 1), (2, 8, 1, 1)], [(2, 4, 3, 4, 4), (2, 8, 3, 2, 2)], [(2, 4, 3)],
    [(2, 4, 3, 4, 4), (2, 4), (2, 8, 3, 2, 2), (2, 8)]])
def test_other_outputs_are_refused_with_their_shapes(shapes):
    with pytest.raises(SBPError, match='got .*2, 4.*choose one stage .*or register a function'):
        pool_space(tuple(torch.zeros(shape) for shape in shapes), 2)


def test_a_form_can_be_registered(monkeypatch):
    monkeypatch.setattr('sbp_tad.models.backbones.clip_features.FEATURE_FORMS', dict(FEATURE_FORMS))
    feature_form(3)(lambda tokens, num_clips: tokens.transpose(1, 2))
    assert pool_space(torch.zeros(2, 5, 7), 2).shape == (2, 7, 5)


CONVOLUTIONS = dict(
    type='ResNet3d', depth=18, base_channels=8, num_stages=2, out_indices=(1, ),
    spatial_strides=(1, 2), temporal_strides=(1, 2), dilations=(1, 1), inflate=(1, 1),
    stage_blocks=(1, 1), conv1_kernel=(3, 7, 7), conv1_stride_t=1, pool1_stride_t=1,
    with_pool2=False, pretrained=None)
# Frames on one side that a feature step sees: three pairs of convolutions of width 3, the pool's
# is 1 wide in time; the last one moves in steps of two frames.
REACH = 6


def whole_and_cut(context_frames):
    """Encode the whole video, and clip by clip with context."""
    torch.manual_seed(0)
    model = SBPBackbone(CONVOLUTIONS, clip_len=8, context_frames=context_frames, keep_ratio=0.5)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    model = model.double().eval()
    video = torch.randn(1, 3, 32, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        return pool_space(model.backbone(video), 1), model(video)


def test_with_enough_context_clips_are_encoded_as_within_the_whole_video():
    whole, clipwise = whole_and_cut(REACH)
    inner = slice(REACH // 2, -REACH // 2)  # beyond it the whole video has zeros, clips repeats
    torch.testing.assert_close(clipwise[:, :, inner], whole[:, :, inner], rtol=1e-9, atol=1e-9)
    assert not torch.allclose(clipwise, whole)


def test_without_context_clips_differ_at_their_borders_alone():
    whole, clipwise = whole_and_cut(0)
    differs = (clipwise - whole).abs().amax(dim=(0, 1)) > 1e-9
    assert differs[[3, 4, 7, 8, 11, 12]].all()  # last and first step of neighbouring clips
    assert not differs[[0, 15]].any()  # the ends of the video are ends of clips too


@pytest.mark.parametrize('options, message', [
    (dict(clip_len=8, context_frames=-1), 'context_frames must be a whole number of at least 0'),
    (dict(clip_len=8, context_frames=0.5), 'context_frames must be a whole number.*got 0.5'),
    (dict(context_frames=2), 'context_frames=2 are taken from neighbouring clips.*set clip_len')])
def test_wrong_context(options, message):
    with pytest.raises(SBPError, match=message):
        SBPBackbone(CONVOLUTIONS, **options)


@pytest.mark.parametrize('clip_len, context, advice', [
    (4, 0, 'clip has 4, .*clip_len to 8 or num_segments to 4'),
    (8, 2, 'clip has 12, .*clip_len to 4 or num_segments to 12')])
def test_clips_of_a_shifting_network_are_its_segments(clip_len, context, advice):
    shifting = dict(type='ResNetTSM', depth=18, num_segments=8, pretrained2d=False)
    with pytest.raises(SBPError, match=advice):
        SBPBackbone(shifting, clip_len=clip_len, context_frames=context)


def test_a_batch_of_a_shifting_network_is_whole_segments():
    shifting = dict(type='MobileNetV2TSM', widen_factor=0.25, num_segments=4, pretrained2d=False)
    model = SBPBackbone(shifting, keep_ratio=0.5)
    assert model.num_segments == 4 and model(torch.zeros(8, 3, 32, 32)).shape == (8, 1280, 1, 1)
    with pytest.raises(SBPError, match='takes num_segments=4 frames at a time, got 6'):
        model(torch.zeros(6, 3, 32, 32))


def test_a_batch_has_no_temporal_stride():
    with pytest.raises(SBPError, match='without clip_len .* set clip_len'):
        SBPBackbone(CONVOLUTIONS).temporal_stride()


def test_detector_with_context_and_two_pathways():
    """The detector relies on the temporal stride: frames divided by steps."""
    pathway = dict(type='resnet3d', depth=18, num_stages=1, out_indices=(0, ), stage_blocks=(1, ),
                   spatial_strides=(1, ), temporal_strides=(1, ), dilations=(1, ), inflate=(1, ),
                   pretrained=None, conv1_kernel=(3, 7, 7), conv1_stride_t=1, pool1_stride_t=1)
    backbone = dict(type='ResNet3dSlowFast', pretrained=None, resample_rate=4, speed_ratio=4,
                    channel_ratio=4, slow_pathway=dict(pathway, lateral=True, base_channels=8),
                    fast_pathway=dict(pathway, lateral=False, base_channels=2))
    model = MODELS.build(dict(
        type='TemporalDetector', neck=None,
        backbone=dict(type='SBPBackbone', clip_len=8, context_frames=4, keep_ratio=0.5,
                      backbone=backbone),
        head=dict(type='AnchorFreeHead', num_classes=2, in_channels=10, strides=(1, ),
                  regression_ranges=((0, 100), ))))
    (features, ), (mask, ), frames_per_step = model.extract(torch.zeros(1, 3, 24, 32, 32), None)
    assert features.shape == (1, 10, 6) and mask.shape == (1, 6) and frames_per_step == 4
    features.sum().backward()
