"""Ragged double loop over arrays: pairs of a row and each entry of its range."""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_PAIRS_AT_ONCE = 1 << 20  # limits the transient memory


def pairs_in_chunks(first: np.ndarray, count: np.ndarray
                    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pair row ``i`` with each of ``first[i]`` up to ``first[i] + count[i] - 1``.

    Args:
        first: (N,) int64.
        count: (N,) int64, not negative.

    Yields:
        Rows (P,) int64, ascending, and entries (P,) int64, chunk by chunk. All
        pairs of a row lie in one chunk. At least one chunk, which may be empty.
    """
    rows = np.flatnonzero(count)
    chunk = np.cumsum(count[rows]) // _PAIRS_AT_ONCE
    for part in np.split(rows, np.flatnonzero(np.diff(chunk)) + 1):
        row = np.repeat(part, count[part])
        ends = np.cumsum(count[part])
        yield row, first[row] + np.arange(len(row)) - np.repeat(ends - count[part], count[part])
