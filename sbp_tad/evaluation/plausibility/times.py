"""Signs of times in another unit than seconds, in detections or annotation."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.plausibility.finding import ERROR, WARNING, Finding

TOLERANCE_SECONDS = 1.0
TOLERANCE = 0.05  # of the duration
WARNING_SHARE = 0.05  # of detections beyond the end of their videos
ERROR_SHARE = 0.25
UNKNOWN_END = 8.0  # without duration a video ends at most here, times the end of its last action
SHORT_SECONDS = 3.0  # in shorter videos times below 1 are no sign of fractions
FEW_DETECTIONS = 5
MILLISECONDS_FROM = 150.0  # ratio to the duration; frame rates are lower
FRAMES_FROM = 1.5


def time_findings(annotations: Mapping[str, VideoAnnotation], detections: Detections
                  ) -> list[Finding]:
    """Compare the times of detections and annotation with the durations of the videos."""
    findings = _annotation_findings(annotations)
    ends = np.array([_end(annotations.get(name)) for name in detections.video_ids])
    end_of_video = ends[detections.video_index]
    is_known = ~np.isnan(end_of_video)
    if findings or not is_known.any():
        return findings
    end = detections.segments_seconds[:, 1]
    beyond = end > end_of_video * (1 + TOLERANCE) + TOLERANCE_SECONDS
    share = min(float(beyond[is_known].mean()),
                float(beyond[_best(detections, is_known, annotations)].mean()))
    if share >= WARNING_SHARE:
        fault = (f'{share:.0%} of the detections end after their videos; the first is '
                 f'{_example(detections, beyond & is_known, ends)}.')
        unit, cure = _guess_unit(annotations, detections)
        level = ERROR if share >= ERROR_SHARE else WARNING
        return [Finding(level, fault + unit, cure, '--time-unit')]
    reference = float(np.median(end_of_video[is_known]))
    if detections.segments_seconds[is_known].max() <= 1.001 and reference > SHORT_SECONDS:
        level = ERROR if is_known.sum() >= FEW_DETECTIONS else WARNING
        return [Finding(level, f'All detections end within the first second, but the videos last '
                        f'about {reference:.0f} s: the times look like fractions of the video.',
                        'Add --time-unit fraction to convert them.', '--time-unit')]
    return []


def _best(detections: Detections, rows: np.ndarray,
          annotations: Mapping[str, VideoAnnotation]) -> np.ndarray:
    """Return the best of some detections, as many as instances: weak ones may be any length."""
    chosen = np.flatnonzero(rows)
    order = np.argsort(-detections.scores[chosen], kind='stable')
    return chosen[order[:max(1, sum(map(len, annotations.values())))]]


def _end(video: VideoAnnotation | None) -> float:
    """Return the latest plausible end in a video, NaN if nothing is known."""
    if video is None:
        return np.nan
    if video.duration_seconds is not None:
        return video.duration_seconds
    return UNKNOWN_END * video.segments_seconds.max() if len(video) else np.nan


def _annotation_findings(annotations: Mapping[str, VideoAnnotation]) -> list[Finding]:
    known = [video for video in annotations.values()
             if video.duration_seconds is not None and len(video)]
    if not known:
        return []
    duration = np.concatenate([np.full(len(video), video.duration_seconds) for video in known])
    end = np.concatenate([video.segments_seconds[:, 1] for video in known])
    share = float((end > duration * (1 + TOLERANCE) + TOLERANCE_SECONDS).mean())
    if share >= 0.5:
        return [Finding(ERROR, f'{share:.0%} of the segments of the annotation end after their '
                        'videos: they are not in seconds, or the durations are wrong. Convert '
                        'the annotation to seconds.')]
    if end.max() <= 1.001 and np.median(duration) > SHORT_SECONDS and len(end) >= FEW_DETECTIONS:
        return [Finding(ERROR, 'All segments of the annotation end within the first second, but '
                        f'the videos last about {np.median(duration):.0f} s: they look like '
                        'fractions of the video. Convert the annotation to seconds.')]
    return []


def _example(detections: Detections, rows: np.ndarray, ends: np.ndarray) -> str:
    row = int(np.argmax(rows))
    video = detections.video_index[row]
    start, end = detections.segments_seconds[row]
    return f'[{start:g}, {end:g}] in {detections.video_ids[video]!r} of {ends[video]:g} s'


def _guess_unit(annotations: Mapping[str, VideoAnnotation], detections: Detections
                ) -> tuple[str, str]:
    """Return the likely unit and the option that converts it, as sentences."""
    last = np.full(len(detections.video_ids), -np.inf)
    np.maximum.at(last, detections.video_index, detections.segments_seconds[:, 1])
    ratios, rates = [], []
    for name, end in zip(detections.video_ids, last):
        video = annotations.get(name)
        if video is None or not np.isfinite(end):
            continue
        length = video.duration_seconds or (video.segments_seconds.max() if len(video) else None)
        if length:
            ratios.append(end / length)
            rates.append(np.nan if video.fps is None else video.fps)
    ratio = float(np.median(ratios))
    if ratio >= MILLISECONDS_FROM:
        return ' The times look like milliseconds.', \
            'Add --time-unit milliseconds to convert them.'
    if ratio >= FRAMES_FROM:
        rate = float(np.nanmedian(rates)) if not np.isnan(rates).all() else np.nan
        if np.isnan(rate) or ratio < rate / 3 or ratio > 1.3 * rate:
            return ' The times look like frames or feature steps.', \
                ('Add --time-unit frames and --fps with the number of them per second '
                 f'(about {ratio:.2g}).')
        return ' The times look like frames.', 'Add --time-unit frames to convert them.'
    return ' Check that annotation and detections are of the same videos.', ''
