"""Anchor-based detection head of DaoTAD."""
from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor, nn

from sbp_tad.models.errors import ModelError
from sbp_tad.models.heads.dense_head import DenseHead
from sbp_tad.models.task_modules.assigners import assign_anchors
from sbp_tad.models.task_modules.prior_generators import decode_anchors, pyramid_anchors
from sbp_tad.registry import MODELS

# in strides of the level; over strides of 8 to 128 frames: 16 to 446 frames
DAOTAD_SCALES = tuple(2 * 2 ** (octave / 5) for octave in range(5))


@MODELS.register_module()
class RetinaHead1d(DenseHead):
    """Class scores and a better segment for every anchor of a pyramid.

    RetinaNet (Lin et al., ICCV 2017) over time, as in DaoTAD (Wang et al.,
    "RGB Stream Is Enough for Temporal Action Detection", 2021). Anchors are
    matched by temporal IoU; both losses are divided by the positive anchors.

    Args:
        num_classes: actions, background not counted.
        in_channels: of every level.
        feat_channels: of the towers; ``in_channels`` if not given.
        num_convs: convolutions of a tower before its predictor.
        kernel_size: odd.
        norm: of the towers, see :class:`sbp_tad.models.layers.masked_layers.ConvNorm`.
        strides: of the levels in level-0 grid units.
        anchor_scales: lengths of the anchors of a step, in strides.
        positive_iou: anchors that overlap an action by it or more learn it.
        negative_iou: anchors that overlap no action by it are background.
        class_prior: probability of every class at the start of training.
        loss_cls: config of the classification loss: (P, C) logits and targets to a sum.
        loss_reg: config of the regression loss: (P, 2) segments to a sum.
        score_threshold: predictions of lower or equal score are left out.
        max_per_level: best predictions kept of each level.
        init_cfg: of mmengine.

    Raises:
        ModelError: no positive scale, or thresholds out of order.
    """

    def __init__(self, num_classes: int, in_channels: int, feat_channels: int | None = None,
                 num_convs: int = 4, kernel_size: int = 3, norm: str = 'BN',
                 strides: Sequence[int] = (1, 2, 4, 8, 16),
                 anchor_scales: Sequence[float] = DAOTAD_SCALES, positive_iou: float = 0.6,
                 negative_iou: float = 0.4, class_prior: float = 0.01,
                 loss_cls: dict | None = None, loss_reg: dict | None = None,
                 score_threshold: float = 0.005, max_per_level: int = 2000,
                 init_cfg: dict | None = None) -> None:
        if not anchor_scales or min(anchor_scales) <= 0:
            raise ModelError('anchor_scales must be positive, at least one, got '
                             f'{tuple(anchor_scales)}')
        if not 0 <= negative_iou <= positive_iou <= 1:
            raise ModelError('a head with anchors needs 0 <= negative_iou <= positive_iou '
                             f'<= 1, got {negative_iou} and {positive_iou}')
        super().__init__(num_classes, in_channels, feat_channels, num_convs, kernel_size, norm,
                         strides, len(anchor_scales), class_prior, loss_cls, loss_reg,
                         score_threshold, max_per_level, init_cfg)
        self.anchor_scales = tuple(anchor_scales)
        self.positive_iou, self.negative_iou = positive_iou, negative_iou
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d):  # anchors begin as they are
                nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(self.reg_tower.predictor.bias)

    def decode(self, lengths: Sequence[int], offsets: Tensor) -> Tensor:
        """Offsets (B, P, 2) from the anchors to segments in level-0 grid units, float32."""
        return decode_anchors(self._anchors(lengths, offsets.device), offsets)

    def assign(self, lengths: Sequence[int], real: Tensor, segments_grid: Tensor, labels: Tensor
               ) -> tuple[Tensor, Tensor, Tensor]:
        """Targets by temporal IoU; what lies between the thresholds does not count."""
        return assign_anchors(self._anchors(lengths, real.device), real, segments_grid, labels,
                              self.num_classes, self.positive_iou, self.negative_iou)

    def _anchors(self, lengths: Sequence[int], device: torch.device) -> Tensor:
        return pyramid_anchors(lengths, self.strides, self.anchor_scales, device)
