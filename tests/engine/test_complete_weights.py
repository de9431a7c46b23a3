"""Weights that a model lacks, and weights for which it has no place."""
from __future__ import annotations

import pytest
import torch
from torch import nn

from sbp_tad.checkpoint_safety import CheckpointError
from sbp_tad.engine.complete_weights import (
    check_unused,
    check_weights,
    is_named,
    untrained_norms,
    unused_weights,
)
from sbp_tad.models.backbones.sbp_backbone import SBPBackbone


def model(levels=2):
    norms = nn.ModuleList(nn.BatchNorm1d(3) for _ in range(levels))
    return nn.ModuleDict(dict(neck=nn.ModuleDict(dict(norms=norms)), head=nn.Linear(3, 2)))


@pytest.mark.parametrize('name, pattern, expected', [
    ('backbone.conv.weight', 'backbone', True), ('backbone.conv.weight', 'backbone.*', True),
    ('backbone.conv.weight', 'backbone.conv', True), ('backbone2.conv.weight', 'backbone', False),
    ('backbone.conv.weight', 'backbone.conv.weight', True), ('backbone.conv', 'conv', False),
    ('neck.norms.3.bias', 'neck.*.bias', True)])
def test_patterns(name, pattern, expected):
    assert is_named(name, [pattern]) is expected


def test_a_module_may_be_absent_as_a_whole():
    weights = {name: value for name, value in model().state_dict().items()
               if not name.startswith('neck.')}
    check_weights(model(), weights, 'x.pth', allow_missing=['neck'])
    with pytest.raises(CheckpointError) as caught:
        check_weights(model(), weights, 'x.pth', allow_missing=['head', 'nekc'])
    assert "--allow-missing: a module, neck, or a pattern, 'neck.norms.0.*' (no weight of the " \
        'model has the name nekc)' in str(caught.value)


def test_weights_without_a_place_are_refused():
    weights = model(3).state_dict()
    with pytest.raises(CheckpointError) as caught:
        check_unused(model(), weights, 'x.pth', allow_unused=[])
    text = str(caught.value)
    assert 'x.pth holds 4 weights (neck.norms.2.bias, neck.norms.2.running_mean, ' in text
    assert '--allow-unused' in text
    check_unused(model(), weights, 'x.pth', allow_unused=['neck.norms.2'])
    check_unused(model(), dict(state_dict=weights), 'x.pth', part='head.')
    with pytest.raises(CheckpointError) as caught:  # infer.py has no such option
        check_unused(model(), weights, 'x.pth')
    assert '--allow-unused' not in str(caught.value)


@pytest.mark.parametrize('name', [
    'decoder.weight', 'head.num_batches_tracked', 'neck.bank._extra_state', 'step'])
def test_what_a_test_does_not_need_is_no_fault(name):
    assert unused_weights(model(), [*model().state_dict(), name]) == []
    assert unused_weights(model(), ['head.extra']) == ['head.extra']
    check_unused(model(), {**model().state_dict(), name: torch.zeros(1)}, 'x.pth')


def test_frozen_statistics_that_nothing_set_are_named():
    network = dict(type='mmaction.ResNet', depth=18, pretrained=None)
    backbone = SBPBackbone(network, keep_ratio=0.5)
    told = untrained_norms(nn.Sequential(backbone))
    assert 'Batch normalization of the backbone (20 layers) stays frozen at its initial' in told
    assert untrained_norms(SBPBackbone(network, keep_ratio=1, norm_eval=False)) is None
    for name, buffer in backbone.named_buffers():
        if name.endswith('running_var'):
            buffer.fill_(2)
            break
    assert untrained_norms(backbone) is None
    assert untrained_norms(nn.Linear(2, 2)) is None
