"""Detections of a video from the predictions of its overlapping windows.

The detector's test settings, the metric and inference all use these rules.
"""
from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from sbp_tad.segments.overlap import SegmentError
from sbp_tad.segments.suppression import METHODS, non_maximum_weighted, soft_nms
from sbp_tad.segments.voting import VOTE_WEIGHTS, vote_segments

# Segments (K, 2) in seconds, scores (K,) and label indices (K,) of one video or window.
VideoColumns = tuple[np.ndarray, np.ndarray, np.ndarray]

ROUNDINGS = (None, 'detections', 'windows')
SECONDS_DECIMALS, SCORE_DECIMALS = 2, 4  # of OpenTAD
SUPPRESSION_METHODS = (*METHODS, 'nmw', 'none')
CLASS_AGNOSTIC_VOTING_IOU = 0.7
LONG_SECONDS = 600.0  # the limits of the defaults are those of shorter videos


class CutWarning(UserWarning):
    """A limit that cuts the detections of a long video."""


@dataclass(frozen=True)
class PostProcessing:
    """Rules that turn the predictions of all windows of a video into its detections.

    These are the options of a detector's ``model.test_cfg``. The defaults are
    those of ActionFormer on THUMOS'14. Two of its limits belong to its head
    (:class:`~sbp_tad.models.heads.anchor_free_head.AnchorFreeHead`): the best
    2,000 predictions per pyramid level, and a duration above 0.05 grid steps.

    Args:
        method: ``'gaussian'`` or ``'linear'`` soft-NMS, ``'hard'`` NMS,
            ``'nmw'`` (hard NMS whose picks become the weighted mean of what
            they suppress, as in DaoTAD), or ``'none'``.
        sigma: width of the Gaussian.
        iou_threshold: tIoU from which ``'linear'``, ``'hard'`` and ``'nmw'`` suppress.
        min_score: drop detections below it, before and after rescoring. With
            voting, predictions below it still vote, as in ActionFormer.
        max_detections: best detections to keep per video. A :class:`CutWarning`
            is given once if a video of more than 10 minutes has more.
        max_candidates: best predictions per video that enter the suppression;
            12,000 are 2,000 of each of 6 levels. It warns likewise.
        min_duration_seconds: drop shorter predictions.
        class_agnostic: suppress and vote across classes.
        voting_iou: replace each kept segment by the weighted mean of all
            candidates of its class that overlap it by at least this tIoU, see
            :func:`sbp_tad.segments.vote_segments`; ``None`` for no voting.
            ``'auto'`` is 0.7 with ``class_agnostic`` and no voting without, as
            in the code of ActionFormer and OpenTAD.
        voting_weight: weight of that mean, ``'score'`` or ``'score_iou'``.
        max_per_window: best predictions to keep per window, ``None`` for all.
        rounding: ``'detections'`` rounds times to 0.01 s and scores to 4
            decimals at the end. ``'windows'`` also clips the predictions of
            each window to the video and rounds them before suppression. These
            are OpenTAD's rules for whole videos and for sliding windows.
            ``None`` rounds nothing.

    Raises:
        SegmentError: a value outside its range.
    """

    method: str = 'gaussian'
    sigma: float = 0.5
    iou_threshold: float = 0.5
    min_score: float = 0.001
    max_detections: int = 200
    max_candidates: int = 12_000
    min_duration_seconds: float = 0.0
    class_agnostic: bool = False
    voting_iou: float | str | None = 'auto'
    voting_weight: str = 'score_iou'
    max_per_window: int | None = None
    rounding: str | None = None

    def __post_init__(self) -> None:
        for name, choices in (('method', SUPPRESSION_METHODS), ('voting_weight', VOTE_WEIGHTS),
                              ('rounding', ROUNDINGS)):
            if getattr(self, name) not in choices:
                raise SegmentError(
                    f'{name} must be one of {choices}, got {getattr(self, name)!r}.')
        for name in ('max_detections', 'max_candidates', 'max_per_window'):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise SegmentError(f'{name} must be at least 1, got {getattr(self, name)}.')
        if not (self.sigma > 0 and self.min_score >= 0 and self.min_duration_seconds >= 0):
            raise SegmentError(
                'sigma must be positive, min_score and min_duration_seconds not negative, got '
                f'{self.sigma}, {self.min_score} and {self.min_duration_seconds}.')
        threshold = self.voting_threshold
        if threshold is not None and (isinstance(threshold, str) or not 0 < threshold <= 1):
            raise SegmentError('voting_iou must lie in (0, 1], or be None for no voting, got '
                               f"{self.voting_iou!r}; the default is 'auto'.")

    @property
    def voting_threshold(self) -> float | None:
        """Return the tIoU of voting, None for no voting."""
        if self.voting_iou == 'auto':
            return CLASS_AGNOSTIC_VOTING_IOU if self.class_agnostic else None
        return self.voting_iou  # type: ignore[return-value]  # other texts are refused

    def with_options(self, options: Mapping[str, Any]) -> PostProcessing:
        """Return these rules with the given options replaced, all others kept.

        Raises:
            SegmentError: an unknown option, or a value of a wrong type or range.
        """
        accepted = [field.name for field in fields(self)]
        if unknown := sorted(set(options) - set(accepted)):
            raise SegmentError(f'unknown post-processing options {unknown}; the accepted ones '
                               f'are {", ".join(accepted)}.')
        try:
            return replace(self, **options)
        except TypeError as error:  # a word where a number belongs
            raise SegmentError(f'a post-processing option of {dict(options)} has the wrong '
                               f'type: {error}.') from error


