"""Anchor-free detection head of ActionFormer."""
from __future__ import annotations

import math
from typing import Sequence

import torch
from mmcv.cnn import Scale
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from sbp_tad.models.assigners import assign_points
from sbp_tad.models.blocks import ConvTower, TemporalModelError, check_finite
from sbp_tad.models.points import Points, pyramid_points
from sbp_tad.registry import MODELS

# in level-0 grid units, for strides 1 to 32
ACTIONFORMER_RANGES = ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000))


@MODELS.register_module()
class AnchorFreeHead(BaseModule):
    """Class scores and distances to start and end at every point of a pyramid.

    Zhang et al., ActionFormer, ECCV 2022. Two towers, shared by all levels;
    distances are ``ReLU(scale_level * x)`` in strides of the level. Both
    losses are divided by a running mean of the number of positive points.

    Args:
        num_classes: actions, background not counted.
        in_channels: of every level.
        feat_channels: of the towers; ``in_channels`` if not given.
        num_convs: convolutions of a tower before its predictor.
        kernel_size: odd.
        strides: of the levels in level-0 grid units.
        regression_ranges: (shortest, longest) distance from a point to the
            farther end of an action that each level learns, in level-0 grid
            units.
        center_radius: of centre sampling, in strides.
        class_prior: probability of every class at the start of training.
        loss_cls: config of the classification loss: (P, C) logits and targets to a sum.
        loss_reg: config of the regression loss: (P, 2) segments to a sum.
        normalizer_start: first value of the running mean.
        normalizer_momentum: share that the running mean keeps in a step.
        score_threshold: predictions of lower or equal score are left out.
        max_per_level: best predictions kept of each level.
        init_cfg: of mmengine.
    """

    def __init__(self, num_classes: int, in_channels: int, feat_channels: int | None = None,
                 num_convs: int = 2, kernel_size: int = 3,
                 strides: Sequence[int] = (1, 2, 4, 8, 16, 32),
                 regression_ranges: Sequence[tuple[float, float]] = ACTIONFORMER_RANGES,
                 center_radius: float = 1.5, class_prior: float = 0.01,
                 loss_cls: dict | None = None, loss_reg: dict | None = None,
                 normalizer_start: float = 100.0, normalizer_momentum: float = 0.9,
                 score_threshold: float = 0.001, max_per_level: int = 2000,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        _check_levels(strides, regression_ranges)
        self.num_classes = num_classes
        self.strides, self.regression_ranges = tuple(strides), tuple(regression_ranges)
        self.center_radius = center_radius
        self.score_threshold, self.max_per_level = score_threshold, max_per_level
        tower = (in_channels, feat_channels or in_channels)
        self.cls_tower = ConvTower(*tower, num_classes, num_convs, kernel_size)
        self.reg_tower = ConvTower(*tower, 2, num_convs, kernel_size)
        self.scales = nn.ModuleList(Scale() for _ in strides)
        # a rare positive among many points must not drown the first steps
        nn.init.constant_(self.cls_tower.predictor.bias,
                          -math.log((1 - class_prior) / class_prior))
        # distances start at one stride: a ReLU that starts below zero never learns
        nn.init.constant_(self.reg_tower.predictor.bias, 1.0)
        self.loss_cls = MODELS.build(loss_cls or dict(type='SigmoidFocalLoss'))
        self.loss_reg = MODELS.build(loss_reg or dict(type='AlignedDIoULoss'))
        self.normalizer_momentum = normalizer_momentum
        self.register_buffer('normalizer', torch.tensor(float(normalizer_start)))

    def forward(self, features: Sequence[Tensor], masks: Sequence[Tensor]
                ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Logits (B, T_l, num_classes) and distances (B, T_l, 2) in strides of every level.

        Args:
            features: (B, C, T_l) of every level.
            masks: (B, T_l) bool of every level, True = real.

        Raises:
            TemporalModelError: another number of levels than of strides.
        """
        if len(features) != len(self.strides):
            raise TemporalModelError(
                f'the head is made for {len(self.strides)} levels, the neck gave '
                f'{len(features)}: give strides and regression_ranges for each level')
        logits = tuple(self.cls_tower(x, mask) for x, mask in zip(features, masks))
        distances = tuple(scale(self.reg_tower(x, mask)).relu()
                          for scale, x, mask in zip(self.scales, features, masks))
        return logits, distances

    def loss(self, features: Sequence[Tensor], masks: Sequence[Tensor],
             segments_grid: Sequence[Tensor], labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """Losses of a batch; padded points have none.

        Args:
            features: (B, C, T_l) of every level.
            masks: (B, T_l) bool of every level.
            segments_grid: (N, 2) in level-0 grid units for each item; N may be 0.
            labels: (N,) int64 for each item.

        Returns:
            ``loss_cls`` and ``loss_reg``, scalars, finite and with gradients
            also where the batch has no action at all.
        """
        logits, distances = self(features, masks)
        points = self._points(features)
        targets = [assign_points(points, *item, self.num_classes, self.center_radius)
                   for item in zip(segments_grid, labels)]
        classes, segments = (torch.stack(part) for part in zip(*targets))  # (B, P, C), (B, P, 2)
        real = torch.cat(tuple(masks), dim=1)  # (B, P)
        positive = real & (classes > 0).any(dim=2)
        normalizer = self._normalizer(positive)
        predicted = _decode(points, torch.cat(distances, dim=1))
        unit = points.strides.expand_as(positive)[positive][:, None]
        return {
            'loss_cls': self.loss_cls(torch.cat(logits, dim=1)[real], classes[real]) / normalizer,
            'loss_reg': self.loss_reg(predicted[positive] / unit,
                                      segments[positive] / unit) / normalizer,
        }

    @torch.no_grad()
    def predict(self, features: Sequence[Tensor], masks: Sequence[Tensor]) -> list[InstanceData]:
        """Detections of each batch item, before suppression.

        Args:
            features: (B, C, T_l) of every level.
            masks: (B, T_l) bool of every level.

        Returns:
            For each item ``segments_grid`` (K, 2) in level-0 grid units,
            ``scores`` (K,) and ``labels`` (K,) int64; level by level, in each
            the best first.

        Raises:
            TemporalModelError: predictions that are not finite.
        """
        logits, distances = self(features, masks)
        segments = _decode(self._points(features), torch.cat(distances, dim=1))  # (B, P, 2)
        lengths = [x.shape[1] for x in logits]
        batches = zip(logits, segments.split(lengths, dim=1), masks)
        levels = [list(zip(*level)) for level in batches]  # level -> item -> three tensors
        return [InstanceData.cat([self._best(*level[item]) for level in levels])
                for item in range(len(segments))]

    def _best(self, logits: Tensor, segments: Tensor, mask: Tensor) -> InstanceData:
        """Best predictions of one level (T_l, C), (T_l, 2), (T_l,) of one item."""
        scores = logits.float().sigmoid().masked_fill(~mask[:, None], -1.0).flatten()
        check_finite(scores, segments)
        kept = (scores > self.score_threshold).nonzero().squeeze(1)
        kept = kept[scores[kept].argsort(descending=True, stable=True)[:self.max_per_level]]
        return InstanceData(segments_grid=segments[kept // self.num_classes],
                            scores=scores[kept], labels=kept % self.num_classes)

    def _points(self, features: Sequence[Tensor]) -> Points:
        return pyramid_points([x.shape[2] for x in features], self.strides,
                              self.regression_ranges, features[0].device)

    def _normalizer(self, positive: Tensor) -> Tensor:
        """Running mean of the number of positive points; only training moves it."""
        if self.training:
            count = positive.sum().clamp(min=1).to(self.normalizer.dtype)
            self.normalizer.lerp_(count, 1 - self.normalizer_momentum)
        # a copy, so that the next step does not change what backward needs
        return self.normalizer.clone()


def _decode(points: Points, distances: Tensor) -> Tensor:
    """Distances (B, P, 2) in strides to segments (B, P, 2) in level-0 grid units, float32."""
    reach = distances.float() * points.strides[:, None]
    return torch.stack((points.centres - reach[..., 0], points.centres + reach[..., 1]), dim=-1)


def _check_levels(strides: Sequence[int], regression_ranges: Sequence[tuple[float, float]]
                  ) -> None:
    if len(strides) != len(regression_ranges):
        raise TemporalModelError(f'{len(strides)} strides need as many regression_ranges, got '
                                 f'{len(regression_ranges)}')
    for low, high in regression_ranges:
        if not 0 <= low < high:
            raise TemporalModelError('a regression range is (shortest, longest) with '
                                     f'0 <= shortest < longest, got ({low}, {high})')
