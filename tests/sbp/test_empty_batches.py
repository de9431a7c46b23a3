"""Batches without a sample are refused with a sentence by every form of SBP."""
from __future__ import annotations

import pytest
import torch
from torch import nn

from sbp_tad.sbp import ClipwiseSBP, SBPConfig, SBPError, encode_stochastically
from sbp_tad.sbp.modules import ModelState
from sbp_tad.sbp.token_config import TokenSBPConfig


@pytest.mark.parametrize('mode', ['direct', 'deferred'])
@pytest.mark.parametrize('keep_ratio', [0.5, 1.0])
def test_clips(mode, keep_ratio):
    network = nn.Linear(4, 2)
    config = SBPConfig(mode=mode, keep_ratio=keep_ratio)
    with pytest.raises(SBPError, match='the batch is empty'):
        encode_stochastically(network, network, torch.zeros(0, 4), 3, config, [])
    with pytest.raises(SBPError, match='the batch is empty'):
        ClipwiseSBP(network, config).train()(torch.zeros(0, 3, 4))


def test_tokens():
    with pytest.raises(SBPError, match='the batch is empty'):
        ModelState(TokenSBPConfig(), keys=[]).keys_of(0)
