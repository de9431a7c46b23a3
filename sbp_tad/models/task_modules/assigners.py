"""Assignment of actions to the points or anchors of a pyramid."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sbp_tad.models.layers.overlap import overlap_and_union
from sbp_tad.models.task_modules.prior_generators import Points

TIE_TOLERANCE = 1e-3  # grid units


def assign_points(points: Points, segments_grid: Tensor, labels: Tensor, num_classes: int,
                  center_radius: float = 1.5) -> tuple[Tensor, Tensor]:
    """Return the targets of every point for one window, by centre sampling.

    Zhang et al., ActionFormer, ECCV 2022. A point is assigned to an action if
    it lies inside the action, at most ``center_radius`` strides from its
    centre, and if the distance to the farther end lies in the regression
    range of the point's level. Of several actions the shortest one is taken.
    Actions that are as short, within 1e-3, add their classes; the boundaries
    are those of the first.

    Args:
        points: P points.
        segments_grid: (N, 2) start and end in level-0 grid units; N may be 0.
        labels: (N,) int64 classes.
        num_classes: C.
        center_radius: in strides of the level; 0 or less takes the whole action.

    Returns:
        Class targets (P, C) of 0 and 1 (a row of zeros is background), and
        the segment (P, 2) that each point regresses, zeros on background.
    """
    if not len(labels):
        return tuple(points.centres.new_zeros(len(points.centres), width)
                     for width in (num_classes, 2))
    segments = segments_grid.to(points.centres)
    lengths = segments[:, 1] - segments[:, 0]  # (N,)
    cost = torch.where(_is_candidate(points, segments, center_radius), lengths, torch.inf)
    shortest, index = cost.min(dim=1)  # (P,)
    positive = shortest.isfinite()
    chosen = (cost <= shortest[:, None] + TIE_TOLERANCE) & positive[:, None]  # (P, N)
    classes = chosen.to(segments) @ F.one_hot(labels, num_classes).to(segments)
    return classes.clamp(max=1), segments[index] * positive[:, None]


def _is_candidate(points: Points, segments: Tensor, center_radius: float) -> Tensor:
    """Return (P, N) bool, True where a point may be assigned to an action."""
    centres = points.centres[:, None]
    to_start, to_end = centres - segments[:, 0], segments[:, 1] - centres  # (P, N)
    inside = torch.minimum(to_start, to_end) > 0
    if center_radius > 0:
        off_centre = (to_start - to_end).abs() / 2
        inside &= off_centre < center_radius * points.strides[:, None]
    shortest, longest = points.regression_ranges[:, :1], points.regression_ranges[:, 1:]
    farther = torch.maximum(to_start, to_end)
    return inside & (farther >= shortest) & (farther <= longest)


def assign_anchors(anchors: Tensor, real: Tensor, segments_grid: Tensor, labels: Tensor,
                   num_classes: int, positive_iou: float = 0.6, negative_iou: float = 0.4
                   ) -> tuple[Tensor, Tensor, Tensor]:
    """Return the targets of every anchor for one window, by temporal IoU.

    RetinaNet, Lin et al., ICCV 2017. An anchor is assigned to the action of
    its highest tIoU if that is at least ``positive_iou``. It is background
    below ``negative_iou`` and ignored between the two. In addition every
    action takes the anchors of its own highest tIoU, however low
    (low-quality matches); if several actions want one anchor, the last one
    gets it.

    Args:
        anchors: (P, 2) start and end in level-0 grid units.
        real: (P,) bool, False in padding; those anchors are neither matched nor counted.
        segments_grid: (N, 2) actions in level-0 grid units; N may be 0.
        labels: (N,) int64 classes.
        num_classes: C.
        positive_iou: lowest tIoU of a positive anchor.
        negative_iou: tIoU below which an anchor is background.

    Returns:
        Class targets (P, C) of 0 and 1 (a row of zeros is background), the
        segment (P, 2) that each anchor regresses, zeros on background, and
        (P,) bool, True for anchors that count in the loss.
    """
    if not len(labels):
        return (*(anchors.new_zeros(len(anchors), width) for width in (num_classes, 2)), real)
    segments = segments_grid.to(anchors)
    shared, union = overlap_and_union(anchors[:, None].unbind(2), segments.unbind(1))  # (P, N)
    iou = (shared / union.clamp(min=torch.finfo(shared.dtype).tiny)).masked_fill(~real[:, None], -1)
    overlap, index = iou.max(dim=1)  # (P,)
    most = iou.max(dim=0).values  # (N,)
    wanted = (iou == most) & (most > 0)  # (P, N)
    last = (wanted * torch.arange(1, len(labels) + 1, device=iou.device)).max(dim=1).values
    index = torch.where(last > 0, last - 1, index)
    positive = (last > 0) | (overlap >= positive_iou)
    classes = F.one_hot(labels[index], num_classes) * positive[:, None]
    counted = real & (positive | (overlap < negative_iou))
    return classes.to(segments), segments[index] * positive[:, None], counted
