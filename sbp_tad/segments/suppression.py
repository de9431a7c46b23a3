"""Class-wise non-maximum suppression: soft, hard and weighted."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from sbp_tad.segments.candidates import Candidates, Clusters, Decay
from sbp_tad.segments.overlap import SegmentError, checked_detections, temporal_iou_of_pairs

METHODS = ('gaussian', 'linear', 'hard')


def soft_nms(segments: np.ndarray, scores: np.ndarray, labels: np.ndarray, *,
             sigma: float = 0.5, min_score: float = 0.001,
             max_segments: int | None = 200, method: str = 'gaussian',
             iou_threshold: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Class-wise soft non-maximum suppression (Bodla et al., ICCV 2017).

    Repeatedly pick the best remaining detection of a class and rescore every
    other detection of the class by its tIoU ``o`` with the pick. ``gaussian``
    multiplies the score by ``exp(-o ** 2 / sigma)``, ``linear`` by ``1 - o``
    if ``o >= iou_threshold``, and ``hard`` drops the detection if ``o >=
    iou_threshold``. Equal scores are picked in the order of the input.

    Args:
        segments: (N, 2) start and end, any one unit.
        scores: (N,) not negative.
        labels: (N,) integers; detections suppress only those of their class.
        sigma: width of the Gaussian; a larger one suppresses less.
        min_score: drop detections below it, before and after rescoring.
        max_segments: number of detections to return over all classes; ``None`` for all.
        method: ``'gaussian'``, ``'linear'`` or ``'hard'``.
        iou_threshold: see above; unused by ``gaussian``.

    Returns:
        Indices (K,) int64 into the input and their new scores (K,) float64,
        best first.

    Raises:
        SegmentError: shapes that do not match, numbers that are not finite,
            an end before its start, a negative score or an unknown method.
    """
    return _pick_all(Candidates, _decay_rule(method, sigma, iou_threshold),
                     checked_detections(segments, scores, labels), min_score, max_segments)


def non_maximum_weighted(segments: np.ndarray, scores: np.ndarray, labels: np.ndarray, *,
                         iou_threshold: float = 0.5, min_score: float = 0.001,
                         max_segments: int | None = 200
                         ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class-wise non-maximum weighting, NMW (Zhou et al., CAD, ICCVW 2017; DaoTAD).

    Picks are those of hard NMS. Each pick becomes the mean of itself and the
    detections that it suppresses, weighted by score times tIoU with the pick.
    It keeps its own score.

    Args:
        segments: (N, 2) start and end, any one unit.
        scores: (N,) not negative.
        labels: (N,) integers; detections suppress only those of their class.
        iou_threshold: lowest tIoU with the pick of a suppressed detection.
        min_score: drop detections below it.
        max_segments: number of detections to return over all classes; ``None`` for all.

    Returns:
        Indices (K,) int64 of the picks in the input, their scores (K,)
        float64, best first, and the mean segments (K, 2) float64.

    Raises:
        SegmentError: shapes that do not match, numbers that are not finite,
            an end before its start or a negative score.
    """
    segments, scores, labels = checked_detections(segments, scores, labels)
    suppressed_by = np.full(len(scores), -1, dtype=np.int64)
    indices, values = _pick_all(
        partial(Clusters, suppressed_by), _decay_rule('hard', 1.0, iou_threshold),
        (segments, scores, labels), min_score, max_segments)
    return indices, values, _weighted_means(segments, scores, indices, suppressed_by)


def _pick_all(candidates: Callable[..., Candidates], decay: Decay,
              detections: tuple[np.ndarray, np.ndarray, np.ndarray], min_score: float,
              max_segments: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return index and score (K,) of the picks of all classes, best first."""
    segments, scores, labels = detections
    limit = len(scores) if max_segments is None else max_segments
    alive = np.flatnonzero((scores >= min_score) & (scores > 0))
    picks = [
        candidates(segments, scores, alive[table], table >= 0).suppress(decay, min_score, limit)
        for table in _class_tables(labels[alive])]
    indices, values = (np.concatenate(parts) for parts in zip(*picks))
    order = np.lexsort((indices, -values))[:limit]
    return indices[order], values[order]


def _weighted_means(segments: np.ndarray, scores: np.ndarray, picks: np.ndarray,
                    suppressed_by: np.ndarray) -> np.ndarray:
    """Return the weighted mean (K, 2) of each pick and the detections that it suppressed."""
    place = np.full(len(scores) + 1, -1)  # the last entry is that of index -1, which no pick has
    place[picks] = np.arange(len(picks))
    member = np.flatnonzero(place[suppressed_by] >= 0)
    pick = suppressed_by[member]
    weight = scores[member] * temporal_iou_of_pairs(segments[member], segments[pick])
    # a pick has full weight, even if its length is 0
    cluster = np.concatenate([place[pick], np.arange(len(picks))])
    weight, member = np.concatenate([weight, scores[picks]]), np.concatenate([member, picks])
    total, *sums = (np.bincount(cluster, column, minlength=len(picks)) for column in (
        weight, weight * segments[member, 0], weight * segments[member, 1]))
    return np.stack(sums, axis=1) / total[:, None]


def _decay_rule(method: str, sigma: float, iou_threshold: float) -> Decay:
    def gaussian(score: np.ndarray, overlap: np.ndarray) -> None:
        overlap *= overlap
        overlap /= -sigma
        score *= np.exp(overlap, out=overlap)

    def linear(score: np.ndarray, overlap: np.ndarray) -> None:
        score *= np.where(overlap >= iou_threshold, 1.0 - overlap, 1.0)

    def hard(score: np.ndarray, overlap: np.ndarray) -> None:
        score *= overlap < iou_threshold

    rules = dict(zip(METHODS, (gaussian, linear, hard)))
    if method not in rules:
        raise SegmentError(f'unknown soft-NMS method {method!r}, choose one of {METHODS}')
    if method == 'gaussian' and not sigma > 0:
        raise SegmentError(f'sigma of Gaussian soft-NMS must be positive, got {sigma}')
    return rules[method]


def _class_tables(labels: np.ndarray) -> list[np.ndarray]:
    """Return the positions of each class as rows padded with -1, in tables of similar size.

    In a table no class has more than twice the entries of another, so padding
    takes at most as much memory as the entries. At least one table, which may
    have no rows.
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
