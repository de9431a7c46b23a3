"""Predicted saved memory against a training step of the whole window."""
from __future__ import annotations

import pytest
import torch
from mmengine.structures import InstanceData

import sbp_tad.models  # noqa: F401, registers the components
from sbp_tad.planning.detector_memory import expect_memory
from sbp_tad.planning.errors import PlanningError
from sbp_tad.planning.models_as_shapes import clip_frames, frames_per_step
from sbp_tad.planning.saved_memory import meter_saved_memory
from sbp_tad.registry import MODELS
from sbp_tad.structures import TADDataSample, Window

SIZE = (32, 40)
NUM_FRAMES = 64
R3D = dict(type='ResNet3d', depth=18, stage_blocks=(1, 1), num_stages=2, out_indices=(1, ),
           base_channels=8, spatial_strides=(1, 2), temporal_strides=(1, 1), dilations=(1, 1),
           inflate=(1, 1), conv1_kernel=(3, 7, 7), conv1_stride_t=2, pool1_stride_t=1,
           with_pool2=False, pretrained=None, norm_cfg=dict(type='GN', num_groups=4))
R2D = dict(type='ResNet', depth=18, pretrained=None)
SWIN = dict(type='SwinTransformer3D', arch=dict(embed_dims=24, depths=[2, 2], num_heads=[2, 4]),
            patch_size=(2, 4, 4), window_size=(4, 4, 4), out_indices=(1, ), pretrained=None,
            pretrained2d=False)
CASES = [
    ('clips', dict(type='SBPBackbone', clip_len=8, backbone=R3D), 16),
    ('frames', dict(type='SBPBackbone', clip_len=1, backbone=R2D), 512),
    ('deferred', dict(type='SBPBackbone', clip_len=8, mode='deferred', clips_at_once=2,
                      backbone=R3D), 16),
    ('tokens', dict(type='SBPBackbone', clip_len=8, mode='token', backbone=SWIN), 48),
]


def build(backbone: dict, channels: int, **options):
    torch.manual_seed(0)
    return MODELS.build(dict(
        type='TemporalDetector', backbone=backbone,
        neck=dict(type='ActionFormerNeck', in_channels=channels, embed_channels=32, num_levels=3,
                  num_heads=2, window=0),
        head=dict(type='AnchorFreeHead', num_classes=3, in_channels=32, strides=(1, 2, 4),
                  regression_ranges=((0, 4), (4, 8), (8, 10000))), **options)).train()


def batch(batch_size: int) -> tuple[torch.Tensor, list[TADDataSample]]:
    samples = []
    for _ in range(batch_size):
        sample = TADDataSample(metainfo=dict(
            window=Window('v', 0.0, NUM_FRAMES, 1.0, 1.0, NUM_FRAMES), video_id='v', error=None))
        sample.gt_instances = InstanceData(
            segments_seconds=torch.tensor([[20.0, 40.0]], dtype=torch.float64),
            labels=torch.tensor([1]))
        samples.append(sample)
    return torch.randn(batch_size, 3, NUM_FRAMES, *SIZE), samples


def measured_step(detector, batch_size: int) -> int:
    """Bytes of a whole training step, forward and backward."""
    with meter_saved_memory(detector) as meter:
        sum(detector.loss(*batch(batch_size)).values()).backward()
    return meter.bytes


@pytest.mark.parametrize('name, backbone, channels, keep_ratio', [
    pytest.param(*case, keep_ratio, id=f'{case[0]}-{keep_ratio}', marks=(
        pytest.mark.nightly if case[0] == 'tokens' else ()))  # a toy config has tokens too
    for case in CASES for keep_ratio in (1.0, 0.25)])
def test_estimate_is_what_a_training_step_saves(name, backbone, channels, keep_ratio):
    detector = build(dict(backbone, keep_ratio=keep_ratio), channels)
    expected = expect_memory(detector, NUM_FRAMES, SIZE, batch_size=2)
    assert expected.keep_ratio == keep_ratio and expected.batch_size == 2
    actual = measured_step(detector, batch_size=2)
    assert expected.saved[keep_ratio] == pytest.approx(actual, rel=0.03)


