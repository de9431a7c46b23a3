"""Losses of temporal detection heads; each a function of elements and a module that sums."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sbp_tad.models.layers.global_batch import average_over_batch, global_count
from sbp_tad.models.layers.overlap import overlap_and_union
from sbp_tad.registry import MODELS


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25,
                       gamma: float = 2.0) -> Tensor:
    """Focal loss of independent binary classes (Lin et al., ICCV 2017, eq. 5).

    ``-a_t * (1 - p_t) ** gamma * log(p_t)`` with ``p_t`` the probability of
    the right answer and ``a_t`` = ``alpha`` for positives, ``1 - alpha`` for
    the rest; ``alpha < 0`` leaves the balance out. ``gamma = 0`` without
    balance is binary cross-entropy.

    Args:
        logits: any shape.
        targets: of the same shape, in [0, 1].

    Returns:
        The loss of every element, float32 at least.
    """
    logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    targets = targets.to(logits.dtype)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    probability = logits.sigmoid()
    wrong = probability + targets - 2 * probability * targets  # 1 - p_t
    # the root of gamma < 1 has no slope at 0
    loss = cross_entropy * wrong.clamp(min=1e-12) ** gamma
    if alpha >= 0:
        loss = loss * (alpha * targets + (1 - alpha) * (1 - targets))
    return loss


def frame_cross_entropy(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy of the classes of a frame, averaged over the valid frames of all processes.

    A frame of several classes shares its weight out among them:
    ``-sum_c t_c / sum(t) * log softmax(logits)_c``, which is least where the
    scores are equal shares.

    Args:
        logits: (..., 1 + C), column 0 background.
        targets: of the same shape, multi-hot; rows that are not valid may hold anything.
        valid: (...) bool, True = counts.

    Returns:
        Scalar, float32 at least; 0 with gradients of 0 if no frame is valid.
    """
    logits, targets = logits[valid], targets[valid]  # (P, 1 + C)
    logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    shares = targets.to(logits.dtype)
    shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=1)
    return average_over_batch(-(shares * logits.log_softmax(dim=1)).sum(), global_count(valid))


def aligned_diou_loss(predicted: Tensor, target: Tensor, eps: float = 1e-8) -> Tensor:
    """Distance-IoU loss in one dimension, row by row (Zheng et al., AAAI 2020, eq. 7).

    ``1 - tIoU + (distance of the centres / length of the hull) ** 2``; the
    first row of ``predicted`` only meets the first of ``target``.

    Args:
        predicted: (N, 2) start and end, any one unit; end >= start.
        target: (N, 2) in the same unit.
        eps: a length not above it counts as none.

    Returns:
        (N,) in [0, 2), float32 at least; where neither segment has a length
        the overlap counts as 0.
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
    """0 with no gradient where the whole is nothing; a bare division would give huge ones."""
    return torch.where(whole > eps, part / whole.clamp(min=eps), 0.0)


@MODELS.register_module()
class SigmoidFocalLoss(nn.Module):
    """Sum of :func:`sigmoid_focal_loss` times ``loss_weight``."""

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.alpha, self.gamma, self.loss_weight = alpha, gamma, loss_weight

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """``logits`` and ``targets`` of one shape to a scalar."""
        loss = sigmoid_focal_loss(logits, targets, self.alpha, self.gamma)
        return self.loss_weight * loss.sum()


@MODELS.register_module()
class AlignedDIoULoss(nn.Module):
    """Sum of :func:`aligned_diou_loss` times ``loss_weight``."""

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, predicted: Tensor, target: Tensor) -> Tensor:
        """(N, 2) and (N, 2) segments to a scalar; 0 with gradients for N = 0."""
        return self.loss_weight * aligned_diou_loss(predicted, target).sum()
