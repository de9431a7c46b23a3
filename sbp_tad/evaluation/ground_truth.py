"""Selection of the ground truth among annotated segments, by the rules of an evaluation."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.options import EvaluationOptions


def select_ground_truth(annotations: Mapping[str, VideoAnnotation], options: EvaluationOptions
                        ) -> dict[str, VideoAnnotation]:
    """Return the videos that are not excluded, with the segments that the rules keep.

    File order is kept. Ignored labels stay, because the official THUMOS'14
    protocol needs them.

    Raises:
        EvaluationError: a segment ends before it starts, or a rule with the
            value ``'error'`` applies.
    """
    return {name: _apply_rules(video, options) for name, video in annotations.items()
            if name not in options.excluded_videos}


def _apply_rules(video: VideoAnnotation, options: EvaluationOptions) -> VideoAnnotation:
    start, end = video.segments_seconds.T
    _refuse(video, start > end, 'ends before it starts', 'Correct the annotation.')
    for name, touched, fault in (
            ('zero_length_ground_truth', start == end, 'has no length'),
            ('duplicate_ground_truth', _repeats(video), 'is listed twice'),
            ('late_ground_truth', _begins_late(video), 'begins after its video ends')):
        rule = getattr(options, name)
        if rule == 'error':
            _refuse(video, touched, fault,
                    f'Correct the annotation, or set {name} to keep or drop.')
    drop = np.zeros(len(video.labels), dtype=bool)
    if options.zero_length_ground_truth == 'drop':
        drop |= start == end
    if options.duplicate_ground_truth == 'drop':
        drop |= _repeats(video)
    if options.late_ground_truth == 'drop':
        drop |= _begins_late(video)
    return video.select(~drop)


def _begins_late(video: VideoAnnotation) -> np.ndarray:
    """Return (N,) bool: the segment begins after the end of the video."""
    end = np.inf if video.duration_seconds is None else video.duration_seconds
    return video.segments_seconds[:, 0] >= end


def _repeats(video: VideoAnnotation) -> np.ndarray:
    """Return (N,) bool: an earlier segment has the same label, start and end."""
    seen: set[tuple[str, float, float]] = set()
    repeats = np.zeros(len(video.labels), dtype=bool)
    for row, (label, segment) in enumerate(zip(video.labels, video.segments_seconds.tolist())):
        repeats[row] = (label, *segment) in seen
        seen.add((label, *segment))
    return repeats


def _refuse(video: VideoAnnotation, faulty: np.ndarray, fault: str, advice: str) -> None:
    if faulty.any():
        row = int(np.argmax(faulty))
        raise EvaluationError(
            f'Ground truth of video {video.video_id!r}: segment '
            f'{video.segments_seconds[row].tolist()} of {video.labels[row]!r} (number {row}) '
            f'{fault}. {advice}')
