"""A blank clip finds backbones that cannot take the clips of a data set, before training."""
from __future__ import annotations

import numpy as np
import pytest
import torch

import sbp_tad.models  # noqa: F401, registers all components
from sbp_tad.engine.backbone_probe import check_backbone, frame_size
from sbp_tad.errors import ConfigError
from sbp_tad.models.backbones.strategies.build import STRATEGIES
from sbp_tad.registry import DATASETS, MODELS

R3D = dict(type='mmaction.ResNet3d', depth=18, pretrained=None, pretrained2d=False,
           base_channels=8)
VIT = dict(type='mmaction.VisionTransformer', img_size=32, patch_size=16, embed_dims=32, depth=1,
           num_heads=2, num_frames=16)
TIMESFORMER = dict(type='mmaction.TimeSformer', num_frames=8, img_size=32, patch_size=16,
                   embed_dims=32, num_heads=2, num_transformer_layers=1)
CNN = dict(type='FrameCNN', channels=32)
RESIZE = [dict(type='Resize', scale=(32, 32), keep_ratio=False)]


def detector(network, clip_len, channels):
    return MODELS.build(dict(
        type='TemporalDetector', backbone=dict(type='SBPBackbone', clip_len=clip_len,
                                               backbone=network),
        head=dict(type='SegmentationHead', num_classes=1, in_channels=channels)))


def dataset(*transforms):
    pipeline = [dict(type='SampleWindow'), dict(type='PyAVSeekDecode'), *transforms,
                dict(type='FormatShape', input_format='NCTHW'), dict(type='PackTADInputs')]
    return DATASETS.build(dict(type='TemporalDetectionDataset', ann_file='none.json',
                               num_frames=48, stride_frames=1, pipeline=pipeline, lazy_init=True))


@pytest.mark.parametrize('network, clip_len, channels', [
    (R3D, 8, 64), (R3D, 2, 64), (VIT, 16, 32), (TIMESFORMER, 8, 32), (CNN, 1, 32)])
def test_clips_that_fit(network, clip_len, channels):
    model = detector(network, clip_len, channels).train()
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), model.state_dict()
    values = {name: value.clone() for name, value in before[2].items()}
    check_backbone(model, 'train_dataloader.dataset', dataset(*RESIZE))
    assert model.training and model.backbone.training
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize('network, clip_len, message', [
    (VIT, 8, r'VisionTransformer\) cannot encode a clip of 8 frames of 32 x 32 pixels from '
     r'train_dataloader.dataset: The size of tensor a'),
    (TIMESFORMER, 16, r'TimeSformer\) cannot encode a clip of 16 frames'),
    (R3D, 1, 'a clip of 1 frame of 32 x 32 .* or to more than 1 for a network of videos'),
])
def test_clips_of_another_length(network, clip_len, message):
    with pytest.raises(ConfigError, match=message):
        check_backbone(detector(network, clip_len, 32), 'train_dataloader.dataset',
                       dataset(*RESIZE))


@pytest.mark.parametrize('mode', list(STRATEGIES))
def test_every_strategy_is_probed(mode):
    network = {'token': VIT, 'adapters': VIT, 'sideways': CNN}.get(mode, R3D)
    model = MODELS.build(dict(
        type='TemporalDetector',
        backbone=dict(type='SBPBackbone', clip_len=1 if mode == 'sideways' else 16, mode=mode,
                      backbone=network),
        head=dict(type='SegmentationHead', num_classes=1, in_channels=9))).train()
    with pytest.raises(ConfigError, match='channels, but model.head.in_channels is 9'):
        check_backbone(model, 'train_dataloader.dataset', dataset(*RESIZE))
    assert model.training


def test_channels_of_neck_and_head():
    with pytest.raises(ConfigError, match=r'model.backbone \(ResNet3d\) gives 64 channels, but '
                       r'model.head.in_channels is 32. Set model.head.in_channels=64'):
        check_backbone(detector(R3D, 8, 32), 'train_dataloader.dataset', dataset(*RESIZE))


@pytest.mark.parametrize('transforms, expected', [
    (RESIZE, (32, 32)),
    ([dict(type='Resize', scale=(-1, 64)), dict(type='CenterCrop', crop_size=48)], (48, 48)),
    ([dict(type='RandomResizedCrop'), *RESIZE, dict(type='Flip')], (32, 32)),
    ([dict(type='Resize', scale=(-1, 64))], None), ([], None)])
def test_frame_sizes(transforms, expected):
    assert frame_size(dataset(*transforms)) == expected
