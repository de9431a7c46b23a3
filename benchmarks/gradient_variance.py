"""Variance of the gradient of SBP around the full gradient, for each sampler.

The parameter gradient is a sum over the clips, ``g = sum_i g_i``. SBP estimates
it by ``sum_i w_i g_i`` with weight 1 / probability for kept clips and 0 for the
others. With the inner products ``G_ij = <g_i, g_j>`` the squared error of a draw
is ``(w - 1)^T G (w - 1)``, so that thousands of draws cost one backward pass per
clip.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sbp_tad.models.backbones.clip_features import split_clips
from sbp_tad.models.detectors.temporal_detector import TemporalDetector
from sbp_tad.sbp.clipwise import feature_products
from sbp_tad.sbp.config import GRADIENT_SAMPLER, SBPError
from sbp_tad.sbp.sampling import (
    draw_kept_clips,
    gradient_spread,
    inclusion_probabilities,
    keep_count,
    sample_systematic,
    seeded_generator,
)
from sbp_tad.structures import TADDataSample

# Probabilities from the true gradients of the parameters, which no sampler can know: the limit
# of guided sampling if features determined the gradients.
ORACLES: dict[str, Callable[[Tensor, int], Tensor]] = {
    'oracle_norm': lambda products, _: products.diagonal().sqrt(),
    'oracle_spread': gradient_spread,
}


@dataclass(frozen=True, eq=False)
class ClipGradients:
    """Inner products of the gradients of the clips of one window.

    Args:
        products: (K, K) float64, of the parameter gradients of the backbone.
        of_features: (K, K), of the gradients of the loss by their features,
            the only ones that guided sampling sees.
    """

    products: Tensor
    of_features: Tensor


@dataclass(frozen=True)
class EstimateError:
    """Error of one sampler on one window, relative to the squared norm of the full gradient.

    Args:
        variance: mean squared error of an estimate.
        bias: squared error of the mean of all draws.
        noise: expected value of ``bias`` for an unbiased sampler, the sampling error:
            variance / draws.
    """

    variance: float
    bias: float
    noise: float


class _GivenFeatures(nn.Module):
    """Stands in for a backbone and returns features that were computed before."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features

    def forward(self, _: Tensor) -> Tensor:
        return self.features


@contextmanager
def given_features(model: TemporalDetector, features: Tensor) -> Iterator[None]:
    """Replace the backbone of the detector by its features (B, C', T')."""
    backbone = model.backbone
    model.backbone = _GivenFeatures(features)
    try:
        yield
    finally:
        model.backbone = backbone


def clip_gradients(model: TemporalDetector, inputs: Tensor, samples: list[TADDataSample]
                   ) -> ClipGradients:
    """Compute the gradients of the training loss by each clip of one window (1, C, T, H, W).

    Raises:
        SBPError: the backbone encodes no clips.
    """
    backbone = model.backbone
    if getattr(backbone, 'clip_len', None) is None:
        raise SBPError('model.backbone must be an SBPBackbone with clip_len; choose the config of '
                       'such a detector.')
    clips = split_clips(inputs, backbone.clip_len, backbone.context_frames)  # (K, C, L, H, W)
    with torch.no_grad():
        features = torch.cat([backbone._encode_clips(clip) for clip in clips.split(1)])
    features.requires_grad_()  # (K, C', t)
    with given_features(model, features.transpose(0, 1).flatten(1)[None]):
        losses = model.loss(inputs, samples)
    loss = sum(value.sum() for name, value in losses.items() if 'loss' in name)
    (from_head, ) = torch.autograd.grad(loss, features)
    parameters = [p for p in backbone.parameters() if p.requires_grad]
    rows = []
    for clip, gradient in zip(clips.split(1), from_head.split(1)):
        found = torch.autograd.grad(backbone._encode_clips(clip), parameters, gradient,
                                    allow_unused=True)
        rows.append(torch.cat([g.flatten() for g in found if g is not None]))
    matrix = torch.stack(rows).double()  # (K, number of parameters)
    return ClipGradients((matrix @ matrix.T).cpu(), feature_products([from_head], 1, len(rows))[0])


def draw_probabilities(gradients: ClipGradients, num_kept: int, sampler: str) -> Tensor:
    """Return the inclusion probabilities (K,) of guided sampling or an oracle."""
    if sampler == GRADIENT_SAMPLER:
        return inclusion_probabilities(gradient_spread(gradients.of_features, num_kept), num_kept)
    return inclusion_probabilities(ORACLES[sampler](gradients.products, num_kept), num_kept)


def draw_weights(gradients: ClipGradients, keep_ratio: float, sampler: str,
                 keys: Sequence[Sequence[int]]) -> Tensor:
    """Return the weights of the clips, one draw per key: (draws, K) float64, 0 = dropped."""
    num_clips = len(gradients.products)
    num_kept = keep_count(keep_ratio, num_clips)
    if sampler == GRADIENT_SAMPLER or sampler in ORACLES:
        probabilities = draw_probabilities(gradients, num_kept, sampler)
        kept = torch.zeros(len(keys), num_clips, dtype=torch.bool)
        for row, key in zip(kept, keys):
            row[sample_systematic(probabilities, seeded_generator(*key))] = True
        return kept / probabilities
    kept = draw_kept_clips(num_clips, keep_ratio, sampler, keys)
    return kept.double() * (num_clips / num_kept)


def estimate_error(gradients: ClipGradients, keep_ratio: float, sampler: str, *,
                   draws: int = 1000, seed: int = 0) -> EstimateError:
    """Estimate variance and bias of a sampler's gradient from ``draws`` draws."""
    weights = draw_weights(gradients, keep_ratio, sampler,
                           [(seed, draw) for draw in range(draws)])
    errors = weights - 1  # (draws, K)
    full = float(gradients.products.sum())
    squared = ((errors @ gradients.products) * errors).sum(1)  # (draws,)
    mean = errors.mean(0)
    variance = float(squared.mean()) / full
    return EstimateError(variance, float(mean @ gradients.products @ mean) / full,
                         variance / draws)
