"""mmaction checkpoints in the detector: every used, missing or unexpected key is reported."""
import logging

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.runner import load_checkpoint

from sbp_tad.registry import MODELS

RESNET = dict(type='ResNet', depth=18, pretrained=None)


@pytest.fixture
def checkpoint(tmp_path):
    """A recognizer's checkpoint as mmaction writes it."""
    torch.manual_seed(5)
    recognizer = MODELS.build(dict(
        type='Recognizer2D', backbone=RESNET,
        data_preprocessor=MODELS.build(dict(type='ActionDataPreprocessor')),
        cls_head=dict(type='TSNHead', num_classes=3, in_channels=512)))
    path = tmp_path / 'recognizer.pth'
    torch.save(dict(meta=dict(), state_dict=recognizer.state_dict()), path)
    return str(path), recognizer


def build_detector(**options):
    return MODELS.build(dict(
        type='TemporalDetector',
        backbone=dict(type='SBPBackbone', clip_len=1, backbone=RESNET, **options),
        head=dict(type='AnchorFreeHead', num_classes=2, in_channels=512, strides=(1, ),
                  regression_ranges=((0, 100), ))))


def assert_same_backbone(detector, recognizer):
    expected = recognizer.backbone.state_dict()
    found = detector.backbone.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_load_from_fills_the_backbone_and_reports_the_rest(checkpoint, caplog):
    path, recognizer = checkpoint
    detector = build_detector()
    logger = logging.getLogger('pretrained')
    with caplog.at_level(logging.INFO, logger='pretrained'):
        load_checkpoint(detector, path, logger=logger)
    assert_same_backbone(detector, recognizer)
    unexpected, missing = caplog.text.split('missing keys in source state_dict: ')
    assert 'unexpected key in source state_dict: cls_head.fc_cls.weight' in unexpected
    assert 'head.cls_tower.predictor.weight' in missing
    assert 'backbone.' not in unexpected and 'backbone.' not in missing


def test_pretrained_initialization(checkpoint):
    path, recognizer = checkpoint
    detector = build_detector(init_cfg=dict(type='Pretrained', checkpoint=path,
                                            prefix='backbone.'))
    MMLogger.get_instance('pretrained', log_level='ERROR')
    detector.init_weights()
    assert_same_backbone(detector, recognizer)


def test_a_trained_detector_goes_back_into_a_recognizer(checkpoint):
    _, recognizer = checkpoint
    detector = build_detector()
    result = recognizer.load_state_dict(detector.state_dict(), strict=False)
    assert all(key.startswith('cls_head.') for key in result.missing_keys)
    assert all(key.startswith('head.') for key in result.unexpected_keys)
    assert_same_backbone(detector, recognizer)
