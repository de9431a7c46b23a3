"""Overlap of temporal segments as tensors with gradients, for losses and assigners."""
from __future__ import annotations

import torch
from torch import Tensor


def overlap_and_union(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]
                      ) -> tuple[Tensor, Tensor]:
    """Return the lengths of intersection and union of segments.

    Args:
        a: starts and ends, any one unit.
        b: starts and ends in the same unit; the shapes of ``a`` and ``b`` broadcast.
    """
    (start, end), (other_start, other_end) = a, b
    shared = (torch.minimum(end, other_end) - torch.maximum(start, other_start)).clamp(min=0)
    return shared, (end - start) + (other_end - other_start) - shared
