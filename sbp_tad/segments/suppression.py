"""Class-wise non-maximum suppression: soft, hard and weighted."""
from __future__ import annotations

from functools import partial
from typing import Callable

import numpy as np

from sbp_tad.segments.overlap import SegmentError, checked_detections

# rescores (classes, width) in place, given the overlaps of the same shape
Decay = Callable[[np.ndarray, np.ndarray], None]

METHODS = ('gaussian', 'linear', 'hard')
_GONE = 0.0  # the score of a picked, suppressed or padded entry
_STEPS_BETWEEN_CLEANUPS = 16


def soft_nms(segments: np.ndarray, scores: np.ndarray, labels: np.ndarray, *,
             sigma: float = 0.5, min_score: float = 0.001,
             max_segments: int | None = 200, method: str = 'gaussian',
             iou_threshold: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Class-wise soft non-maximum suppression (Bodla et al., ICCV 2017).

    Again and again the best remaining detection of a class is picked, and
    every other one of that class, overlapping it by ``o``, is rescored:
    ``gaussian`` multiplies by ``exp(-o ** 2 / sigma)``; ``linear`` by
    ``1 - o`` where ``o >= iou_threshold``; ``hard`` drops it where
    ``o >= iou_threshold``. Equal scores are picked in the order of the input.

    Args:
        segments: (N, 2) start and end, any one unit.
        scores: (N,) not negative.
        labels: (N,) integers; classes never touch each other.
        sigma: width of the Gaussian; larger suppresses less.
        min_score: detections below it, before or after rescoring, are lost.
        max_segments: the best of all classes that are returned; ``None`` for all.
        method: ``'gaussian'``, ``'linear'`` or ``'hard'``.
        iou_threshold: see above; not used by ``gaussian``.

    Returns:
        Indices (K,) int64 into the input and their new scores (K,) float64,
        best first.

    Raises:
        SegmentError: shapes that do not fit, numbers that are not finite,
            an end before its start, a negative score or an unknown method.
    """
    indices, values = _pick_all(_Candidates, _decay_rule(method, sigma, iou_threshold),
                                (segments, scores, labels), min_score, max_segments)
    return indices, values


def non_maximum_weighted(segments: np.ndarray, scores: np.ndarray, labels: np.ndarray, *,
                         iou_threshold: float = 0.5, min_score: float = 0.001,
                         max_segments: int | None = 200
                         ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class-wise non-maximum weighting, NMW (Zhou et al., CAD, ICCVW 2017; DaoTAD).

    Picks as hard NMS does, but a pick and what it suppresses become one
    segment: their mean, weighted by score times temporal IoU with the pick.
    The score is that of the pick.

    Args:
        segments: (N, 2) start and end, any one unit.
        scores: (N,) not negative.
        labels: (N,) integers; classes never touch each other.
        iou_threshold: a detection that overlaps the pick by it or more joins it.
        min_score: detections below it are lost.
        max_segments: the best of all classes that are returned; ``None`` for all.

    Returns:
        Indices (K,) int64 of the picks in the input, their scores (K,)
        float64, best first, and the mean segments (K, 2) float64.

    Raises:
        SegmentError: shapes that do not fit, numbers that are not finite,
            an end before its start or a negative score.
    """
    indices, values, sums = _pick_all(
        partial(_Clusters, iou_threshold), _decay_rule('hard', 1.0, iou_threshold),
        (segments, scores, labels), min_score, max_segments)
    return indices, values, sums[:, 1:] / sums[:, :1]


def _pick_all(candidates: Callable[..., _Candidates], decay: Decay,
              detections: tuple[np.ndarray, np.ndarray, np.ndarray], min_score: float,
              max_segments: int | None) -> list[np.ndarray]:
    """Columns (K,) of the picks of all classes, best first: index, score and what else comes."""
    segments, scores, labels = checked_detections(*detections)
    limit = len(scores) if max_segments is None else max_segments
    alive = np.flatnonzero((scores >= min_score) & (scores > 0))
    picks = [
        candidates(segments, scores, alive[table], table >= 0).suppress(decay, min_score, limit)
        for table in _class_tables(labels[alive])]
    indices, *columns = (np.concatenate(parts) for parts in zip(*picks))
    order = np.lexsort((indices, -columns[0]))[:limit]
    return [column[order] for column in (indices, *columns)]


class _Candidates:
    """Remaining detections, one row a class, so that a step serves all classes.

    Rows keep the order of the input: ``argmax`` then takes the first of
    equals.
    """

    _columns = ('index', 'score', 'start', 'end', 'length', 'zero')

    def __init__(self, segments: np.ndarray, scores: np.ndarray, index: np.ndarray,
                 real: np.ndarray) -> None:
        self.index = index  # (classes, width) into the input
        self.score = np.where(real, scores[index], _GONE)
        self.start = segments[index, 0]
        self.end = segments[index, 1]
        # no real length is as short, so two empty segments overlap by 0 / tiny = 0
        self.length = np.maximum(self.end - self.start, np.finfo(float).tiny)
        self.zero = np.zeros_like(self.score)  # NumPy clips three times faster against an array

    def suppress(self, decay: Decay, min_score: float, limit: int) -> list[np.ndarray]:
        """Pick until nothing above ``min_score`` or no better than ``limit`` picks is left.

        Returns columns: indices, scores and what :meth:`_describe` adds.
        """
        picks = []
        while True:
            for _ in range(_STEPS_BETWEEN_CLEANUPS):
                picks.append(self._pick(decay, min_score))
            self._clean_up(min_score)
            best_left = self.score.max(initial=_GONE)
            values = np.concatenate([pick[1] for pick in picks])
            if not self.score.size or np.count_nonzero(values > best_left) >= limit:
                return [np.concatenate(column) for column in zip(*picks)]

    def _pick(self, decay: Decay, min_score: float) -> list[np.ndarray]:
        """Take the best of every row and rescore what overlaps it."""
        rows = np.arange(len(self.score))
        best = rows, self.score.argmax(axis=1)
        value, index = self.score[best], self.index[best]
        self.score[best] = _GONE
        overlap = self._overlap(best)
        columns = (index, value, *self._describe(best, value, overlap))
        decay(self.score, overlap)
        found = (value > 0) & (value >= min_score)
        return [column[found] for column in columns]

    def _describe(self, best: tuple[np.ndarray, np.ndarray], value: np.ndarray,
                  overlap: np.ndarray) -> tuple[np.ndarray, ...]:
        """What else is known of the picks, (classes,) each."""
        return ()

    def _overlap(self, best: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Temporal IoU (classes, width) of every entry with the pick of its row."""
        shared = np.minimum(self.end, self.end[best][:, None])
        shared -= np.maximum(self.start, self.start[best][:, None])
        np.maximum(shared, self.zero, out=shared)
        union = self.length + self.length[best][:, None]
        union -= shared
        shared /= union
        return shared

    def _clean_up(self, min_score: float) -> None:
        """Drop finished rows and, once it pays, the entries that are gone."""
        alive = (self.score > 0) & (self.score >= min_score)
        counts = alive.sum(axis=1)
        width = counts.max(initial=0)
        if width > 0.9 * alive.shape[1] and counts.all():
            return
        rows = np.flatnonzero(counts)[:, None]
        columns = np.argsort(~alive[rows[:, 0]], axis=1, kind='stable')[:, :width]
        for name in self._columns:
            setattr(self, name, getattr(self, name)[rows, columns])


class _Clusters(_Candidates):
    """Candidates of which a pick takes the suppressed ones in."""

    _columns = (*_Candidates._columns, 'moments')

    def __init__(self, iou_threshold: float, *candidates: np.ndarray) -> None:
        super().__init__(*candidates)
        self.iou_threshold = iou_threshold
        # of a weighted sum, in one product: (classes, width, 3)
        self.moments = np.stack([np.ones_like(self.start), self.start, self.end], axis=2)

    def _describe(self, best: tuple[np.ndarray, np.ndarray], value: np.ndarray,
                  overlap: np.ndarray) -> tuple[np.ndarray, ...]:
        """Sums over each pick and what joins it, of weight and of weighted start and end."""
        weight = self.score * overlap
        weight *= overlap >= self.iou_threshold
        weight[best] = value  # also a segment without length overlaps itself
        return (weight[:, None] @ self.moments)[:, 0],


def _decay_rule(method: str, sigma: float, iou_threshold: float) -> Decay:
    def gaussian(score: np.ndarray, overlap: np.ndarray) -> None:
        overlap *= overlap
        overlap /= -sigma
        score *= np.exp(overlap, out=overlap)

    def linear(score: np.ndarray, overlap: np.ndarray) -> None:
        np.multiply(score, 1.0 - overlap, out=score, where=overlap >= iou_threshold)

    def hard(score: np.ndarray, overlap: np.ndarray) -> None:
        score *= overlap < iou_threshold

    rules = dict(zip(METHODS, (gaussian, linear, hard)))
    if method not in rules:
        raise SegmentError(f'unknown soft-NMS method {method!r}: choose one of {METHODS}')
    if method == 'gaussian' and not sigma > 0:
        raise SegmentError(f'sigma of Gaussian soft-NMS must be positive, got {sigma}')
    return rules[method]


def _class_tables(labels: np.ndarray) -> list[np.ndarray]:
    """Positions of each class as rows padded with -1, one table for classes of like size.

    Within a table no class has more than twice the entries of another, so
    padding never costs more than the entries themselves. At least one table, if without rows.
    """
    order = np.argsort(labels, kind='stable')
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    sizes = np.frexp(counts)[1]  # 1; 2-3; 4-7; ...
    tables = []
    for size in np.unique(sizes):
        first, count = starts[sizes == size, None], counts[sizes == size, None]
        column = np.arange(count.max())
        inside = column < count  # (classes, width)
        tables.append(np.where(inside, order[np.where(inside, first + column, 0)], -1))
    return tables or [np.empty((0, 1), np.int64)]