@pytest.mark.parametrize('mode', ['full', 'frozen'])
def test_full_and_frozen_backbones(mode):
    name, backbone, channels = CASES[0]
    detector = build(dict(backbone, mode=mode), channels)
    expected = expect_memory(detector, NUM_FRAMES, SIZE, batch_size=2)
    assert expected.saved[expected.keep_ratio] == pytest.approx(
        measured_step(detector, batch_size=2), rel=0.03)
    assert (list(expected.saved) == [1.0]) is (mode == 'frozen')


def test_other_strategies_are_refused():
    name, backbone, channels = CASES[0]
    detector = build(dict(backbone, mode='frame_dropout'), channels)
    with pytest.raises(PlanningError, match="has mode 'frame_dropout'; measure a training"):
        expect_memory(detector, NUM_FRAMES, SIZE)


def test_all_ratios_come_from_one_config():
    detector = build(dict(CASES[0][1], keep_ratio=0.5), 16)
    saved = expect_memory(detector, NUM_FRAMES, SIZE, keep_ratios=(1.0, 0.125)).saved
    assert list(saved) == [1.0, 0.5, 0.125] and detector.backbone.config.keep_ratio == 0.5
    neck_head = expect_memory(detector, NUM_FRAMES, SIZE).neck_head
    clips = [size - neck_head for size in saved.values()]  # 8, 4 and 1 of 8
    assert clips[1] == pytest.approx(clips[0] / 2, rel=0.02)
    assert clips[2] == pytest.approx(clips[0] / 8, rel=0.05)


def test_num_steps_is_part_of_neck_and_head():
    short, long = (build(CASES[0][1], 16, num_steps=steps) for steps in (None, NUM_FRAMES))
    sizes = [expect_memory(detector, NUM_FRAMES, SIZE).neck_head for detector in (short, long)]
    assert sizes[1] > 1.8 * sizes[0]


def test_weights_by_the_stated_formula():
    detector = build(CASES[0][1], 16)
    count = sum(parameter.numel() for parameter in detector.parameters())
    assert expect_memory(detector, NUM_FRAMES, SIZE).weights == 16 * count
    for parameter in detector.backbone.parameters():
        parameter.requires_grad_(False)
    frozen = sum(parameter.numel() for parameter in detector.backbone.parameters())
    assert expect_memory(detector, NUM_FRAMES, SIZE).weights == 16 * count - 12 * frozen


@pytest.mark.parametrize('backbone, channels, expected', [
    (CASES[0][1], 16, 2), (CASES[1][1], 512, 1), (CASES[3][1], 48, 2)])
def test_frames_of_a_step(backbone, channels, expected):
    detector = build(backbone, channels)
    assert frames_per_step(detector, SIZE) == expected
    assert clip_frames(detector) == backbone['clip_len']


@MODELS.register_module()
class FlatBackbone(torch.nn.Conv3d):
    """Backbone that encodes whole videos, without clips."""

    def __init__(self, vectors: bool = False):
        super().__init__(3, 8, (4, 3, 3), stride=(4, 2, 2))
        self.vectors = vectors

    def forward(self, inputs):
        """(B, 8, T / 4), or (B, 8)."""
        return super().forward(inputs).relu().mean(dim=(2, 3, 4) if self.vectors else (3, 4))


def test_backbone_without_sbp():
    detector = build(dict(type='FlatBackbone'), 8)
    expected = expect_memory(detector, NUM_FRAMES, SIZE, batch_size=2)
    assert expected.keep_ratio is None and list(expected.saved) == [1.0]
    assert expected.saved[1.0] == pytest.approx(measured_step(detector, 2), rel=0.03)
    assert frames_per_step(detector, SIZE) == 4


@pytest.mark.parametrize('backbone, message', [
    (dict(type='SBPBackbone', backbone=R3D), 'SBPBackbone has no clip_len; set clip_len'),
    (dict(type='FlatBackbone', vectors=True), r'encodes to \(B, C, T\), but FlatBackbone gave'),
])
def test_what_cannot_be_measured_is_said(backbone, message):
    detector = build(backbone, 16)
    with pytest.raises(PlanningError, match=message):
        expect_memory(detector, NUM_FRAMES, SIZE)
