"""Priors of a temporal pyramid, from which heads predict segments: points and anchors."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sbp_tad.models.errors import ModelError

MAX_GROWTH = 30.0  # log of the largest growth of an anchor: no square of a length overflows
HALF_STRIDE = 'half_stride'


@dataclass(frozen=True, eq=False)
class Points:
    """P points of a pyramid, level by level, in level-0 grid units.

    Args:
        centres: (P,) position of each point, see :func:`pyramid_steps`.
        strides: (P,) stride of the point's level.
        regression_ranges: (P, 2) shortest and longest distance to the farther
            end of a segment that the point's level learns.
    """

    centres: Tensor
    strides: Tensor
    regression_ranges: Tensor


def pyramid_points(lengths: Sequence[int], strides: Sequence[int],
                   regression_ranges: Sequence[tuple[float, float]],
                   offset: float | str,
                   device: torch.device | str | None = None) -> Points:
    """Return the points of a pyramid.

    Args:
        lengths: T_l, steps of each level.
        strides: stride of each level in level-0 steps.
        regression_ranges: (shortest, longest) distance that each level learns,
            in level-0 grid units.
        offset: see :func:`pyramid_steps`.
        device: device of the tensors.

    Raises:
        ModelError: the three do not have one entry per level.
    """
    if not len(lengths) == len(strides) == len(regression_ranges):
        raise ModelError(
            f'{len(lengths)} levels need as many strides and regression_ranges, got '
            f'{len(strides)} and {len(regression_ranges)}')
    centres, stride = pyramid_steps(lengths, strides, offset, device)
    ranges = torch.tensor(regression_ranges, dtype=torch.float32, device=device)
    repeats = torch.tensor(lengths, device=device)
    return Points(centres, stride, ranges.repeat_interleave(repeats, dim=0))


def pyramid_steps(lengths: Sequence[int], strides: Sequence[int],
                  offset: float | str, device: torch.device | str | None = None
                  ) -> tuple[Tensor, Tensor]:
    """Return the positions (P,) of all steps, level by level, and their strides (P,).

    Step ``i`` of a level of stride ``s`` stands at ``i * s + offset`` in
    level-0 grid units. A convolution with an odd kernel and stride 2 puts its
    output ``i`` on its input ``2 * i``, so all levels have the same offset.
    It is 0.5 where level-0 step ``g`` sees the middle of its span ``[g, g +
    1)``, as in ActionFormer, and 0 where it is counted from the start of its
    span, as in DaoTAD and OpenTAD's training from frames.

    Args:
        lengths: T_l, steps of each level.
        strides: stride of each level in level-0 steps.
        offset: in level-0 grid units; ``'half_stride'`` for half a stride of
            the level, which suits levels made by average pooling.
        device: device of the tensors.
    """
    repeats = torch.tensor(lengths, device=device)
    stride = torch.tensor(strides, dtype=torch.float32, device=device).repeat_interleave(repeats)
    steps = torch.cat([torch.arange(length, device=device) for length in lengths])
    return steps * stride + (stride / 2 if offset == HALF_STRIDE else offset), stride


def pyramid_anchors(lengths: Sequence[int], strides: Sequence[int], scales: Sequence[float],
                    offset: float | str, device: torch.device | str | None = None
                    ) -> Tensor:
    """Return the anchors of a pyramid: A segments of different lengths around every step.

    Args:
        lengths: T_l, steps of each level.
        strides: stride of each level in level-0 steps.
        scales: A lengths in strides of the level.
        offset: see :func:`pyramid_steps`.
        device: device of the tensor.

    Returns:
        (P * A, 2) start and end in level-0 grid units, float32: level by
        level, step by step, in the order of the scales.
    """
    centres, stride = pyramid_steps(lengths, strides, offset, device)
    halves = stride[:, None] * torch.tensor(scales, device=device) / 2  # (P, A)
    ends = centres[:, None] - halves, centres[:, None] + halves
    return torch.stack(ends, dim=-1).flatten(0, 1)


def decode_anchors(anchors: Tensor, offsets: Tensor) -> Tensor:
    """Apply offsets to anchors (R-CNN, Girshick et al., CVPR 2014, in one dimension).

    The first offset moves the centre, in lengths of the anchor. The second
    is the logarithm of the new length over the old one; it is limited, so
    its exponential cannot overflow.

    Args:
        anchors: (P, 2) start and end, any one unit.
        offsets: (..., P, 2).

    Returns:
        (..., P, 2) in the unit of the anchors, float32 at least.
    """
    shift, growth = offsets.to(torch.promote_types(offsets.dtype, torch.float32)).unbind(-1)
    length = anchors[:, 1] - anchors[:, 0]
    centre = anchors.mean(dim=1) + shift * length
    half = length / 2 * growth.clamp(max=MAX_GROWTH).exp()
    return torch.stack((centre - half, centre + half), dim=-1)
