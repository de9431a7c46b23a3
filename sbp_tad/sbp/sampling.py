"""Which clips keep their gradient: pure functions, the generator is passed in.

Each sampler draws ``num_kept`` different clips of ``num_clips`` and gives every
clip the same probability ``num_kept / num_clips`` of being kept.
"""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Sampler = Callable[[int, int, torch.Generator], Tensor]


def keep_count(keep_ratio: float, num_clips: int) -> int:
    """Clips kept of ``num_clips``: ``max(1, round(keep_ratio * num_clips))``."""
    return max(1, round(keep_ratio * num_clips))


def sample_random(num_clips: int, num_kept: int, generator: torch.Generator) -> Tensor:
    """Any ``num_kept`` clips, every subset equally likely: (num_kept,) int64, ascending."""
    return torch.randperm(num_clips, generator=generator)[:num_kept].sort().values


def sample_uniform(num_clips: int, num_kept: int, generator: torch.Generator) -> Tensor:
    """Equal steps from one random start (systematic sampling): (num_kept,) int64.

    Clip ``floor((j * num_clips + u) / num_kept)`` for j = 0, 1, ... and one
    whole ``u`` drawn from [0, num_clips). Whole numbers keep it exact for any
    ratio.
    """
    start = torch.randint(num_clips, (1, ), generator=generator)
    return (torch.arange(num_kept) * num_clips + start) // num_kept


def sample_uniform_jitter(num_clips: int, num_kept: int, generator: torch.Generator) -> Tensor:
    """One clip at a random place of each of ``num_kept`` equal parts: (num_kept,) int64.

    Where ``num_clips`` does not divide evenly, the parts differ by one clip;
    rotating them by a random offset gives every clip the same probability.
    """
    edges = torch.arange(num_kept + 1) * num_clips // num_kept
    sizes = edges[1:] - edges[:-1]
    places = (torch.rand(num_kept, generator=generator, dtype=torch.float64) * sizes).long()
    kept = edges[:-1] + torch.minimum(places, sizes - 1)
    if num_clips % num_kept:
        kept = (kept + torch.randint(num_clips, (1, ), generator=generator)) % num_clips
    return kept.sort().values


SAMPLERS: dict[str, Sampler] = {
    'random': sample_random,
    'uniform': sample_uniform,
    'uniform_jitter': sample_uniform_jitter,
}


def seeded_generator(*key: int) -> torch.Generator:
    """A CPU generator that depends on every number of ``key`` and on nothing else."""
    text = ','.join(str(int(part)) for part in key).encode()
    seed = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), 'little') >> 1
    return torch.Generator().manual_seed(seed)


def draw_kept_clips(num_clips: int, keep_ratio: float, sampler: str,
                    keys: Sequence[Sequence[int]]) -> Tensor:
    """Draw the kept clips of each sample of a batch.

    Args:
        num_clips: K, clips of one sample.
        keep_ratio: r in (0, 1].
        sampler: a name in :data:`SAMPLERS`.
        keys: one key a sample, such as (seed, iteration, sample index). What
            is kept depends on it alone: two runs agree, and the global random
            state is neither read nor changed.

    Returns:
        (B, K) bool on the CPU, True = kept; exactly ``keep_count`` a row.
    """
    num_kept = keep_count(keep_ratio, num_clips)
    kept = torch.zeros(len(keys), num_clips, dtype=torch.bool)
    for row, key in zip(kept, keys):
        row[SAMPLERS[sampler](num_clips, num_kept, seeded_generator(*key))] = True
    return kept
