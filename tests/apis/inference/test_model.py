"""Detector and test set from config and checkpoint: what is refused, and which device is taken."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sbp_tad.apis import launch
from sbp_tad.apis.errors import InferenceError
from sbp_tad.apis.inference.model import build_test_set, choose_device, load_detector
from sbp_tad.datasets import OnlineDetectionDataset
from sbp_tad.models import OnlineActionDetector, TemporalDetector

CONFIG = Path(__file__).parents[3] / 'configs/toy/online_gru_cnn4_sbp-r4_toy.py'


@pytest.fixture
def cfg():
    return launch.load_config(str(CONFIG))


def test_without_a_checkpoint_weights_are_as_drawn(cfg):
    model, meta = load_detector(cfg, None, 'cpu', OnlineActionDetector)
    assert meta == {} and not model.training
    dataset = build_test_set(cfg, model, meta, OnlineDetectionDataset)
    assert dataset.test_mode and len(dataset.metainfo['classes']) == model.head.num_classes


def test_names_of_the_checkpoint_go_first(cfg):
    model, _ = load_detector(cfg, None, 'cpu', OnlineActionDetector)
    names = [f'class {number}' for number in range(6)]
    dataset = build_test_set(cfg, model, dict(classes=names), OnlineDetectionDataset)
    assert dataset.metainfo['classes'] == tuple(names)
    with pytest.raises(InferenceError, match='has 6 classes, checkpoint and config name 2'):
        build_test_set(cfg, model, dict(classes=names[:2]), OnlineDetectionDataset)


def test_another_kind_of_detector_or_set_is_refused(cfg):
    with pytest.raises(InferenceError, match='needs a TemporalDetector on windows of videos, '
                                             'the config has OnlineActionDetector'):
        load_detector(cfg, None, 'cpu', TemporalDetector)
    model, _ = load_detector(cfg, None, 'cpu', OnlineActionDetector)
    cfg.test_dataloader.dataset.type = 'ToyDataset'
    for name in ('memory_frames', 'memory_stride'):
        del cfg.test_dataloader.dataset[name]
    with pytest.raises(InferenceError, match='must be an OnlineDetectionDataset, got ToyDataset'):
        build_test_set(cfg, model, {}, OnlineDetectionDataset)


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert choose_device('auto') == choose_device('cpu') == 'cpu'
    with pytest.raises(InferenceError, match='finds no CUDA device'):
        choose_device('cuda:1')
    with pytest.raises(InferenceError, match="device must be 'auto', 'cpu', 'cuda' or 'cuda:N'"):
        choose_device('mps')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert choose_device('auto') == 'cuda' and choose_device('cuda:1') == 'cuda:1'
