"""Samplers of the clips that keep their gradient: pure functions of a generator.

Each of ``SAMPLERS`` draws ``num_kept`` different clips of ``num_clips`` and keeps
every clip with the same probability ``num_kept / num_clips``. ``draw_by_gradient``
draws systematically with :func:`inclusion_probabilities` that depend on the
gradients of the clips.
"""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch import distributed as dist

Sampler = Callable[[int, int, torch.Generator], Tensor]

ROWS_AT_ONCE = 64  # of a matrix of products; blocks bound the temporary memory


def keep_count(keep_ratio: float, num_clips: int) -> int:
    """Return the number of kept clips: ``max(1, round(keep_ratio * num_clips))``."""
    return max(1, round(keep_ratio * num_clips))


def sample_random(num_clips: int, num_kept: int, generator: torch.Generator) -> Tensor:
    """Draw ``num_kept`` clips, every subset equally likely: (num_kept,) int64, ascending."""
    return torch.randperm(num_clips, generator=generator)[:num_kept].sort().values


def sample_uniform(num_clips: int, num_kept: int, generator: torch.Generator) -> Tensor:
    """Draw clips in equal steps from one random start (systematic sampling).

    Clip ``floor((j * num_clips + u) / num_kept)`` for j = 0, 1, ... and one
    integer ``u`` drawn from [0, num_clips). Integers keep the probabilities
    exact for any ratio.

    Returns:
        (num_kept,) int64, ascending.
    """
    start = torch.randint(num_clips, (1, ), generator=generator)
    return (torch.arange(num_kept) * num_clips + start) // num_kept


def sample_uniform_jitter(num_clips: int, num_kept: int, generator: torch.Generator) -> Tensor:
    """Draw one clip at a random place in each of ``num_kept`` equal parts.

    If ``num_kept`` does not divide ``num_clips``, the parts differ by one clip.
    A rotation by a random offset then gives every clip the same probability.

    Returns:
        (num_kept,) int64, ascending.
    """
    edges = torch.arange(num_kept + 1) * num_clips // num_kept
    sizes = edges[1:] - edges[:-1]
    places = (torch.rand(num_kept, generator=generator, dtype=torch.float64) * sizes).long()
    kept = edges[:-1] + torch.minimum(places, sizes - 1)
    if num_clips % num_kept:
        kept = (kept + torch.randint(num_clips, (1, ), generator=generator)) % num_clips
    return kept.sort().values


def inclusion_probabilities(sizes: Tensor, num_kept: int, uniform_share: float = 0.1) -> Tensor:
    """Compute the probability of keeping each clip from the size of its gradient.

    It is ``min(1, c * q)``. ``q`` mixes the share of each size in the sum of
    sizes with a uniform share, and ``c`` makes the probabilities sum to
    ``num_kept``. Sizes that are all zero, or not finite (after an overflow of
    the loss scale), give equal probabilities.

    Args:
        sizes: (K,), not negative.
        num_kept: between 1 and K.
        uniform_share: uniform part of ``q``; no probability is 0.

    Returns:
        (K,) float64 on the CPU, in (0, 1].
    """
    sizes = sizes.detach().to('cpu', torch.float64)
    total = sizes.sum()
    uniform = torch.full_like(sizes, 1 / len(sizes))
    if not (torch.isfinite(total) and total > 0):
        return uniform * num_kept
    shares = (1 - uniform_share) * sizes / total + uniform_share * uniform
    descending = shares.sort(descending=True).values
    # With the m largest capped at 1, the others share num_kept - m. The right m is
    # the smallest that leaves none of the others above 1.
    rest = descending.flip(0).cumsum(0).flip(0)  # sum from each place to the end
    factors = (num_kept - torch.arange(len(sizes))) / rest
    num_capped = int((factors * descending <= 1 + 1e-12).to(torch.uint8).argmax())
    return (shares * factors[num_capped]).clamp(max=1)


def systematic_indices(probabilities: Tensor, start: Tensor) -> Tensor:
    """Locate the points ``start``, ``start + 1``, ... on the cumulative probabilities.

    Args:
        probabilities: (K,) float64 in (0, 1] with an integer sum k.
        start: (1,) float64 in [0, 1).

    Returns:
        (k,) int64, ascending. If ``start`` is uniform, clip i is among them
        with probability ``probabilities[i]`` exactly.
    """
    edges = probabilities.cumsum(0)
    num_kept = round(float(edges[-1]))
    edges[-1] = num_kept  # a rounding error must not exclude the last point
    found = torch.searchsorted(edges, start + torch.arange(num_kept), right=True)
    return found.clamp(max=len(edges) - 1)  # a start just below 1 may be rounded up


