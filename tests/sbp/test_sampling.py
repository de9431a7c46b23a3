"""Samplers keep exactly k, all clips equally likely, and depend on their key alone."""
import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from sbp_tad.sbp.sampling import (
    SAMPLERS,
    draw_by_gradient,
    draw_kept_clips,
    gradient_spread,
    inclusion_probabilities,
    keep_count,
    sample_systematic,
    seeded_generator,
    systematic_indices,
)

names = pytest.mark.parametrize('sampler', sorted(SAMPLERS))


@pytest.mark.parametrize('keep_ratio, num_clips, expected', [
    (0.25, 128, 32), (0.3, 10, 3), (0.4, 15, 6), (0.6, 10, 6), (0.01, 5, 1), (1, 7, 7)])
def test_keep_count(keep_ratio, num_clips, expected):
    assert keep_count(keep_ratio, num_clips) == expected


@names
@given(num_clips=st.integers(1, 200), keep_ratio=st.floats(0.001, 1), seed=st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_exactly_k_different_clips(sampler, num_clips, keep_ratio, seed):
    kept = draw_kept_clips(num_clips, keep_ratio, sampler, [(seed, 0), (seed, 1)])
    assert kept.shape == (2, num_clips)
    assert kept.sum(1).tolist() == [max(1, round(keep_ratio * num_clips))] * 2


@names
@pytest.mark.parametrize('num_clips, num_kept', [(8, 2), (10, 3), (7, 5), (5, 5), (9, 1)])
def test_every_clip_is_equally_likely(sampler, num_clips, num_kept):
    """4,000 draws: each count within 5 standard deviations of its binomial mean."""
    generator = seeded_generator(1)
    counts = torch.zeros(num_clips)
    draws, chance = 4000, num_kept / num_clips
    for _ in range(draws):
        counts[SAMPLERS[sampler](num_clips, num_kept, generator)] += 1
    spread = 5 * math.sqrt(draws * chance * (1 - chance))
    assert (counts - draws * chance).abs().max() <= spread


def test_random_draws_every_subset():
    generator = seeded_generator(3)
    seen = Counter(tuple(SAMPLERS['random'](5, 2, generator).tolist()) for _ in range(2000))
    assert len(seen) == math.comb(5, 2)
    assert max(seen.values()) < 2 * min(seen.values())


def test_uniform_takes_equal_steps_from_any_start():
    generator = seeded_generator(5)
    starts = set()
    for _ in range(100):
        kept = SAMPLERS['uniform'](12, 3, generator)
        assert (kept.diff() == 4).all()
        starts.add(int(kept[0]))
    assert starts == {0, 1, 2, 3}


def test_uniform_jitter_takes_one_of_each_part():
    generator = seeded_generator(5)
    seen = set()
    for _ in range(200):
        kept = SAMPLERS['uniform_jitter'](12, 3, generator)
        assert (kept // 4).tolist() == [0, 1, 2]
        seen.add(tuple((kept % 4).tolist()))
    assert len(seen) > 50  # of 64: the places in the parts are independent


@names
def test_depends_on_the_key_alone(sampler):
    before = torch.random.get_rng_state()
    first = draw_kept_clips(64, 0.25, sampler, [(0, 1, 2), (0, 1, 3)])
    again = draw_kept_clips(64, 0.25, sampler, [(0, 1, 2), (0, 1, 3)])
    assert torch.equal(first, again)
    assert torch.equal(before, torch.random.get_rng_state())
    other = draw_kept_clips(64, 0.25, sampler, [(0, 2, 2), (1, 1, 2)])
    rows = [*first, *other]
    assert any(not torch.equal(rows[0], row) for row in rows[1:])


def test_fresh_each_iteration():
    kept = draw_kept_clips(128, 0.25, 'uniform_jitter', [(0, step) for step in range(20)])
    assert len({tuple(row.tolist()) for row in kept}) == 20


norm_lists = st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e6)), min_size=1, max_size=40)


