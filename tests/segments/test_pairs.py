"""Every pair occurs once, for any division of the rows into chunks."""
import numpy as np
import pytest

from sbp_tad.segments import pairs


@pytest.mark.parametrize('at_once', [1, 4, 1 << 20])
@pytest.mark.parametrize('count', [[], [0, 0], [3, 0, 1, 2, 0], [5]])
def test_pairs_are_those_of_the_double_loop(monkeypatch, at_once, count):
    monkeypatch.setattr(pairs, '_PAIRS_AT_ONCE', at_once)
    first = np.arange(len(count)) * 10
    chunks = list(pairs.pairs_in_chunks(first, np.array(count, dtype=np.int64)))
    found = [(int(row), int(entry)) for chunk in chunks for row, entry in zip(*chunk)]
    assert found == [(row, 10 * row + i) for row, n in enumerate(count) for i in range(n)]
    assert chunks and all(len(set(a[0]) & set(b[0])) == 0 for a, b in zip(chunks, chunks[1:]))
