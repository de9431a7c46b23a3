"""Converted weights give the outputs, losses and detections of the published codes.

``shared_data/parity`` holds outputs of those codes on weights and inputs that follow from a seed
(its README). All is computed in float64; the outputs were stored in float32.
"""
from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sbp_tad.apis.launch import load_config
from sbp_tad.apis.named_files import find_config
from sbp_tad.converters.conversion import SOURCES
from sbp_tad.converters.renaming import rename
from sbp_tad.registry import MODELS
from sbp_tad.segments.merging import PostProcessing, merge_windows

SEED, STORED = 11, 1e-6
NECK = dict(type='ActionFormerNeck', in_channels=12, embed_channels=16)
HEAD = dict(type='AnchorFreeHead', num_classes=4, in_channels=16)
OPENTAD = dict(padding='opentad', norm_eps=1e-6)
KINDS = ('usual', 'none', 'same', 'beyond')


class Cases:
    """Weights, inputs and published outputs of the parity cases."""

    def __init__(self, folder) -> None:
        spec = importlib.util.spec_from_file_location('parity_rule', folder / 'rule.py')
        self.rule = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.rule)
        self.folder = folder
        self.shapes = json.loads((folder / 'tiny_shapes.json').read_text())

    def draw(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return an input of the cases."""
        return torch.as_tensor(self.rule.rand(name, shape, SEED))

    def outputs(self, case: str) -> dict[str, np.ndarray]:
        """Return the published outputs of a case."""
        return dict(np.load(self.folder / f'dev_{case}.npz'))

    def fill(self, model: nn.Module, case: str, source: str, prefix: str = '') -> nn.Module:
        """Load the converted weights of a case, in float64 and evaluation mode."""
        weights = {prefix + name: torch.as_tensor(self.rule.weight(name, tuple(shape), SEED))
                   for name, shape in self.shapes[case].items()}
        converted, unmapped = rename(weights, SOURCES[source].rules)
        missing, unexpected = model.load_state_dict(converted, strict=False)
        assert (unmapped, unexpected) == ([], []) and set(missing) <= {'head.normalizer'}
        return model.double().eval()


@pytest.fixture(scope='module')
def cases(shared_data):
    return Cases(shared_data / 'parity')


def network(**parts) -> nn.ModuleDict:
    return nn.ModuleDict({name: MODELS.build(part) for name, part in parts.items()})


def full_masks(features: Tensor) -> Tensor:
    return torch.ones(features.shape[0], features.shape[2], dtype=torch.bool)


def real(levels, masks) -> Tensor:
    """Concatenate the real steps of the first item."""
    return torch.cat([level[0][mask[0]] for level, mask in zip(levels, masks)])


def assert_close(found, published, atol=STORED) -> None:
    np.testing.assert_allclose(np.asarray(found), published, rtol=0, atol=atol)


@pytest.mark.parametrize('length', [576, 300, 33])
def test_actionformer(cases, length):
    published = cases.outputs('actionformer')
    net = cases.fill(network(neck=dict(NECK, padding='actionformer', pad_to=576),
                             head=dict(HEAD, padding='actionformer')), 'actionformer',
                     'actionformer')
    features = cases.draw(f'features{length}', (12, length))[None]
    levels, masks = net.neck(features, full_masks(features))
    with torch.no_grad():
        logits, offsets = net.head(levels, masks)
    assert_close(real(logits, masks), published[f'{length}/cls'])
    assert_close(real(offsets, masks), published[f'{length}/offsets'])
    for kind in KINDS:
        net.head.train().normalizer.fill_(100.)
        truth = torch.as_tensor(published[f'{length}/{kind}/gt']) + 0.5  # their step t is at t
        labels = torch.as_tensor(published[f'{length}/{kind}/labels'])
        losses = net.head.loss(levels, masks, [truth], [labels])
        assert_close([losses['loss_cls'].item(), losses['loss_reg'].item()],
                     published[f'{length}/{kind}/losses'])
    candidates, = net.head.eval().predict(levels, masks)
    assert len(candidates) == published[f'{length}/candidates'][0]
    best = candidates.scores.argsort(descending=True, stable=True)[:100]
    assert_close(candidates.scores[best], published[f'{length}/best_scores'][:100])
    assert_close(candidates.segments_grid[best] - 0.5,
                 published[f'{length}/best_segments'][:100], atol=1e-4)  # of up to 576


@pytest.mark.parametrize('form, window, lengths, pad_to', [('local', 19, (576, 300), 576),
                                                           ('full', 0, (192, 101), 192)])
def test_opentad(cases, form, window, lengths, pad_to):
    published = cases.outputs(f'opentad_{form}')
    net = cases.fill(
        network(neck=dict(NECK, in_channels=16, window=window, pad_to=pad_to, **OPENTAD),
                head=dict(HEAD, num_classes=20, **OPENTAD)), f'opentad_{form}', 'opentad')
    for length in lengths:
        features = cases.draw(f'features{length}', (1, 16, length))
        with torch.no_grad():
            levels, masks = net.neck(features, full_masks(features))
            logits, offsets = net.head(levels, masks)
        assert_close(real(logits, masks)[:, :6], published[f'{length}/cls'])
        assert_close(real(offsets, masks), published[f'{length}/offsets'])


def test_adatad(cases):
    backbone = dict(
        type='SBPBackbone', mode='adapters', clip_len=16, backbone=dict(
            type='VisionTransformer', img_size=32, patch_size=16, embed_dims=16, depth=2,
            num_heads=2, mlp_ratio=4, qkv_bias=True, num_frames=16,
            norm_cfg=dict(type='LN', eps=1e-6), return_feat_map=True))
    net = cases.fill(network(backbone=backbone), 'adatad_backbone', 'opentad',
                     'backbone.model.backbone.')
    with torch.no_grad():
        features = net.backbone(cases.draw('frames', (2, 3, 48, 48, 48)))
    assert_close(features, cases.outputs('adatad_backbone')['features'])


@pytest.mark.parametrize('length', [96, 40])
def test_daotad(cases, length):
    published = cases.outputs('daotad')
    net = network(neck=dict(type='DaoTADNeck', in_channels=12, embed_channels=8,
                            downsample_channels=8),
                  head=dict(type='RetinaHead1d', num_classes=4, in_channels=8))
    features = cases.draw(f'features{length}', (2, 12, length)).clamp(min=0)
    for mode in ('train', 'eval'):  # training changes the running statistics
        cases.fill(net, 'daotad', 'vedatad').train(mode == 'train')
        with torch.no_grad():
            levels, masks = net.neck(features, full_masks(features))
            logits, offsets = net.head(levels, masks)
        assert_close(torch.cat(logits, dim=1), published[f'{length}/{mode}/cls'])
        assert_close(torch.cat(offsets, dim=1), published[f'{length}/{mode}/offsets'])
    cases.fill(net, 'daotad', 'vedatad')
    levels, masks = net.neck(features, full_masks(features))
    for kind in ('usual', 'one_empty', 'same'):
        truth = [torch.as_tensor(published[f'{length}/{kind}/gt{item}']) / 8 for item in (0, 1)]
        labels = [torch.as_tensor(published[f'{length}/{kind}/labels{item}']) for item in (0, 1)]
        losses = net.head.loss(levels, masks, truth, labels)
        assert_close([losses['loss_cls'].item(), losses['loss_reg'].item()],
                     published[f'{length}/{kind}/losses'])


@pytest.mark.parametrize('length', [96, 40])
def test_detections_of_daotad(cases, length):
    net = cases.fill(network(
        neck=dict(type='DaoTADNeck', in_channels=12, embed_channels=8, downsample_channels=8),
        head=dict(type='RetinaHead1d', num_classes=4, in_channels=8)), 'daotad', 'vedatad')
    features = cases.draw(f'features{length}', (2, 12, length)).clamp(min=0)
    found = net.head.predict(*net.neck(features, full_masks(features)))[0]
    frames = (found.segments_grid.double() * 8).clamp(0, 8 * length).numpy()  # of one window
    rules = load_config(find_config('daotad_i3d-r50_frozen-stage1_768x25fps_thumos14'))
    segments, scores, labels = merge_windows(
        [(frames, found.scores.double().numpy(), found.labels.numpy())],
        PostProcessing().with_options(rules.model.test_cfg))
    published = cases.outputs('daotad')[f'{length}/detections']
    assert_close(scores[:len(published)], published[:, 2], atol=1e-5)
    for start, end, _, label in published:  # equal scores may change places
        assert np.abs(segments[labels == label] - (start, end)).max(axis=1).min() < 1e-4


@pytest.mark.parametrize('missing', [0, 3, 8])
def test_lstr(cases, missing):
    published = cases.outputs('lstr')
    net = cases.fill(network(head=dict(
        type='LSTRHead', num_classes=20, in_channels=2048, channels=16, num_heads=4,
        feedforward_channels=24, num_frames=8, memory_frames=8, has_ambiguous_class=True)),
        'lstr', 'lstr')
    history, working = cases.draw(f'features{missing}', (2, 16, 2048)).transpose(1, 2).split(
        8, dim=2)
    inputs = history, (torch.arange(8) >= missing).expand(2, 8), working
    assert_close(net.head(*inputs).detach(), published[f'{missing}/logits'])
    assert_close(net.head.predict(*inputs), published[f'{missing}/scores'][..., :21])
    targets = torch.as_tensor(published[f'{missing}/targets'])
    loss = net.head.loss(*inputs, targets[..., :21], targets[..., 21] != 1)['loss_cls']
    assert_close([loss.item()], published[f'{missing}/loss'])
