"""Temporal segments: overlap and non-maximum suppression. NumPy only."""
from __future__ import annotations

from typing import Callable

import numpy as np

from sbp_tad.errors import UserError

# rescores (classes, width) in place, given the overlaps of the same shape
Decay = Callable[[np.ndarray, np.ndarray], None]

METHODS = ('gaussian', 'linear', 'hard')
_GONE = -1.0  # the score of a picked, suppressed or padded entry
_STEPS_BETWEEN_CLEANUPS = 16


class SegmentError(UserError, ValueError):
    """Segments, scores or labels that do not describe detections."""


def temporal_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Temporal intersection over union of every pair of segments.

    Args:
        a: (N, 2) start and end, any one unit.
        b: (M, 2) start and end in the unit of ``a``.

    Returns:
        (N, M) float64 in [0, 1]; 0 where both segments have no length.

    Raises:
        SegmentError: an argument is not of shape (N, 2).
    """
    a, b = _as_segments(a)[:, None], _as_segments(b)[None]  # (N, 1, 2), (1, M, 2)
    shared = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])
    shared = np.maximum(shared, 0.0)  # (N, M)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def soft_nms(segments: np.ndarray, scores: np.ndarray, labels: np.ndarray, *,
             sigma: float = 0.5, min_score: float = 0.001,
             max_segments: int | None = 200, method: str = 'gaussian',
             iou_threshold: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Class-wise soft non-maximum suppression (Bodla et al., ICCV 2017).

    Again and again the best remaining detection of a class is picked, and
    every other one of that class, overlapping it by ``o``, is rescored:
    ``gaussian`` multiplies by ``exp(-o ** 2 / sigma)``; ``linear`` by
    ``1 - o`` where ``o > iou_threshold``; ``hard`` drops it where
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
    segments, scores, labels = _checked_detections(segments, scores, labels)
    decay = _decay_rule(method, sigma, iou_threshold)
    limit = len(scores) if max_segments is None else max_segments
    alive = np.flatnonzero((scores >= min_score) & (scores > 0))
    picks = [np.empty(0, np.int64)]
    rescored = [np.empty(0)]
    for table in _class_tables(labels[alive]):
        state = _Candidates(segments, scores, alive[table], table >= 0)
        indices, values = state.suppress(decay, min_score, limit)
        picks.append(indices)
        rescored.append(values)
    indices, values = np.concatenate(picks), np.concatenate(rescored)
    order = np.lexsort((indices, -values))[:limit]
    return indices[order], values[order]


class _Candidates:
    """Remaining detections, one row a class, so that a step serves all classes.

    Rows keep the order of the input: ``argmax`` then takes the first of
    equals.
    """

    def __init__(self, segments: np.ndarray, scores: np.ndarray, index: np.ndarray,
                 real: np.ndarray) -> None:
        self.index = index  # (classes, width) into the input
        self.score = np.where(real, scores[index], _GONE)
        self.start = segments[index, 0]
        self.end = segments[index, 1]
        # no real length is as short, so two empty segments overlap by 0 / tiny = 0
        self.length = np.maximum(self.end - self.start, np.finfo(float).tiny)
        self.zero = np.zeros_like(self.score)  # NumPy clips three times faster against an array

    def suppress(self, decay: Decay, min_score: float, limit: int
                 ) -> tuple[np.ndarray, np.ndarray]:
        """Pick until nothing above ``min_score`` or no better than ``limit`` picks is left."""
        indices, values = [], []
        while self.score.size:
            for _ in range(_STEPS_BETWEEN_CLEANUPS):
                index, value = self._pick(decay, min_score)
                indices.append(index)
                values.append(value)
            self._clean_up(min_score)
            best_left = self.score.max(initial=_GONE)
            if np.count_nonzero(np.concatenate(values) > best_left) >= limit:
                break
        return np.concatenate(indices), np.concatenate(values)

    def _pick(self, decay: Decay, min_score: float) -> tuple[np.ndarray, np.ndarray]:
        """Take the best of every row and rescore what overlaps it."""
        rows = np.arange(len(self.score))
        best = rows, self.score.argmax(axis=1)
        value, index = self.score[best], self.index[best]
        self.score[best] = _GONE
        decay(self.score, self._overlap(best))
        found = (value > 0) & (value >= min_score)
        return index[found], value[found]

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
        for name in ('index', 'score', 'start', 'end', 'length', 'zero'):
            setattr(self, name, getattr(self, name)[rows, columns])


def _decay_rule(method: str, sigma: float, iou_threshold: float) -> Decay:
    def gaussian(score: np.ndarray, overlap: np.ndarray) -> None:
        overlap *= overlap
        overlap /= -sigma
        score *= np.exp(overlap, out=overlap)

    def linear(score: np.ndarray, overlap: np.ndarray) -> None:
        np.multiply(score, 1.0 - overlap, out=score, where=overlap > iou_threshold)

    def hard(score: np.ndarray, overlap: np.ndarray) -> None:
        score[overlap >= iou_threshold] = _GONE

    rules = dict(zip(METHODS, (gaussian, linear, hard)))
    if method not in rules:
        raise SegmentError(f'unknown soft-NMS method {method!r}: choose one of {METHODS}')
    if method == 'gaussian' and not sigma > 0:
        raise SegmentError(f'sigma of Gaussian soft-NMS must be positive, got {sigma}')
    return rules[method]


def _class_tables(labels: np.ndarray) -> list[np.ndarray]:
    """Positions of each class as rows padded with -1, one table for classes of like size.

    Within a table no class has more than twice the entries of another, so
    padding never costs more than the entries themselves.
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
    return tables


def _as_segments(segments: np.ndarray) -> np.ndarray:
    """As (N, 2) float64; an empty list counts as (0, 2)."""
    segments = np.asarray(segments, dtype=np.float64)
    if segments.size == 0:
        return segments.reshape(0, 2)
    if segments.ndim != 2 or segments.shape[1] != 2:
        raise SegmentError('segments must have shape (N, 2), start and end in each row, '
                           f'got {segments.shape}')
    return segments


def _checked_detections(segments: np.ndarray, scores: np.ndarray, labels: np.ndarray
                        ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    segments = _as_segments(segments)
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if scores.shape != (len(segments),) or labels.shape != scores.shape:
        raise SegmentError(
            f'{len(segments)} segments need as many scores and labels in one dimension, '
            f'got scores of shape {scores.shape} and labels of shape {labels.shape}')
    if labels.size and not np.issubdtype(labels.dtype, np.integer):
        raise SegmentError(f'labels must be integers, got {labels.dtype}')
    _refuse(~np.isfinite(segments).all(axis=1), 'a start or an end that is not finite', segments)
    _refuse(segments[:, 1] < segments[:, 0], 'an end before its start', segments)
    _refuse(~(np.isfinite(scores) & (scores >= 0)),
            'a score that is negative or not finite', scores)
    return segments, scores, labels


def _refuse(faulty: np.ndarray, fault: str, values: np.ndarray) -> None:
    if faulty.any():
        first = int(faulty.argmax())
        raise SegmentError(f'{int(faulty.sum())} of {len(faulty)} detections have {fault}; '
                           f'the first is number {first}: {values[first]}')
