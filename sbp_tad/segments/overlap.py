"""Temporal IoU, and checks of arrays that describe detections."""
from __future__ import annotations

import numpy as np

from sbp_tad.errors import UserError


class SegmentError(UserError, ValueError):
    """Segments, scores or labels that do not describe detections."""


def temporal_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the temporal intersection over union of every pair of segments.

    Args:
        a: (N, 2) start and end, any one unit.
        b: (M, 2) start and end in the unit of ``a``.

    Returns:
        (N, M) float64 in [0, 1]; 0 where both segments have no length.

    Raises:
        SegmentError: an argument is not of shape (N, 2).
    """
    return temporal_iou_of_pairs(as_segments(a)[:, None], as_segments(b)[None])


def temporal_iou_of_pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the temporal IoU (P,) float64 of row i of ``a`` with row i of ``b``, both (P, 2).

    Shapes (..., 2) broadcast. A segment without positive length overlaps nothing.
    """
    shared = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])
    shared = np.maximum(shared, 0.0)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def as_segments(segments: np.ndarray) -> np.ndarray:
    """Return segments as (N, 2) float64; an empty list becomes (0, 2).

    Raises:
        SegmentError: another shape.
    """
    segments = np.asarray(segments, dtype=np.float64)
    if segments.size == 0:
        return segments.reshape(0, 2)
    if segments.ndim != 2 or segments.shape[1] != 2:
        raise SegmentError('segments must have shape (N, 2), start and end in each row, '
                           f'got {segments.shape}')
    return segments


def checked_detections(segments: np.ndarray, scores: np.ndarray, labels: np.ndarray
                       ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return detections as (N, 2) float64, (N,) float64 and (N,) integers.

    Raises:
        SegmentError: shapes that do not match, numbers that are not finite,
            an end before its start or a negative score.
    """
    segments = as_segments(segments)
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if scores.shape != (len(segments),) or labels.shape != scores.shape:
        raise SegmentError(
            f'scores and labels of {len(segments)} segments must have shape '
            f'({len(segments)},), got scores {scores.shape} and labels {labels.shape}')
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
