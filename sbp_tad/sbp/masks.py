"""Which tokens keep their gradient: pure functions of a grid, a ratio and a key.

A grid is (T, H, W), the tokens of one sample along time, height and width; a
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

# Powers of 1 / 1.2207..., the root of x^4 = x + 1: the additive recurrence of
# Roberts (2018), "The Unreasonable Effectiveness of Quasirandom Sequences".
LATTICE_STEPS = (0.8191725133961645, 0.6710436067037893, 0.5497004779019703)


def keep_random(grid: Grid, keep_ratio: float, generator: torch.Generator) -> Tensor:
    """Any tokens: (T, H, W) bool, exactly ``keep_count`` of them True."""
    num_tokens = grid[0] * grid[1] * grid[2]
    kept = torch.zeros(num_tokens, dtype=torch.bool)
    kept[sample_random(num_tokens, keep_count(keep_ratio, num_tokens), generator)] = True
    return kept.view(grid)


def keep_tubes(grid: Grid, keep_ratio: float, generator: torch.Generator) -> Tensor:
    """The same random places in every frame: (T, H, W) bool."""
    return keep_random((1, *grid[1:]), keep_ratio, generator).expand(grid)


@lru_cache(maxsize=64)
def lattice_order(grid: Grid) -> Tensor:
    """All tokens, flat (N,) int64, so that any run of them lies spread over space and time."""
    places = [step * torch.arange(size, dtype=torch.float64)
              for step, size in zip(LATTICE_STEPS, grid)]
    phase = places[0][:, None, None] + places[1][:, None] + places[2]  # (T, H, W)
    return (phase % 1).flatten().argsort(stable=True)


def keep_grid(grid: Grid, keep_ratio: float, generator: torch.Generator) -> Tensor:
    """Tokens of a space-time lattice from a random start: (T, H, W) bool."""
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
        keys: one key a sample. What is kept depends on it alone; the global
            random state is neither read nor changed.
        merges: patch mergings (2 x 2 tokens into one) that still follow. The
            mask is drawn on the coarsest grid and spread, so that a merged
            token is kept exactly where its parts are.

    Returns:
        (B, T, H, W) bool on the CPU, True = kept. Without merges, exactly
        ``keep_count`` of the T * H * W tokens of a sample (of the H * W
        places for tubes).
    """
    factor = 2**merges
    coarse = (grid[0], -(-grid[1] // factor), -(-grid[2] // factor))
    kept = torch.stack([TOKEN_MASKS[mask](coarse, keep_ratio, seeded_generator(*key))
                        for key in keys])
    fine = kept.repeat_interleave(factor, 2).repeat_interleave(factor, 3) if merges else kept
    return fine[:, :, :grid[1], :grid[2]]