def gradient_spread(products: Tensor, num_kept: int) -> Tensor:
    """Measure the distance of each clip's gradient from the average of its neighbours: (K,).

    It is ``sqrt(|g_i - average_i|^2 + 0.03 |g_i|^2)``. The average weights
    clips near i in time more. The error of systematic sampling comes from
    differences within one sampling step, so a long series of large but equal
    gradients needs few samples (Neyman's allocation in stratified sampling).
    The share of the norm covers parameter gradients, which can differ where
    the feature gradients are equal. Both constants were measured
    (``python -m benchmarks.variance``); no value of them causes a bias.

    Args:
        products: (K, K) inner products of the clips' gradients g.
        num_kept: k; a sampling step is K / k clips.
    """
    num_clips = len(products)
    rate = 4 * num_kept / num_clips
    times = torch.arange(num_clips, dtype=torch.float64)
    blocks = products.detach().cpu().split(ROWS_AT_ONCE)
    spread = torch.empty(num_clips, dtype=torch.float64)
    sums = sum_nearby(blocks, rate)
    # With averages A, rows of which sum to 1: the diagonal of (I - A) P (I - A)'.
    for part, nearby, rows in zip(blocks, sums, times.split(ROWS_AT_ONCE)):
        nearness = (-(rows[:, None] - times).abs() * rate).exp()  # (rows, K)
        total = nearness.sum(dim=1)
        differences = part - nearby / total[:, None]
        places = rows.long()
        norms = part.gather(1, places[:, None])[:, 0].double()
        own = differences.gather(1, places[:, None])[:, 0]
        spread[places] = own - (differences * nearness).sum(dim=1) / total + 0.03 * norms
    return spread.clamp(min=0).sqrt()


def sum_nearby(blocks: Sequence[Tensor], rate: float) -> list[Tensor]:
    """Sum the rows of a matrix with the weights ``exp(-rate * |i - j|)``.

    Recursive sums from both ends take O(K^2) operations for K x K numbers.

    Args:
        blocks: the matrix, ``ROWS_AT_ONCE`` rows in each block.
        rate: of the exponential decay per row.

    Returns:
        The sums, float64, in the same blocks.
    """
    places = torch.arange(ROWS_AT_ONCE, dtype=torch.float64)
    within = (-(places[:, None] - places).abs() * rate).exp()
    decay = (-(places + 1) * rate).exp()[:, None]  # from the row before the block
    sums, before = [], torch.zeros(blocks[0].shape[1], dtype=torch.float64)
    for part in blocks:
        size = len(part)
        sums.append(torch.addmm(decay[:size] * before, within[:size, :size], part.double()))
        # The sum up to the last row of the block.
        before = decay[size - 1] * before + within[size - 1, :size] @ part.double()
    after = torch.zeros_like(before)
    for part, total in zip(reversed(blocks), reversed(sums)):
        size = len(part)
        total += decay[:size].flip(0) * after
        after = decay[size - 1] * after + within[0, :size] @ part.double()
    return sums


def sample_systematic(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """Draw clips in equal steps on the cumulative probabilities: (k,) int64, ascending.

    This stratifies along time, as uniform jitter does, and so removes most of the
    variance. Independent draws with the same probabilities remove far less.
    """
    start = torch.rand(1, generator=generator, dtype=torch.float64)
    return systematic_indices(probabilities, start)


def global_positions(batch: int) -> list[int]:
    """Return the positions in the global batch of the samples of this process.

    Ranks interleave: sample ``i`` of rank ``r`` of ``n`` is at ``i * n + r``.
    """
    ranked = dist.is_available() and dist.is_initialized()
    rank, world = (dist.get_rank(), dist.get_world_size()) if ranked else (0, 1)
    return [sample * world + rank for sample in range(batch)]


def in_backward() -> bool:
    """Tell whether a backward pass runs; a forward in it is one that checkpointing repeats."""
    return torch._C._current_graph_task_id() != -1


SAMPLERS: dict[str, Sampler] = {
    'random': sample_random,
    'uniform': sample_uniform,
    'uniform_jitter': sample_uniform_jitter,
}


def seeded_generator(*key: int) -> torch.Generator:
    """Make a CPU generator seeded by all numbers of ``key``."""
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
        keys: one key per sample, for example (seed, iteration, sample index).
            The kept clips depend only on the key: two runs agree, and the
            global random state is neither read nor changed.

    Returns:
        (B, K) bool on the CPU, True where a clip is kept; exactly
        ``keep_count`` per row.
    """
    num_kept = keep_count(keep_ratio, num_clips)
    kept = torch.zeros(len(keys), num_clips, dtype=torch.bool)
    for row, key in zip(kept, keys):
        row[SAMPLERS[sampler](num_clips, num_kept, seeded_generator(*key))] = True
    return kept


def draw_by_gradient(products: Tensor, num_kept: int, keys: Sequence[Sequence[int]]
                     ) -> tuple[Tensor, Tensor]:
    """Draw the kept clips of each sample from the gradients of their features.

    Args:
        products: (B, K, K) inner products of the loss gradients of the K clips.
        num_kept: number of kept clips per sample.
        keys: one key per sample, see :func:`draw_kept_clips`.

    Returns:
        (B, K) bool, True where a clip is kept, and its probability (B, K)
        float64, both on the CPU.
    """
    chances = torch.stack([inclusion_probabilities(gradient_spread(sample, num_kept), num_kept)
                           for sample in products.cpu()])
    kept = torch.zeros(chances.shape, dtype=torch.bool)
    for row, row_chances, key in zip(kept, chances, keys):
        row[sample_systematic(row_chances, seeded_generator(*key))] = True
    return kept, chances