def merge_video(windows: Sequence[VideoColumns], rules: PostProcessing,
                duration_seconds: float | None) -> VideoColumns:
    """Return the detections of a video from the predictions of its windows: all rules."""
    found = [prepare_window(window, rules, duration_seconds) for window in windows]
    return finish_video(merge_windows(found, rules), rules, duration_seconds)


def prepare_window(window: VideoColumns, rules: PostProcessing, duration_seconds: float | None
                   ) -> VideoColumns:
    """Apply the rules that come before the windows of a video are joined."""
    if rules.max_per_window is not None:
        best = np.argsort(-window[1], kind='stable')[:rules.max_per_window]
        window = window[0][best], window[1][best], window[2][best]
    if rules.rounding == 'windows':
        window = _rounded(clip_to_video(window, duration_seconds))
    return window


def finish_video(columns: VideoColumns, rules: PostProcessing, duration_seconds: float | None
                 ) -> VideoColumns:
    """Apply the rules that come after suppression."""
    clipped = clip_to_video(columns, duration_seconds)
    return clipped if rules.rounding is None else _rounded(clipped)


def _rounded(columns: VideoColumns) -> VideoColumns:
    segments, scores, labels = columns
    return segments.round(SECONDS_DECIMALS), scores.round(SCORE_DECIMALS), labels


def merge_windows(windows: Sequence[VideoColumns], rules: PostProcessing) -> VideoColumns:
    """Join the predictions of a video's windows in full precision and suppress duplicates.

    Args:
        windows: (segments_seconds (N, 2), scores (N,), labels (N,)) of each
            window, in seconds of the video.
        rules: suppression and limits.

    Returns:
        The same three arrays for the video, best score first.

    Raises:
        SegmentError: a score or a time is NaN or infinite.
    """
    segments, scores, labels = best_candidates(windows, rules)
    groups = np.zeros_like(labels) if rules.class_agnostic else labels
    index, kept_scores, kept = _suppress(segments, scores, groups, rules)
    if len(index) == rules.max_detections < np.count_nonzero(scores >= rules.min_score):
        _warn_of_cut(segments, 'max_detections', rules.max_detections)
    if rules.voting_threshold is not None:
        kept = vote_segments(kept, groups[index], segments, scores, groups,
                             iou_threshold=rules.voting_threshold, weight=rules.voting_weight)
    return kept, kept_scores, labels[index]


def clip_to_video(columns: VideoColumns, duration_seconds: float | None) -> VideoColumns:
    """Clip the detections of a video to [0, ``duration_seconds``], or to [0, inf) without one.

    ActionFormer does so after suppression. Clipping before would change which
    detections overlap.
    """
    segments, scores, labels = columns
    return segments.clip(0, duration_seconds), scores, labels


def best_candidates(windows: Sequence[VideoColumns], rules: PostProcessing) -> VideoColumns:
    """Return the predictions that enter the suppression, best score first.

    Windows may be added one at a time, ``best_candidates([candidates so far,
    next window], rules)``, with the same result. So a video of any length
    needs the memory of ``max_candidates`` predictions.

    Raises:
        SegmentError: a score or a time is NaN or infinite.
    """
    columns = list(zip(*windows)) or [(), (), ()]
    segments = np.concatenate([np.empty((0, 2)), *columns[0]])
    scores = np.concatenate([np.empty(0), *columns[1]])
    labels = np.concatenate([np.empty(0, np.int64), *columns[2]])
    if not (np.isfinite(scores).all() and np.isfinite(segments).all()):
        raise SegmentError('predictions must be finite numbers, got NaN or infinity among '
                           'scores or times; the model has diverged.')
    usable = segments[:, 1] - segments[:, 0] >= rules.min_duration_seconds
    if rules.voting_threshold is None:  # else those below min_score vote
        usable &= scores >= rules.min_score
    rows = np.flatnonzero(usable)
    best = rows[np.argsort(-scores[rows], kind='stable')[:rules.max_candidates]]
    if len(best) < len(rows):
        _warn_of_cut(segments[rows], 'max_candidates', rules.max_candidates)
    return segments[best], scores[best], labels[best]


def _warn_of_cut(segments: np.ndarray, option: str, limit: int) -> None:
    """Warn, once per process, if a limit cuts the predictions of a long video."""
    if np.ptp(segments) > LONG_SECONDS:
        warnings.warn(f'{option}={limit} cuts the detections of a video of more than '
                      f'{LONG_SECONDS / 60:g} minutes. To keep more, set {option} in '
                      'model.test_cfg, or in post_processing of TADMetric.', CutWarning,
                      stacklevel=3)


def _suppress(segments: np.ndarray, scores: np.ndarray, groups: np.ndarray,
              rules: PostProcessing) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return kept indices, their new scores and segments; ``scores`` are sorted, best first."""
    if rules.method == 'none':
        number = int(np.count_nonzero(scores >= rules.min_score))
        index = np.arange(min(number, rules.max_detections))
        return index, scores[index], segments[index]
    options: dict[str, Any] = dict(
        iou_threshold=rules.iou_threshold, min_score=rules.min_score,
        max_segments=rules.max_detections)
    if rules.method == 'nmw':
        return non_maximum_weighted(segments, scores, groups, **options)
    index, rescored = soft_nms(segments, scores, groups, method=rules.method, sigma=rules.sigma,
                               **options)
    return index, rescored, segments[index]
