"""Score voting: suppressed detections refine the boundaries of the kept ones."""
from __future__ import annotations

import numpy as np

from sbp_tad.segments.overlap import SegmentError, checked_detections, temporal_iou_of_pairs
from sbp_tad.segments.pairs import pairs_in_chunks

VOTE_WEIGHTS = ('score', 'score_iou')
_SLACK = 1e-6  # share of the whole span; candidates that it adds are checked again


def vote_segments(picks: np.ndarray, pick_labels: np.ndarray, segments: np.ndarray,
                  scores: np.ndarray, labels: np.ndarray, *, iou_threshold: float = 0.75,
                  weight: str = 'score_iou') -> np.ndarray:
    """Refine kept segments by the suppressed ones (Gidaris and Komodakis, ICCV 2015).

    Each pick becomes the weighted mean of all detections of its class with a
    tIoU of at least ``iou_threshold``. The weight is their score before
    rescoring (eq. 3 of the paper; OpenTAD), or that score times the tIoU
    (ActionFormer's code). A pick without such a detection is not changed.

    Args:
        picks: (K, 2) kept segments, start and end in any one unit.
        pick_labels: (K,) integers.
        segments: (N, 2) detections before suppression, in the unit of ``picks``.
        scores: (N,) not negative.
        labels: (N,) integers.
        iou_threshold: lowest tIoU, in (0, 1].
        weight: ``'score'`` or ``'score_iou'``.

    Returns:
        (K, 2) float64.

    Raises:
        SegmentError: arrays that do not describe detections, a threshold
            outside (0, 1], or an unknown weight.
    """
    if not 0 < iou_threshold <= 1:
        raise SegmentError(f'iou_threshold of voting must lie in (0, 1], got {iou_threshold}')
    if weight not in VOTE_WEIGHTS:
        raise SegmentError(f'unknown weight {weight!r} of voting: choose one of {VOTE_WEIGHTS}')
    picks, _, pick_labels = checked_detections(picks, np.zeros(len(picks)), pick_labels)
    segments, scores, labels = checked_detections(segments, scores, labels)
    voted = picks.copy()
    if not len(picks) or not len(segments):
        return voted
    order = np.lexsort((segments[:, 0], labels))
    first, last = _neighbours(picks, pick_labels, segments[order], labels[order], iou_threshold)
    for pick, place in pairs_in_chunks(first, last - first):
        voter = order[place]
        overlap = temporal_iou_of_pairs(picks[pick], segments[voter])
        share = scores[voter] * (overlap if weight == 'score_iou' else 1.0)
        share *= (overlap >= iou_threshold) & (labels[voter] == pick_labels[pick])
        total = np.bincount(pick, share, minlength=len(picks))
        moved = total > 0
        for end in (0, 1):
            sums = np.bincount(pick, share * segments[voter, end], minlength=len(picks))
            voted[moved, end] = sums[moved] / total[moved]
    return voted


def _neighbours(picks: np.ndarray, pick_labels: np.ndarray, segments: np.ndarray,
                labels: np.ndarray, iou_threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the range of entries (sorted by class and start) that may reach the tIoU of each pick.

    A segment with tIoU t to one of length L starts at most L (1 - t) after
    its start and at most L (1 - t) / t before it.
    """
    lowest = min(picks.min(), segments.min())
    span = max(picks.max(), segments.max()) - lowest
    width = 4 * span + 1.0  # classes lie on one axis, too far apart to overlap
    names = np.unique(np.concatenate([labels, pick_labels]))
    axis = segments[:, 0] - lowest + width * np.searchsorted(names, labels)
    place = picks[:, 0] - lowest + width * np.searchsorted(names, pick_labels)
    reach = (picks[:, 1] - picks[:, 0]) * (1 - iou_threshold)
    slack = _SLACK * width
    before = np.minimum(reach / iou_threshold, span) + slack
    return (np.searchsorted(axis, place - before, side='left'),
            np.searchsorted(axis, place + reach + slack, side='right'))
