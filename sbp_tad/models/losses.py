"""Losses of temporal detection heads: a function per element and a module that sums it."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sbp_tad.models.layers.global_batch import average_over_batch, global_count
from sbp_tad.models.layers.overlap import overlap_and_union
from sbp_tad.registry import MODELS


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25,
                       gamma: float = 2.0) -> Tensor:
    """Return the focal loss of independent binary classes (Lin et al., ICCV 2017, eq. 5).

    ``-a_t * (1 - p_t) ** gamma * log(p_t)``, where ``p_t`` is the probability
    of the true class and ``a_t`` is ``alpha`` for positives and ``1 - alpha``
    for negatives. ``alpha < 0`` leaves ``a_t`` out. Then ``gamma = 0`` is
    binary cross-entropy.

    Args:
        logits: any shape.
        targets: same shape, in [0, 1].
        alpha: weight of positives.
        gamma: exponent that lowers the loss of easy elements.

    Returns:
        The loss of every element, float32 or wider.
    """
    logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    targets = targets.to(logits.dtype)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    probability = logits.sigmoid()
    wrong = probability + targets - 2 * probability * targets  # 1 - p_t
    # for gamma < 1 the gradient at 0 is infinite
    loss = cross_entropy * wrong.clamp(min=1e-12) ** gamma
    if alpha >= 0:
        loss = loss * (alpha * targets + (1 - alpha) * (1 - targets))
    return loss


def frame_cross_entropy(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Return the cross-entropy of frames, averaged over the valid frames of all processes.

    ``-sum_c t_c * log softmax(logits)_c``, as LSTR does (Xu et al., NeurIPS
    2021): a frame with two classes counts twice.

    Args:
        logits: (..., 1 + C), column 0 background.
        targets: same shape, multi-hot; invalid rows may hold any value.
        valid: (...) bool, True for frames that count.

    Returns:
        Scalar, float32 or wider; 0 with zero gradients if no frame is valid.
    """
    logits, targets = logits[valid], targets[valid]  # (P, 1 + C)
    logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    loss = -(targets.to(logits.dtype) * logits.log_softmax(dim=1)).sum()
    return average_over_batch(loss, global_count(valid))


def aligned_diou_loss(predicted: Tensor, target: Tensor, eps: float = 1e-8) -> Tensor:
    """Return the Distance-IoU loss in one dimension (Zheng et al., AAAI 2020, eq. 7).

    ``1 - tIoU + (distance of the centres / length of the hull) ** 2`` of row
    i of ``predicted`` and row i of ``target``.

    Args:
        predicted: (N, 2) start and end, any one unit; end >= start.
        target: (N, 2) in the same unit.
        eps: lengths up to it count as 0.

    Returns:
        (N,) in [0, 2), float32 or wider. If neither segment has a length, the
        tIoU counts as 0.
    """
    if predicted.dtype in (torch.float16, torch.bfloat16):
        predicted = predicted.float()
    target = target.to(predicted.dtype)
    start, end = predicted.unbind(1)
    target_start, target_end = target.unbind(1)
    shared, union = overlap_and_union((start, end), (target_start, target_end))
    hull = torch.maximum(end, target_end) - torch.minimum(start, target_start)
    distance = 0.5 * ((start + end) - (target_start + target_end))
    return 1 - _ratio(shared, union, eps) + _ratio(distance, hull, eps) ** 2


def _ratio(part: Tensor, whole: Tensor, eps: float) -> Tensor:
    """Return the ratio, or 0 without gradient if the whole is 0, whose gradient would be huge."""
    return torch.where(whole > eps, part / whole.clamp(min=eps), 0.0)


@MODELS.register_module()
class SigmoidFocalLoss(nn.Module):
    """Sum of :func:`sigmoid_focal_loss` times ``loss_weight``."""

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.alpha, self.gamma, self.loss_weight = alpha, gamma, loss_weight

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Sum the loss of ``logits`` and ``targets``, both of one shape."""
        loss = sigmoid_focal_loss(logits, targets, self.alpha, self.gamma)
        return self.loss_weight * loss.sum()


@MODELS.register_module()
class AlignedDIoULoss(nn.Module):
    """Sum of :func:`aligned_diou_loss` times ``loss_weight``."""

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Sum the loss of segments (N, 2) and (N, 2); 0 with gradients if N is 0."""
        return self.loss_weight * aligned_diou_loss(predicted, target).sum()
