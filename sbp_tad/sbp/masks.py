"""Masks of the tokens that keep their gradient: functions of a grid, a ratio and a key.

A grid (T, H, W) counts the tokens of one sample along time, height and width. A
sequence of N tokens without such an order is (1, 1, N). Every mask keeps each
token with the same probability.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from sbp_tad.sbp.sampling import keep_count, sample_random, seeded_generator

Grid = tuple[int, int, int]

# Powers of 1 / 1.2207..., where 1.2207... is the root of x^4 = x + 1. They give the
# additive recurrence of Roberts (2018), "The Unreasonable Effectiveness of Quasirandom Sequences".
LATTICE_STEPS = (0.8191725133961645, 0.6710436067037893, 0.5497004779019703)


def keep_random(grid: Grid, keep_ratio: float, generator: torch.Generator) -> Tensor:
    """Keep exactly ``keep_count`` random tokens: (T, H, W) bool."""
    num_tokens = grid[0] * grid[1] * grid[2]
    kept = torch.zeros(num_tokens, dtype=torch.bool)
    kept[sample_random(num_tokens, keep_count(keep_ratio, num_tokens), generator)] = True
    return kept.view(grid)


def keep_tubes(grid: Grid, keep_ratio: float, generator: torch.Generator) -> Tensor:
    """Keep the same random places in every frame: (T, H, W) bool."""
    return keep_random((1, *grid[1:]), keep_ratio, generator).expand(grid)


@lru_cache(maxsize=64)
def lattice_order(grid: Grid) -> Tensor:
    """Order all tokens (N,) int64 so that any consecutive ones spread over space and time."""
    places = [step * torch.arange(size, dtype=torch.float64)
              for step, size in zip(LATTICE_STEPS, grid)]
    phase = places[0][:, None, None] + places[1][:, None] + places[2]  # (T, H, W)
    return (phase % 1).flatten().argsort(stable=True)


def keep_grid(grid: Grid, keep_ratio: float, generator: torch.Generator) -> Tensor:
    """Keep tokens of a space-time lattice from a random start: (T, H, W) bool."""
    order = lattice_order(grid)
    start = torch.randint(len(order), (1, ), generator=generator)
    chosen = (start + torch.arange(keep_count(keep_ratio, len(order)))) % len(order)
    kept = torch.zeros(len(order), dtype=torch.bool)
    kept[order[chosen]] = True
    return kept.view(grid)


TOKEN_MASKS: dict[str, Callable[[Grid, float, torch.Generator], Tensor]] = {
    'grid': keep_grid,
    'random': keep_random,
    'tube': keep_tubes,
}


def draw_kept_tokens(grid: Grid, keep_ratio: float, mask: str, keys: Sequence[Sequence[int]],
                     merges: int = 0) -> Tensor:
    """Draw the kept tokens of each sample of a batch.

    Args:
        grid: (T, H, W), tokens of one sample.
        keep_ratio: r in (0, 1].
        mask: a name in :data:`TOKEN_MASKS`.
        keys: one key per sample. The kept tokens depend only on the key; the
            global random state is neither read nor changed.
        merges: number of patch mergings (2 x 2 tokens into one) that follow.
            The mask is drawn on the coarsest grid and enlarged, so that a
            merged token is kept exactly if its parts are kept.

    Returns:
        (B, T, H, W) bool on the CPU, True where a token is kept. Without
        merges, exactly ``keep_count`` of the T * H * W tokens of a sample
        (for tubes, of the H * W places).
    """
    factor = 2**merges
    coarse = (grid[0], -(-grid[1] // factor), -(-grid[2] // factor))
    kept = torch.stack([TOKEN_MASKS[mask](coarse, keep_ratio, seeded_generator(*key))
                        for key in keys])
    fine = kept.repeat_interleave(factor, 2).repeat_interleave(factor, 3) if merges else kept
    return fine[:, :, :grid[1], :grid[2]]
