"""Masks keep exactly k tokens, all equally likely, and agree through patch merging."""
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sbp_tad.sbp.masks import TOKEN_MASKS, draw_kept_tokens

every_mask = pytest.mark.parametrize('mask', sorted(TOKEN_MASKS))
grids = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))


def whole(keep_ratio, count):
    return max(1, round(keep_ratio * count))


@every_mask
@given(grid=grids, keep_ratio=st.floats(0.01, 1), seed=st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_exactly_k(mask, grid, keep_ratio, seed):
    before = torch.get_rng_state()
    kept = draw_kept_tokens(grid, keep_ratio, mask, [(seed, 0), (seed, 1)])
    assert kept.shape == (2, *grid) and kept.dtype == torch.bool
    frames = grid[0] if mask == 'tube' else 1
    expected = frames * whole(keep_ratio, math.prod(grid) // frames)
    assert kept.flatten(1).sum(1).tolist() == [expected] * 2
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(kept, draw_kept_tokens(grid, keep_ratio, mask, [(seed, 0), (seed, 1)]))


@every_mask
def test_every_token_is_equally_likely(mask):
    grid, draws = (2, 4, 3), 4000
    counts = draw_kept_tokens(grid, 0.25, mask, [(7, step) for step in range(draws)]).sum(0)
    spread = 5 * math.sqrt(draws * 0.25 * 0.75)
    assert (counts - draws / 4).abs().max() <= spread


def test_tubes_are_the_same_in_every_frame():
    kept = draw_kept_tokens((5, 6, 6), 0.25, 'tube', [(0, step) for step in range(4)])
    assert (kept == kept[:, :1]).all() and not (kept[0] == kept[1]).all()


def test_a_grid_is_spread_evenly():
    """Every block of 2 x 4 x 4 tokens keeps nearly its share; random tokens do not."""
    def worst(mask):
        kept = draw_kept_tokens((8, 16, 16), 0.25, mask, [(0, step) for step in range(20)])
        shares = F.avg_pool3d(kept.double(), (2, 4, 4))
        return (shares - 0.25).abs().max()
    assert worst('grid') <= 0.1 < 0.2 < worst('random')


@every_mask
@pytest.mark.parametrize('size', [(4, 28, 28), (2, 7, 7), (1, 13, 9)])
def test_masks_agree_through_patch_merging(mask, size):
    """Keep a merged token exactly if its 2 x 2 parts are kept."""
    key = [(3, 1), (3, 2)]
    frames, height, width = size
    fine = draw_kept_tokens(size, 0.3, mask, key, merges=2)
    for merges in (1, 0):
        height, width = -(-height // 2), -(-width // 2)
        coarse = draw_kept_tokens((frames, height, width), 0.3, mask, key, merges=merges)
        spread = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
        assert torch.equal(fine, spread[:, :, :fine.shape[2], :fine.shape[3]])
        fine = coarse
