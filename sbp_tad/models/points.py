"""The points of a temporal pyramid, at which an anchor-free head predicts."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import torch
from torch import Tensor

from sbp_tad.models.blocks import TemporalModelError


@dataclass(frozen=True, eq=False)
class Points:
    """P points of all levels, one behind the other, in level-0 grid units.

    Args:
        centres: (P,) step ``g`` of a level of stride ``s`` lies at ``(g + 0.5) * s``.
        strides: (P,) of the point's level.
        reaches: (P, 2) the shortest and the longest reach, from the point to
            the farther end of a segment, that the level answers for.
    """

    centres: Tensor
    strides: Tensor
    reaches: Tensor


def pyramid_points(lengths: Sequence[int], strides: Sequence[int],
                   regression_ranges: Sequence[tuple[float, float]],
                   device: torch.device | str | None = None) -> Points:
    """Points of a pyramid.

    Args:
        lengths: T_l, steps of each level.
        strides: of each level, in level-0 steps.
        regression_ranges: (shortest, longest) reach of each level in level-0 grid units.
        device: of the tensors.

    Raises:
        TemporalModelError: not one entry a level in each of the three.
    """
    if not len(lengths) == len(strides) == len(regression_ranges):
        raise TemporalModelError(
            f'{len(lengths)} levels need as many strides and regression ranges, got '
            f'{len(strides)} and {len(regression_ranges)}')
    repeats = torch.tensor(lengths, device=device)
    stride = torch.tensor(strides, dtype=torch.float32, device=device).repeat_interleave(repeats)
    steps = torch.cat([torch.arange(length, device=device) for length in lengths])
    reaches = torch.tensor(regression_ranges, dtype=torch.float32, device=device)
    return Points((steps + 0.5) * stride, stride, reaches.repeat_interleave(repeats, dim=0))
