"""Base of heads that predict class scores and a segment from every prior of a pyramid."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from sbp_tad.checkpoint_safety import CheckpointError
from sbp_tad.models.errors import ModelError
from sbp_tad.models.layers.global_batch import average_over_batch, global_count
from sbp_tad.models.layers.masked_layers import (
    ConvTower,
    check_batch,
    check_finite,
    check_sequence,
)
from sbp_tad.models.task_modules.prior_generators import HALF_STRIDE, pyramid_steps
from sbp_tad.registry import MODELS


class DenseHead(BaseModule):
    """Class scores and a segment from every prior of a pyramid.

    A prior is a point or an anchor; all steps have the same number of them. A
    subclass defines its priors by :meth:`decode` and :meth:`assign`. Loss,
    prediction and the two towers are here.

    Args:
        num_classes: number of actions, background not counted.
        in_channels: channels of every level.
        feat_channels: channels of the towers; ``in_channels`` if not given.
        num_convs: convolutions of a tower before its predictor.
        kernel_size: odd.
        norm: normalization of the towers, see
            :class:`sbp_tad.models.layers.masked_layers.ConvNorm`.
        norm_eps: eps of the normalizations.
        strides: strides of the levels in level-0 grid units.
        priors_per_step: A.
        prior_offset: position of the first prior of every level in level-0 grid
            units, see :func:`~sbp_tad.models.task_modules.prior_generators.pyramid_steps`.
        class_prior: probability of every class at the start of training.
        loss_cls: config of the classification loss, (P, C) logits and targets to a sum.
        loss_reg: config of the regression loss, (P, 2) segments to a sum.
        score_threshold: drop predictions of this score or lower.
        max_per_level: best predictions to keep per level.
        min_duration_grid: drop predictions of this duration or less, in level-0 grid units.
        init_cfg: weight initialization of mmengine.
    """

    # A window is clipped to its video after suppression, as ActionFormer does.
    clips_to_window = False
    _version = 2  # 1 had its priors in the middle of the strides of every level

    def __init__(self, num_classes: int, in_channels: int, *, feat_channels: int | None,
                 num_convs: int, kernel_size: int, norm: str, norm_eps: float = 1e-5,
                 strides: Sequence[int], priors_per_step: int, prior_offset: float | str,
                 class_prior: float, loss_cls: dict | None, loss_reg: dict | None,
                 score_threshold: float, max_per_level: int, min_duration_grid: float = 0.0,
                 init_cfg: dict | None) -> None:
        super().__init__(init_cfg)
        if isinstance(prior_offset, str) and prior_offset != HALF_STRIDE:
            raise ModelError('prior_offset must be a number of level-0 steps or '
                             f'{HALF_STRIDE!r}, got {prior_offset!r}')
        self.prior_offset = prior_offset
        self.num_classes, self.priors_per_step = num_classes, priors_per_step
        self.in_channels = in_channels
        self.strides = tuple(strides)
        self.score_threshold, self.max_per_level = score_threshold, max_per_level
        self.min_duration_grid = min_duration_grid
        widths = (in_channels, feat_channels or in_channels)
        self.cls_tower = ConvTower(*widths, priors_per_step * num_classes, num_convs, kernel_size,
                                   norm, norm_eps)
        self.reg_tower = ConvTower(*widths, priors_per_step * 2, num_convs, kernel_size, norm,
                                   norm_eps)
        # otherwise the many negatives dominate the loss of the first training steps
        nn.init.constant_(self.cls_tower.predictor.bias,
                          -math.log((1 - class_prior) / class_prior))
        self.loss_cls = MODELS.build(loss_cls or dict(type='SigmoidFocalLoss'))
        self.loss_reg = MODELS.build(loss_reg or dict(type='AlignedDIoULoss'))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str,
                              local_metadata: dict[str, Any], *faults: Any) -> None:
        """Refuse weights that were trained with other positions of the priors.

        Weights of other code bases carry no version.
        """
        if local_metadata.get('version') == 1 and self.prior_offset != HALF_STRIDE:
            raise CheckpointError(
                f'the weights of {prefix or "the head."} were trained with priors in the middle of '
                f"their strides. Set {prefix}prior_offset='half_stride' in the model of the config "
                '(and neck.layer_scale=None with attention blocks) to use them, or train again')
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *faults)

    def decode(self, lengths: Sequence[int], offsets: Tensor) -> Tensor:
        """Return segments (B, P, 2) in level-0 grid units, float32.

        Args:
            lengths: T_l, steps of each level.
            offsets: (B, P, 2) predicted offsets of all levels.
        """
        raise NotImplementedError

    def assign(self, lengths: Sequence[int], real: Tensor, segments_grid: Tensor, labels: Tensor
               ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the targets of every prior for one item of the batch.

        Args:
            lengths: T_l, steps of each level.
            real: (P,) bool, False in padding.
            segments_grid: (N, 2) in level-0 grid units; N may be 0.
            labels: (N,) int64.

        Returns:
            Class targets (P, C), segments (P, 2), and (P,) bool, True for
            priors that count in the loss.
        """
        raise NotImplementedError

    def forward(self, features: Sequence[Tensor], masks: Sequence[Tensor]
                ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return logits (B, P_l, num_classes) and offsets (B, P_l, 2) of every level.

        Args:
            features: (B, C, T_l) of every level.
            masks: (B, T_l) bool of every level, True = real.

        Raises:
            ModelError: the number of levels is not that of ``strides``, or their
                channels are not ``in_channels``.
        """
        if len(features) != len(self.strides):
            raise ModelError(
                f'strides of the head name {len(self.strides)} levels, the neck gave '
                f'{len(features)}: give one stride (and one regression range) per level')
        for level, mask in zip(features, masks):
            check_sequence(level, mask, self.in_channels)
        levels = list(zip(features, masks))
        # (B, T_l, A * width) to (B, T_l * A, width)
        return tuple(tuple(tower(x, mask).unflatten(2, (self.priors_per_step, -1)).flatten(1, 2)
                           for x, mask in levels) for tower in (self.cls_tower, self.reg_tower))

    def loss(self, features: Sequence[Tensor], masks: Sequence[Tensor],
             segments_grid: Sequence[Tensor], labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the losses of a batch; priors in padding have none.

        Args:
            features: (B, C, T_l) of every level.
            masks: (B, T_l) bool of every level.
            segments_grid: (N, 2) in level-0 grid units for each item; N may be 0.
            labels: (N,) int64 for each item.

        Returns:
            ``loss_cls`` and ``loss_reg``, scalars. They are finite and have
            gradients even if the batch has no action.
        """
        check_batch(features[0])
        logits, offsets = self(features, masks)
        lengths = [x.shape[2] for x in features]
        real = torch.cat(self._prior_masks(masks), dim=1)  # (B, P)
        targets = [self.assign(lengths, *item) for item in zip(real, segments_grid, labels)]
        classes, segments, counted = (torch.stack(part) for part in zip(*targets))
        positive = counted & (classes > 0).any(dim=2)  # (B, P)
        normalizer = self.normalize_by(positive)
        predicted = self.decode(lengths, torch.cat(offsets, dim=1))
        strides = pyramid_steps(lengths, self.strides, self.prior_offset, real.device)[1]
        unit = strides.repeat_interleave(self.priors_per_step)
        unit = unit.expand_as(positive)[positive][:, None]
        loss_cls = self.loss_cls(torch.cat(logits, dim=1)[counted], classes[counted])
        loss_reg = self.loss_reg(predicted[positive] / unit, segments[positive] / unit)
        return {'loss_cls': average_over_batch(loss_cls, normalizer),
                'loss_reg': average_over_batch(loss_reg, normalizer)}

    def normalize_by(self, positive: Tensor) -> Tensor:
        """Return the divisor of both losses: positives (B, P) of all processes, at least 1."""
        return global_count(positive)

    @torch.no_grad()
    def predict(self, features: Sequence[Tensor], masks: Sequence[Tensor]) -> list[InstanceData]:
        """Return the detections of each batch item before suppression.

        Args:
            features: (B, C, T_l) of every level.
            masks: (B, T_l) bool of every level.

        Returns:
            For each item ``segments_grid`` (K, 2) in level-0 grid units,
            ``scores`` (K,) and ``labels`` (K,) int64, level by level, sorted
            by score within a level.

        Raises:
            ModelError: predictions that are not finite.
        """
        logits, offsets = self(features, masks)
        segments = self.decode([x.shape[2] for x in features], torch.cat(offsets, dim=1))
        num_priors = [x.shape[1] for x in logits]
        batches = zip(logits, segments.split(num_priors, dim=1), self._prior_masks(masks))
        levels = [list(zip(*level)) for level in batches]  # level -> item -> three tensors
        return [InstanceData.cat([self._best(*level[item]) for level in levels])
                for item in range(len(segments))]

    def _best(self, logits: Tensor, segments: Tensor, mask: Tensor) -> InstanceData:
        """Return the best predictions of one level (P_l, C), (P_l, 2), (P_l,) of one item."""
        scores = logits.float().sigmoid().masked_fill(~mask[:, None], -1.0).flatten()
        check_finite(scores, segments)
        kept = (scores > self.score_threshold).nonzero().squeeze(1)
        kept = kept[scores[kept].argsort(descending=True, stable=True)[:self.max_per_level]]
        start, end = segments[kept // self.num_classes].unbind(1)
        kept = kept[end - start > self.min_duration_grid]
        return InstanceData(segments_grid=segments[kept // self.num_classes],
                            scores=scores[kept], labels=kept % self.num_classes)

    def _prior_masks(self, masks: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Expand masks (B, T_l) of steps to (B, P_l) of priors, every level."""
        return tuple(mask.repeat_interleave(self.priors_per_step, dim=1) for mask in masks)
