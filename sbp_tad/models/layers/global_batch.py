"""A part of the batch in each process, and all of them do what one would with the whole.

Data-parallel training averages the gradients of its processes. The average is
that of the whole batch only if a loss is divided by what the whole batch
holds, and if what is drawn for a sample does not depend on its process. The
samplers of mmengine deal the samples out in turn, so sample ``i`` of process
``p`` of ``P`` is number ``i * P + p`` of the whole batch.
"""
from __future__ import annotations

import torch
from mmcv.cnn.bricks import drop
from mmengine.dist import all_reduce, get_rank, get_world_size
from torch import Tensor


def global_count(mask: Tensor) -> Tensor:
    """True entries of a mask in all processes together, at least 1.

    All processes must call it: they wait for each other.
    """
    count = mask.sum()
    all_reduce(count)
    return count.clamp(min=1)


def average_over_batch(total: Tensor, count: Tensor) -> Tensor:
    """A loss whose average over processes is the sum of all their totals over ``count``.

    Args:
        total: sum over the elements of this process.
        count: elements of the whole batch, as of :func:`global_count`.
    """
    return total * get_world_size() / count


class DropPath(drop.DropPath):
    """mmcv's stochastic depth; whether a sample drops a branch does not depend on its process.

    Every process draws for the whole batch and takes its part, so processes
    with the same random state (as :class:`sbp_tad.engine.ExactResumeHook` sees
    to) drop what one process would, and no two samples drop alike by force.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to the same shape."""
        if not self.training or self.drop_prob == 0:
            return x
        world, keep_prob = get_world_size(), 1 - self.drop_prob
        drawn = torch.rand(len(x) * world, dtype=x.dtype, device=x.device)[get_rank()::world]
        kept = (keep_prob + drawn).floor().view(-1, *[1] * (x.ndim - 1))
        return x.div(keep_prob) * kept
