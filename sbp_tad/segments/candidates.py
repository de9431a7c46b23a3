"""Loop of class-wise suppression: each step picks one detection per class."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

# rescores in place; takes scores and their overlaps, of the same shape
Decay = Callable[[np.ndarray, np.ndarray], None]

_GONE = 0.0  # the score of a picked, suppressed or padded entry
_STEPS_BETWEEN_CLEANUPS = 16
_CROWDED_SHARE = 0.2  # share of entries near a pick above which gathering them is slower


class Candidates:
    """Remaining detections, one row per class, so that one step serves all classes.

    Rows keep the order of the input, so ``argmax`` takes the first of equal
    scores. Usually few entries overlap the pick of their row. A step finds
    them by their ticks (coarse times of two bytes) and computes on no others.

    Args:
        segments: (N, 2) start and end, any one unit.
        scores: (N,).
        index: (classes, width) indices into the input, one row per class.
        real: (classes, width) bool, False in padding.
    """

    def __init__(self, segments: np.ndarray, scores: np.ndarray, index: np.ndarray,
                 real: np.ndarray) -> None:
        self.index = index  # (classes, width) into the input
        self.score = np.where(real, scores[index], _GONE)
        # two empty segments then overlap by 0 / tiny = 0; no real length is as short
        length = np.maximum(segments[:, 1] - segments[:, 0], np.finfo(float).tiny)
        columns = np.stack([*segments.T, length])
        # take, unlike indexing, keeps the rows contiguous
        self.segment = columns.take(index, axis=1)  # start, end and length (3, classes, width)
        self.tick = _ticks(segments).take(index, axis=1)  # start and end (2, classes, width)
        self._is_crowded = False

    def suppress(self, decay: Decay, min_score: float, limit: int
                 ) -> tuple[np.ndarray, np.ndarray]:
        """Pick until no score above ``min_score`` is left, or ``limit`` picks beat all others.

        Returns:
            Indices (K,) int64 into the input and scores (K,) of the picks.
        """
        picks = []
        while True:
            first = np.arange(len(self.score)) * self.score.shape[1]  # flat index of each row
            steps = [self._pick(first, decay) for _ in range(_STEPS_BETWEEN_CLEANUPS)]
            picks.append([np.concatenate(column) for column in zip(*steps)])
            self._clean_up(min_score)
            index, value = (np.concatenate(column) for column in zip(*picks))
            best_left = self.score.max(initial=_GONE)
            if not self.score.size or np.count_nonzero(value > best_left) >= limit:
                found = (value > 0) & (value >= min_score)
                return index[found], value[found]

    def _pick(self, first: np.ndarray, decay: Decay) -> tuple[np.ndarray, np.ndarray]:
        """Pick the best of every row and rescore the entries that overlap it."""
        best = first + self.score.argmax(axis=1)
        index, value = self.index.take(best), self.score.take(best)
        flat = self.score.reshape(-1)
        flat[best] = _GONE
        near, overlap = self._overlap(best)
        score = flat[near]
        self._rescore(decay, score, near, overlap, index)
        flat[near] = score
        return index, value

    def _rescore(self, decay: Decay, score: np.ndarray, near: np.ndarray | slice,
                 overlap: np.ndarray, picks: np.ndarray) -> None:
        """Rescore in place the entries at the flat indices ``near``."""
        decay(score, overlap)

    def _overlap(self, best: np.ndarray) -> tuple[np.ndarray | slice, np.ndarray]:
        """Return flat indices of all entries near the pick of their row, and their tIoU with it."""
        segment = self.segment.reshape(3, -1)
        pick = segment.take(best, axis=1)
        near: np.ndarray | slice
        if self._is_crowded:
            segment, pick, near = self.segment, pick[..., None], slice(None)
        else:
            near, row = self._neighbours(best)
            segment, pick = segment.take(near, axis=1), pick.take(row, axis=1)
        shared = np.minimum(segment[1], pick[1])
        shared -= np.maximum(segment[0], pick[0])
        np.maximum(shared, 0.0, out=shared)
        union = segment[2] + pick[2]
        union -= shared
        shared /= union
        return near, shared.reshape(-1)

    def _neighbours(self, best: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return flat index and row of every entry that may overlap the pick of its row."""
        start, end = self.tick.reshape(2, -1).take(best, axis=1)[..., None]
        meets = self.tick[0] <= end
        meets &= self.tick[1] >= start
        near = np.flatnonzero(meets)
        return near, near // meets.shape[1]

    def _clean_up(self, min_score: float) -> None:
        """Drop finished rows and, when many are gone, suppressed entries."""
        alive = (self.score > 0) & (self.score >= min_score)
        counts = np.count_nonzero(alive, axis=1)
        width = counts.max(initial=0)
        if width > 0.9 * alive.shape[1] and counts.all():
            return
        rows = np.flatnonzero(counts)[:, None]
        columns = np.argsort(~alive[rows[:, 0]], axis=1, kind='stable')[:, :width]
        places = rows * alive.shape[1] + columns
        self.index, self.score = self.index.take(places), self.score.take(places)
        self.segment = self.segment.reshape(3, -1).take(places, axis=1)
        self.tick = self.tick.reshape(2, -1).take(places, axis=1)
        near, _ = self._neighbours(np.arange(len(rows)) * width)
        self._is_crowded = len(near) > _CROWDED_SHARE * self.score.size


class Clusters(Candidates):
    """Candidates that record which pick suppressed them.

    Args:
        suppressed_by: (N,) filled in place with the index of the suppressing pick.
        candidates: arguments of :class:`Candidates`.
    """

    def __init__(self, suppressed_by: np.ndarray, *candidates: np.ndarray) -> None:
        super().__init__(*candidates)
        self.suppressed_by = suppressed_by

    def _rescore(self, decay: Decay, score: np.ndarray, near: np.ndarray | slice,
                 overlap: np.ndarray, picks: np.ndarray) -> None:
        before = score > 0
        decay(score, overlap)
        lost = np.flatnonzero(before & (score == _GONE))
        lost = lost if isinstance(near, slice) else near[lost]
        self.suppressed_by[self.index.take(lost)] = picks[lost // self.score.shape[1]]


def _ticks(segments: np.ndarray) -> np.ndarray:
    """Return starts and ends (2, N) in 65,536ths of the whole span; the order is kept."""
    lowest = segments.min(initial=np.inf)
    span = max(segments.max(initial=-np.inf) - lowest, np.finfo(float).tiny)
    return ((segments.T - lowest) / span * np.iinfo(np.uint16).max).astype(np.uint16)
