"""Errors of SBP's gradient: from products of clip gradients, and from the estimates themselves."""
import pytest
import torch

from benchmarks.gradient_variance import (
    ORACLES,
    ClipGradients,
    clip_gradients,
    draw_probabilities,
    draw_weights,
    estimate_error,
)
from sbp_tad.models.backbones.clip_features import split_clips
from sbp_tad.models.backbones.clip_layout import ClipLayout
from sbp_tad.registry import MODELS
from sbp_tad.sbp import SBPError
from sbp_tad.sbp.sampling import draw_by_gradient, inclusion_probabilities

SAMPLERS = ('random', 'uniform', 'uniform_jitter', 'gradient', *ORACLES)


def some_gradients(num_clips=12, width=5):
    torch.manual_seed(0)
    rows = torch.randn(num_clips, width, dtype=torch.float64) + 1
    rows *= torch.linspace(0.1, 3, num_clips).unsqueeze(1) ** 2
    products = rows @ rows.T
    return rows, ClipGradients(products, products)


@pytest.mark.parametrize('sampler', SAMPLERS)
def test_error_is_that_of_the_estimates_themselves(sampler):
    rows, gradients = some_gradients()
    found = estimate_error(gradients, 0.25, sampler, draws=200, seed=3)
    weights = draw_weights(gradients, 0.25, sampler, [(3, draw) for draw in range(200)])
    assert (weights > 0).sum(1).tolist() == [3] * 200
    full, estimates = rows.sum(0), weights @ rows
    scale = full.square().sum()
    assert found.variance == pytest.approx(float((estimates - full).square().sum(1).mean() / scale))
    assert found.bias == pytest.approx(float((estimates.mean(0) - full).square().sum() / scale))


@pytest.mark.parametrize('sampler', SAMPLERS)
def test_every_sampler_is_unbiased(sampler):
    _, gradients = some_gradients()
    found = estimate_error(gradients, 0.25, sampler, draws=4000)
    assert found.bias < 12 * found.noise


def test_guidance_pays_where_clips_matter_more_and_more():
    _, gradients = some_gradients(num_clips=40)
    variance = {name: estimate_error(gradients, 0.25, name).variance for name in SAMPLERS}
    assert variance['gradient'] < 0.7 * variance['uniform_jitter'] < variance['random']


def test_guidance_pays_most_where_few_clips_matter():
    rows, _ = some_gradients(num_clips=40)
    rows = rows / rows.norm(dim=1, keepdim=True)
    rows[::9] *= 10
    products = rows @ rows.T
    variance = {name: estimate_error(ClipGradients(products, products), 0.25, name).variance
                for name in SAMPLERS}
    assert variance['gradient'] < 0.2 * variance['uniform_jitter']


def test_oracles_know_what_the_features_do_not_tell():
    _, gradients = some_gradients()
    blind = ClipGradients(gradients.products, torch.zeros(12, 12))
    assert draw_probabilities(blind, 3, 'gradient').tolist() == [0.25] * 12
    norms = gradients.products.diagonal().sqrt()
    expected = inclusion_probabilities(norms, 3)
    torch.testing.assert_close(draw_probabilities(blind, 3, 'oracle_norm'), expected)
    assert draw_probabilities(blind, 3, 'oracle_spread').std() > 0


def test_weights_are_those_of_training():
    _, gradients = some_gradients()
    keys = [(0, step) for step in range(20)]
    kept, chances = draw_by_gradient(gradients.of_features.expand(20, -1, -1), 3, keys)
    assert torch.equal(draw_weights(gradients, 0.25, 'gradient', keys), kept / chances)


class _Head(torch.nn.Module):
    def loss(self, levels, masks, segments_grid, labels):
        return dict(loss=(levels[0] * levels[0].roll(1, -1)).sin().sum())


def test_clip_gradients_sum_to_the_full_gradient():
    torch.manual_seed(0)
    backbone = dict(type='SBPBackbone', keep_ratio=1, clip_len=1, seed=0,
                    backbone=dict(type='ResNet', depth=18, pretrained=None))
    model = MODELS.build(dict(type='TemporalDetector', backbone=backbone,
                              head=dict(type='AnchorFreeHead', num_classes=2, in_channels=512,
                                        strides=(1, ), regression_ranges=((0, 100), ))))
    model.head = _Head()
    model.double().train()
    video = torch.randn(1, 3, 6, 32, 32, dtype=torch.float64)
    found = clip_gradients(model, video, [])
    features = model.backbone(video)
    model.head.loss((features, ), None, None, None)['loss'].backward()
    full = torch.cat([p.grad.flatten() for p in model.backbone.parameters()])
    assert found.products.shape == (6, 6) and len(split_clips(video, 1)) == 6
    torch.testing.assert_close(found.products.sum(), full.square().sum())
    model.backbone.layout = ClipLayout()
    with pytest.raises(SBPError, match='must be an SBPBackbone with clip_len'):
        clip_gradients(model, video, [])
