"""Channels of a recognizer's backbone against its head, before the first batch."""
from __future__ import annotations

import pytest
from mmengine.config import ConfigDict

import sbp_tad.models  # noqa: F401, registers all components
from sbp_tad.engine.recognizer_channels import check_recognizer, given_channels
from sbp_tad.errors import ConfigError
from sbp_tad.registry import MODELS

PREPROCESSOR = dict(type='mmaction.ActionDataPreprocessor')
RESNET = dict(type='mmaction.ResNet', depth=18, pretrained=None)


def recognizer(backbone, in_channels, head='TSNHead'):
    return MODELS.build(ConfigDict(
        type='mmaction.Recognizer2D', data_preprocessor=PREPROCESSOR, backbone=backbone,
        cls_head=dict(type=f'mmaction.{head}', num_classes=3, in_channels=in_channels)))


@pytest.mark.parametrize('backbone, key', [
    (RESNET, 'model.backbone'),
    (dict(type='sbp_tad.SBPBackbone', backbone=RESNET, keep_ratio=0.5), 'model.backbone.backbone')])
def test_another_number_of_channels_is_refused(backbone, key):
    check_recognizer(recognizer(backbone, 512))
    with pytest.raises(ConfigError) as caught:
        check_recognizer(recognizer(backbone, 2048))
    assert f'{key} (ResNet) gives 512 channels, but model.cls_head.in_channels is 2048. Set ' \
        'model.cls_head.in_channels=512' in str(caught.value)


@pytest.mark.parametrize('backbone, channels', [
    (RESNET, 512), (dict(RESNET, out_indices=(1, )), None),
    (dict(RESNET, out_indices=(2, 3)), None), (dict(RESNET, num_stages=3, out_indices=(2, ),
                                                    strides=(1, 2, 2), dilations=(1, 1, 1)), 256),
    (dict(type='mmaction.ResNet3dSlowFast', pretrained=None,
          slow_pathway=dict(type='resnet3d', depth=18, pretrained=None, base_channels=8,
                            conv1_kernel=(1, 7, 7), inflate=(0, 0, 1, 1), lateral=True),
          fast_pathway=dict(type='resnet3d', depth=18, pretrained=None, base_channels=2,
                            conv1_kernel=(5, 7, 7), lateral=False)), 64 + 16),
    (dict(type='FrameCNN'), None)])
def test_channels_that_networks_state(backbone, channels):
    assert given_channels(MODELS.build(ConfigDict(backbone))) == channels
