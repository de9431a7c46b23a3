"""Anchor-based detection head of DaoTAD."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from sbp_tad.models.errors import ModelError
from sbp_tad.models.heads.dense_head import DenseHead
from sbp_tad.models.layers.global_batch import global_count
from sbp_tad.models.task_modules.assigners import assign_anchors
from sbp_tad.models.task_modules.prior_generators import decode_anchors, pyramid_anchors
from sbp_tad.registry import MODELS

# in strides of the level; with strides of 8 to 128 frames these are 16 to 446 frames
DAOTAD_SCALES = tuple(2 * 2 ** (octave / 5) for octave in range(5))


@MODELS.register_module()
class RetinaHead1d(DenseHead):
    """Class scores and a refined segment for every anchor of a pyramid.

    RetinaNet (Lin et al., ICCV 2017) over time, as in DaoTAD (Wang et al.,
    "RGB Stream Is Enough for Temporal Action Detection", 2021). Anchors are
    matched by temporal IoU. Both losses are divided by the number of positive
    anchors of the global batch, where a window without any counts one.

    Args:
        num_classes: number of actions, background not counted.
        in_channels: channels of every level.
        feat_channels: channels of the towers; ``in_channels`` if not given.
        num_convs: convolutions of a tower before its predictor.
        kernel_size: odd.
        norm: normalization of the towers, see
            :class:`sbp_tad.models.layers.masked_layers.ConvNorm`.
        strides: strides of the levels in level-0 grid units.
        anchor_scales: lengths of the anchors of a step in strides.
        positive_iou: lowest tIoU of a positive anchor with its action.
        negative_iou: tIoU with all actions below which an anchor is background.
        prior_offset: centre of the first anchors of every level in level-0 grid units.
        class_prior: probability of every class at the start of training.
        loss_cls: config of the classification loss, (P, C) logits and targets to a sum.
        loss_reg: config of the regression loss, (P, 2) segments to a sum.
        score_threshold: drop predictions of this score or lower.
        max_per_level: best anchors to keep per level, each with all its classes.
        init_cfg: weight initialization of mmengine.

    Raises:
        ModelError: scales that are not positive, or thresholds out of order.
    """

    clips_to_window = True  # before suppression, as DaoTAD does

    def __init__(self, num_classes: int, in_channels: int, feat_channels: int | None = None,
                 num_convs: int = 4, kernel_size: int = 3, norm: str = 'BN',
                 strides: Sequence[int] = (1, 2, 4, 8, 16),
                 anchor_scales: Sequence[float] = DAOTAD_SCALES, positive_iou: float = 0.6,
                 negative_iou: float = 0.4, prior_offset: float | str = 0.0,
                 class_prior: float = 0.01,
                 loss_cls: dict | None = None, loss_reg: dict | None = None,
                 score_threshold: float = 0.005, max_per_level: int = 1000,
                 init_cfg: dict | None = None) -> None:
        if not anchor_scales or min(anchor_scales) <= 0:
            raise ModelError('anchor_scales must hold at least one number, all positive, got '
                             f'{tuple(anchor_scales)}')
        if not 0 <= negative_iou <= positive_iou <= 1:
            raise ModelError('negative_iou and positive_iou must satisfy 0 <= negative_iou <= '
                             f'positive_iou <= 1, got {negative_iou} and {positive_iou}')
        super().__init__(
            num_classes, in_channels, feat_channels=feat_channels, num_convs=num_convs,
            kernel_size=kernel_size, norm=norm, strides=strides,
            priors_per_step=len(anchor_scales), prior_offset=prior_offset,
            class_prior=class_prior, loss_cls=loss_cls, loss_reg=loss_reg,
            score_threshold=score_threshold, max_per_level=max_per_level * num_classes,
            init_cfg=init_cfg)
        self.max_anchors = max_per_level
        self.anchor_scales = tuple(anchor_scales)
        self.positive_iou, self.negative_iou = positive_iou, negative_iou
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d):  # predictions start at the anchors
                nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(self.reg_tower.predictor.bias)

    def decode(self, lengths: Sequence[int], offsets: Tensor) -> Tensor:
        """Apply offsets (B, P, 2) to the anchors: segments in level-0 grid units, float32."""
        return decode_anchors(self._anchors(lengths, offsets.device), offsets)

    def assign(self, lengths: Sequence[int], real: Tensor, segments_grid: Tensor, labels: Tensor
               ) -> tuple[Tensor, Tensor, Tensor]:
        """Return targets by temporal IoU; anchors between the thresholds do not count."""
        return assign_anchors(self._anchors(lengths, real.device), real, segments_grid, labels,
                              self.num_classes, self.positive_iou, self.negative_iou)

    def _best(self, logits: Tensor, segments: Tensor, mask: Tensor) -> InstanceData:
        """Return the predictions of the best anchors of one level of one item."""
        best = logits.max(dim=1).values.masked_fill(~mask, -torch.inf)
        kept = best.argsort(descending=True, stable=True)[:self.max_anchors]
        return super()._best(logits[kept], segments[kept], mask[kept])

    def normalize_by(self, positive: Tensor) -> Tensor:
        """Return the positive anchors of all processes; an item without any counts one."""
        return global_count(positive.sum(dim=1).clamp(min=1))

    def _anchors(self, lengths: Sequence[int], device: torch.device) -> Tensor:
        return pyramid_anchors(lengths, self.strides, self.anchor_scales, self.prior_offset, device)