@given(norms=norm_lists, share=st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_inclusion_probabilities_sum_to_k(norms, share):
    num_kept = max(1, round(share * len(norms)))
    chances = inclusion_probabilities(torch.tensor(norms), num_kept)
    assert float(chances.sum()) == pytest.approx(num_kept, rel=1e-9)
    assert bool((chances > 0).all()) and bool((chances <= 1).all())
    floor = 0.1 * num_kept / len(norms)
    assert float(chances.min()) >= floor * (1 - 1e-9)


@given(norms=st.lists(st.floats(0.01, 100), min_size=2, max_size=30), share=st.floats(0.05, 1))
@settings(max_examples=100, deadline=None)
def test_inclusion_probabilities_follow_the_norms(norms, share):
    """Below the cap they are in proportion to norms with a tenth of uniform mixed in."""
    num_kept = max(1, round(share * len(norms)))
    values = torch.tensor(norms, dtype=torch.float64)
    chances = inclusion_probabilities(values, num_kept)
    mixed = 0.9 * values / values.sum() + 0.1 / len(norms)
    free = chances < 1 - 1e-9
    if free.any():
        factors = (chances / mixed)[free]
        torch.testing.assert_close(factors, factors[:1].expand_as(factors))
        assert bool((mixed[~free] * factors[0] >= 1 - 1e-6).all())


@pytest.mark.parametrize('norms', [[0.0] * 4, [1.0, math.inf, 2.0, 0.0], [math.nan] * 4])
def test_no_guidance_means_equal_chances(norms):
    assert inclusion_probabilities(torch.tensor(norms), 2).tolist() == [0.5] * 4


@given(norms=norm_lists, share=st.floats(0, 1))
@settings(max_examples=80, deadline=None)
def test_systematic_draws_include_each_clip_with_its_probability(norms, share):
    """Exact: what is drawn only changes where the start passes an edge."""
    num_kept = max(1, round(share * len(norms)))
    chances = inclusion_probabilities(torch.tensor(norms), num_kept)
    edges = torch.cat([chances.cumsum(0) % 1, torch.tensor([0.0, 1.0])]).double().unique()
    included = torch.zeros_like(chances)
    for low, high in zip(edges, edges[1:]):
        if high - low < 1e-10:
            continue  # edges that differ by rounding alone
        kept = systematic_indices(chances, ((low + high) / 2).reshape(1))
        assert len(set(kept.tolist())) == num_kept
        included[kept] += high - low
    torch.testing.assert_close(included, chances, rtol=0, atol=1e-9)


def test_systematic_draws_are_spread_along_time():
    chances = torch.full((12, ), 0.25, dtype=torch.float64)
    kept = sample_systematic(chances, seeded_generator(3))
    assert kept.diff().tolist() == [4, 4]


def products_of(rows):
    return rows @ rows.mT


def some_rows(num_clips, width=4, seed=0):
    return torch.randn(num_clips, width, generator=seeded_generator(seed), dtype=torch.float64)


def test_draws_by_gradient_depend_on_their_key_alone():
    products = torch.stack([products_of(some_rows(16, seed=number)) for number in range(3)])
    state = torch.random.get_rng_state()
    kept, chances = draw_by_gradient(products, 4, [(0, 1), (0, 2), (0, 1)])
    assert torch.equal(state, torch.random.get_rng_state())
    assert kept.sum(1).tolist() == [4, 4, 4] and chances.shape == (3, 16)
    again, _ = draw_by_gradient(products[[0, 0, 2]], 4, [(0, 1), (0, 2), (0, 1)])
    assert torch.equal(again[[0, 2]], kept[[0, 2]])


def test_spread_is_the_distance_from_the_average_around():
    rows, num_kept = some_rows(9), 3
    for clip, found in enumerate(gradient_spread(products_of(rows), num_kept).tolist()):
        weights = [math.exp(-abs(clip - other) * 4 * num_kept / 9) for other in range(9)]
        average = sum(w * row for w, row in zip(weights, rows)) / sum(weights)
        squared = (rows[clip] - average).square().sum() + 0.03 * rows[clip].square().sum()
        assert found == pytest.approx(float(squared.sqrt()))


def slow_spread(products, num_kept):
    """The distance from the average around by matrix products, in O(K^3)."""
    num_clips = len(products)
    times = torch.arange(num_clips, dtype=torch.float64)
    nearness = (-(times[:, None] - times).abs() * 4 * num_kept / num_clips).exp()
    residuals = torch.eye(num_clips, dtype=torch.float64) \
        - nearness / nearness.sum(dim=1, keepdim=True)
    spread = (residuals @ products @ residuals.mT).diagonal()
    return (spread + 0.03 * products.diagonal()).clamp(min=0).sqrt()


@pytest.mark.parametrize('num_clips, num_kept', [
    (1, 1), (2, 1), (31, 8), (64, 64), (65, 1), (100, 25), (256, 3)])
def test_spread_and_draws_are_those_of_the_matrix_products(num_clips, num_kept):
    rows = torch.stack([some_rows(num_clips, seed=seed) * (1 + 9 * seed) for seed in range(4)])
    rows[0] = rows[0, :1]  # equal gradients
    products = rows @ rows.mT
    expected = torch.stack([slow_spread(sample, num_kept) for sample in products])
    found = torch.stack([gradient_spread(sample, num_kept) for sample in products])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    keys = [(seed, sample) for sample in range(4) for seed in range(20)]
    kept, _ = draw_by_gradient(products.repeat_interleave(20, 0), num_kept, keys)
    chances = [inclusion_probabilities(row, num_kept) for row in expected]
    for row, key in zip(kept, keys):
        drawn = sample_systematic(chances[key[1]], seeded_generator(*key))
        assert torch.equal(row.nonzero().flatten(), drawn)


def test_spread_takes_no_product_of_large_matrices():
    """Counted floating-point operations of matrix products grow with K^2."""
    def operations(num_clips):
        products = products_of(some_rows(num_clips))
        with FlopCounterMode(display=False) as counter:
            gradient_spread(products, num_clips // 4)
        return counter.get_total_flops()

    assert operations(512) <= 4.1 * operations(256)


def test_equal_gradients_need_few_samples_and_lonely_ones_many():
    rows = torch.ones(16, 2, dtype=torch.float64)
    rows[12] = torch.tensor([-1.0, 1.0])  # as long as the others
    spread = gradient_spread(products_of(rows), 4)
    assert spread.argmax() == 12 and float(spread[:9].max()) < 0.25 * float(spread[12])
    alone = gradient_spread(torch.diag(torch.arange(1.0, 9.0) ** 2), 2)  # nothing in common
    assert alone[:-1].diff().min() > 0  # the last has neighbours on one side only
    assert gradient_spread(torch.tensor([[4.0]]), 1) > 0


@pytest.mark.parametrize('value', [0.0, math.inf, math.nan])
def test_gradients_that_tell_nothing_give_equal_chances(value):
    _, chances = draw_by_gradient(torch.full((1, 8, 8), value), 2, [(0, )])
    assert chances.tolist() == [[0.25] * 8]


@pytest.mark.parametrize('kind', ['any', 'smooth', 'few'])
def test_guided_estimate_is_unbiased_exactly(kind):
    """Over all starts at once: each interval of starts times the estimate that it gives."""
    rows = some_rows(24)
    if kind == 'smooth':
        rows = rows.cumsum(0)
    if kind == 'few':
        rows[torch.arange(24) % 7 != 0] = 0
    _, chances = draw_by_gradient(products_of(rows)[None], 6, [(0, )])
    edges = torch.cat([chances[0].cumsum(0) % 1, torch.tensor([0.0, 1.0])]).unique()
    mean = torch.zeros(4, dtype=torch.float64)
    for low, high in zip(edges, edges[1:]):
        kept = systematic_indices(chances[0], ((low + high) / 2).reshape(1))
        mean += (high - low) * (rows[kept] / chances[0, kept, None]).sum(0)
    torch.testing.assert_close(mean, rows.sum(0), rtol=1e-9, atol=1e-9)


def test_draws_follow_their_chances():
    """4,000 keys: each count within 5 standard deviations of its binomial mean."""
    products = products_of(some_rows(12))[None].expand(4000, -1, -1)
    kept, chances = draw_by_gradient(products, 3, [(5, draw) for draw in range(4000)])
    spread = (4000 * chances[0] * (1 - chances[0])).sqrt()
    assert bool(((kept.sum(0) - 4000 * chances[0]).abs() <= 5 * spread + 1e-6).all())
