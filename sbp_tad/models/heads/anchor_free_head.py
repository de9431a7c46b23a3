"""Anchor-free detection head of ActionFormer."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.cnn import Scale
from torch import Tensor, nn

from sbp_tad.models.errors import ModelError
from sbp_tad.models.heads.dense_head import DenseHead
from sbp_tad.models.layers.pyramid_blocks import follow_padding
from sbp_tad.models.task_modules.assigners import assign_points
from sbp_tad.models.task_modules.prior_generators import Points, pyramid_points
from sbp_tad.registry import MODELS

# (shortest, longest) distance in level-0 grid units, for strides 1 to 32
ACTIONFORMER_RANGES = ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000))


@MODELS.register_module()
class AnchorFreeHead(DenseHead):
    """Class scores and distances to start and end at every point of a pyramid.

    Zhang et al., ActionFormer, ECCV 2022. All levels share two towers.
    Distances are ``ReLU(scale_level * x)`` in strides of the level. Both
    losses are divided by a running mean of the number of positive points per
    global batch.

    Args:
        num_classes: number of actions, background not counted.
        in_channels: channels of every level.
        feat_channels: channels of the towers; ``in_channels`` if not given.
        num_convs: convolutions of a tower before its predictor.
        kernel_size: odd.
        strides: strides of the levels in level-0 grid units.
        regression_ranges: (shortest, longest) distance from a point to the
            farther end of an action that each level learns, in level-0 grid
            units.
        center_radius: radius of centre sampling in strides.
        prior_offset: position of the first point of every level in level-0 grid units.
        class_prior: probability of every class at the start of training.
        loss_cls: config of the classification loss, (P, C) logits and targets to a sum.
        loss_reg: config of the regression loss, (P, 2) segments to a sum.
        normalizer_start: first value of the running mean.
        normalizer_momentum: weight of the old value in an update of the running mean.
        score_threshold: drop predictions of this score or lower.
        max_per_level: best predictions to keep per level.
        min_duration_grid: drop predictions of this duration or less, in level-0 grid units.
        padding: ``'masked'``, or ``'actionformer'`` or ``'opentad'`` to
            reproduce those codes in padded windows, see
            :func:`sbp_tad.models.layers.pyramid_blocks.follow_padding`.
        norm_eps: eps of the normalizations of the towers (1e-6 in OpenTAD).
        init_cfg: weight initialization of mmengine.

    Raises:
        ModelError: not one regression range per stride, or an empty range.
    """

    def __init__(self, num_classes: int, in_channels: int, feat_channels: int | None = None,
                 num_convs: int = 2, kernel_size: int = 3,
                 strides: Sequence[int] = (1, 2, 4, 8, 16, 32),
                 regression_ranges: Sequence[tuple[float, float]] = ACTIONFORMER_RANGES,
                 center_radius: float = 1.5, prior_offset: float | str = 0.5,
                 class_prior: float = 0.01,
                 loss_cls: dict | None = None, loss_reg: dict | None = None,
                 normalizer_start: float = 100.0, normalizer_momentum: float = 0.9,
                 score_threshold: float = 0.001, max_per_level: int = 2000,
                 min_duration_grid: float = 0.05, padding: str = 'masked', norm_eps: float = 1e-5,
                 init_cfg: dict | None = None) -> None:
        super().__init__(
            num_classes, in_channels, feat_channels=feat_channels, num_convs=num_convs,
            kernel_size=kernel_size, norm='LN', norm_eps=norm_eps, strides=strides,
            priors_per_step=1, prior_offset=prior_offset, class_prior=class_prior,
            loss_cls=loss_cls, loss_reg=loss_reg, score_threshold=score_threshold,
            max_per_level=max_per_level, min_duration_grid=min_duration_grid, init_cfg=init_cfg)
        _check_levels(strides, regression_ranges)
        self.regression_ranges = tuple(regression_ranges)
        self.center_radius = center_radius
        self.scales = nn.ModuleList(Scale() for _ in strides)
        follow_padding(self, padding)
        self.normalizer_momentum = normalizer_momentum
        self.register_buffer('normalizer', torch.tensor(float(normalizer_start)))

    def forward(self, features: Sequence[Tensor], masks: Sequence[Tensor]
                ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return logits (B, T_l, num_classes) and distances (B, T_l, 2) in strides, per level."""
        logits, distances = super().forward(features, masks)
        return logits, tuple(scale(x).relu() for scale, x in zip(self.scales, distances))

    def decode(self, lengths: Sequence[int], offsets: Tensor) -> Tensor:
        """Turn distances (B, P, 2) in strides into segments in level-0 grid units, float32."""
        points = self._points(lengths, offsets.device)
        to_start, to_end = (offsets.float() * points.strides[:, None]).unbind(-1)  # (B, P)
        return torch.stack((points.centres - to_start, points.centres + to_end), dim=-1)

    def assign(self, lengths: Sequence[int], real: Tensor, segments_grid: Tensor, labels: Tensor
               ) -> tuple[Tensor, Tensor, Tensor]:
        """Return targets by centre sampling; every real point counts."""
        targets = assign_points(self._points(lengths, real.device), segments_grid, labels,
                                self.num_classes, self.center_radius)
        return (*targets, real)

    def normalize_by(self, positive: Tensor) -> Tensor:
        """Return the running mean of positive points; only training updates it."""
        if self.training:
            count = super().normalize_by(positive).to(self.normalizer.dtype)
            self.normalizer.lerp_(count, 1 - self.normalizer_momentum)
        # a copy: the next step must not change a tensor that backward needs
        return self.normalizer.clone()

    def _points(self, lengths: Sequence[int], device: torch.device) -> Points:
        return pyramid_points(lengths, self.strides, self.regression_ranges,
                              self.prior_offset, device)


def _check_levels(strides: Sequence[int], regression_ranges: Sequence[tuple[float, float]]
                  ) -> None:
    if len(strides) != len(regression_ranges):
        raise ModelError(f'regression_ranges must have one range per stride ({len(strides)}), '
                         f'got {len(regression_ranges)}')
    for low, high in regression_ranges:
        if not 0 <= low < high:
            raise ModelError('each of regression_ranges is (shortest, longest) with '
                             f'0 <= shortest < longest, got ({low}, {high})')
