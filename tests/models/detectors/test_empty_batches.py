"""Batches without a sample: one sentence in training, no segment in prediction."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from sbp_tad.errors import UserError
from sbp_tad.registry import MODELS

ROOT = Path(__file__).parents[3]
NAMES = ['actionformer_r3d10-features', 'actionformer_r3d10_frozen', 'actionformer_r3d10_sbp-r4',
         'actionformer_vit4_token-r4', 'daotad_r3d10_sbp-r4', 'online_gru_cnn4_sbp-r4',
         'segmentation_r3d10_sbp-r4']


@pytest.mark.parametrize('name', NAMES)
def test_every_detector(name):
    cfg = Config.fromfile(ROOT / f'configs/toy/{name}_toy.py')
    detector = MODELS.build(cfg.model)
    frames = cfg.get('memory_frames', 0) + cfg.num_frames
    rows = torch.zeros(0, 64, 48) if 'features' in name else torch.zeros(0, 3, frames, 48, 48)
    for training in (True, False):
        detector.train(training)
        for inputs in (None, rows):
            assert detector(inputs, [], mode='predict') == []
            for mode in ('loss', 'tensor'):
                with pytest.raises(UserError, match='the batch is empty'):
                    detector(inputs, [], mode=mode)
        if 'features' not in name:
            with pytest.raises(UserError, match='the batch is empty, got inputs of shape'):
                detector.backbone(rows)


@pytest.mark.parametrize('name', ['actionformer_r3d10-features', 'segmentation_r3d10_sbp-r4'])
def test_heads_without_their_detector(name):
    cfg = Config.fromfile(ROOT / f'configs/toy/{name}_toy.py')
    head = MODELS.build(cfg.model.head)
    lengths = [48 // stride for stride in cfg.model.head.get('strides', (1, ))]
    channels = cfg.model.head.in_channels
    levels = [torch.zeros(0, channels, length) for length in lengths]
    masks = [torch.zeros(0, length, dtype=torch.bool) for length in lengths]
    with pytest.raises(UserError, match='the batch is empty'):
        head.loss(levels, masks, [], [])
    wrong = [torch.zeros(1, channels + 1, length) for length in lengths]
    real = [torch.ones(1, length, dtype=torch.bool) for length in lengths]
    with pytest.raises(UserError, match=f'in_channels={channels}.*set in_channels to'):
        head(wrong, real)
