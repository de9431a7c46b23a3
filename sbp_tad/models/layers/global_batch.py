"""Make data-parallel training equal single-process training on the global batch.

Data-parallel training averages the gradients of its processes. The average
equals the gradient of the global batch only if a loss is divided by a count
over the global batch, and if random draws for a sample do not depend on its
process. The samplers of mmengine distribute samples in turn, so sample ``i``
of process ``p`` of ``P`` is number ``i * P + p`` of the global batch.
"""
from __future__ import annotations

import torch
from mmcv.cnn.bricks import drop
from mmengine.dist import all_reduce, get_rank, get_world_size
from torch import Tensor


def global_count(mask: Tensor) -> Tensor:
    """Count the True entries of a mask, or sum counts, over all processes; at least 1.

    All processes must call it, because they wait for each other.
    """
    count = mask.sum()
    all_reduce(count)
    return count.clamp(min=1)


def average_over_batch(total: Tensor, count: Tensor) -> Tensor:
    """Return a loss whose average over processes is the global total divided by ``count``.

    Args:
        total: sum over the elements of this process.
        count: number of elements of the global batch, see :func:`global_count`.
    """
    return total * get_world_size() / count


class DropPath(drop.DropPath):
    """Stochastic depth of mmcv whose draw for a sample does not depend on its process.

    Every process draws for the global batch and takes its share. Processes
    with the same random state (:class:`sbp_tad.engine.ExactResumeHook` sets
    it) then drop the branches that a single process drops.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drop the branch of some samples of (B, ...); the shape stays."""
        if not self.training or self.drop_prob == 0:
            return x
        world, keep_prob = get_world_size(), 1 - self.drop_prob
        drawn = torch.rand(len(x) * world, dtype=x.dtype, device=x.device)[get_rank()::world]
        kept = (keep_prob + drawn).floor().view(-1, *[1] * (x.ndim - 1))
        return x.div(keep_prob) * kept
