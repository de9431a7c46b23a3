"""From the overlapping windows of a video to its detections: one way for metric and inference."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sbp_tad.evaluation.detections import VideoColumns
from sbp_tad.evaluation.options import EvaluationError
from sbp_tad.segments import METHODS, soft_nms


@dataclass(frozen=True)
class PostProcessing:
    """How the predictions of all windows of a video become its detections.

    The defaults are those of ActionFormer on THUMOS'14.

    Args:
        method: ``'gaussian'`` or ``'linear'`` soft-NMS, ``'hard'`` NMS, or
            ``'none'``.
        sigma: of the Gaussian.
        iou_threshold: of the linear and the hard form.
        min_score: detections below it are lost, before and after rescoring.
        max_detections: best detections of a video that are kept.
        max_candidates: best predictions of a video that enter the NMS.
        min_duration_seconds: shorter predictions are lost.

    Raises:
        EvaluationError: a value that cannot work.
    """

    method: str = 'gaussian'
    sigma: float = 0.5
    iou_threshold: float = 0.5
    min_score: float = 0.001
    max_detections: int = 200
    max_candidates: int = 2000
    min_duration_seconds: float = 0.05

    def __post_init__(self) -> None:
        if self.method not in (*METHODS, 'none'):
            raise EvaluationError(
                f'method must be one of {(*METHODS, "none")}, got {self.method!r}.')
        for name in ('max_detections', 'max_candidates'):
            if getattr(self, name) < 1:
                raise EvaluationError(f'{name} must be at least 1, got {getattr(self, name)}.')
        if not (self.sigma > 0 and self.min_score >= 0 and self.min_duration_seconds >= 0):
            raise EvaluationError(
                'sigma must be positive, min_score and min_duration_seconds not negative, got '
                f'{self.sigma}, {self.min_score} and {self.min_duration_seconds}.')


def merge_windows(windows: Sequence[VideoColumns], rules: PostProcessing) -> VideoColumns:
    """Join the predictions of a video's windows, in full precision, and suppress the doubles.

    Args:
        windows: (segments_seconds (N, 2), scores (N,), labels (N,)) of each
            window, in seconds of the video.
        rules: what to keep.

    Returns:
        The same three of the video, best score first.

    Raises:
        EvaluationError: a score or a time is NaN or infinite.
    """
    columns = list(zip(*windows)) or [(), (), ()]
    segments = np.concatenate([np.empty((0, 2)), *columns[0]])
    scores = np.concatenate([np.empty(0), *columns[1]])
    labels = np.concatenate([np.empty(0, np.int64), *columns[2]])
    if not (np.isfinite(scores).all() and np.isfinite(segments).all()):
        raise EvaluationError('predictions must be finite numbers, got NaN or infinity among '
                              'scores or times; the model has diverged.')
    long_enough = segments[:, 1] - segments[:, 0] >= rules.min_duration_seconds
    usable = np.flatnonzero(long_enough & (scores >= rules.min_score))
    best = usable[np.argsort(-scores[usable], kind='stable')[:rules.max_candidates]]
    segments, scores, labels = segments[best], scores[best], labels[best]
    if rules.method == 'none':
        index = np.arange(min(len(best), rules.max_detections))
        return segments[index], scores[index], labels[index]
    index, rescored = soft_nms(segments, scores, labels, sigma=rules.sigma, method=rules.method,
                               min_score=rules.min_score, max_segments=rules.max_detections,
                               iou_threshold=rules.iou_threshold)
    return segments[index], rescored, labels[index]
