"""Signs of times in another unit than the chosen one, in detections or annotation."""
from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.corrections import unconvert_times
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.plausibility.finding import ERROR, WARNING, Finding
from sbp_tad.evaluation.plausibility.mixed_units import (
    find_mixed_units,
    find_parts_without_duration,
)
from sbp_tad.evaluation.plausibility.time_fits import (
    GOOD_ENOUGH,
    MIN_TIOU,
    NEARLY,
    Fit,
    Sample,
    best_form,
    best_shift,
    best_unit,
    fit,
    seconds_of,
    take_sample,
)
from sbp_tad.evaluation.plausibility.unit_guess import guess_unit, unit_finding
from sbp_tad.evaluation.time_units import SECONDS, TimeUnit

TOLERANCE_SECONDS = 1.0
TOLERANCE = 0.05  # of the duration
WARNING_SHARE = 0.05  # of detections beyond the end of their videos
ERROR_SHARE = 0.25
UNKNOWN_END = 8.0  # without duration a video ends at most here, times the end of its last action
SHORT_SECONDS = 3.0  # in shorter videos times below 1 are no sign of fractions
FEW_DETECTIONS = 5  # of fewer nothing is sure
SURELY_RIGHT = 0.7  # overlaps above chance; other readings are not tried
LEAST_GAIN = 0.2  # overlaps more than now, of a reading that does not double them
CLEARLY_BETTER = 4.0  # times the overlaps above chance that leave no doubt
ENOUGH_DETECTIONS = 50  # for that
SURE_EXCESS = 0.4  # overlaps above chance in another unit that leave no doubt


def time_findings(annotations: Mapping[str, VideoAnnotation], detections: Detections,
                  given: TimeUnit = SECONDS) -> list[Finding]:
    """Compare the times of detections and annotation with each other and with the videos.

    Args:
        annotations: videos of the ground truth.
        detections: detections, converted to seconds.
        given: unit that they were converted from.
    """
    findings = _annotation_findings(annotations)
    if findings:
        return findings
    length_fault = _length_fault(annotations, detections)
    sample = take_sample(annotations, detections)
    present = None if sample is None else fit(sample, sample.best.segments_seconds)
    if sample is not None and present is not None and present.excess < SURELY_RIGHT:
        findings = _other_readings(sample, present, length_fault, given)
    if length_fault is not None and not findings:
        raw = unconvert_times(detections, annotations, given)
        findings = [guess_unit(*length_fault, annotations, raw, given)]
    if not findings and (present is None or present.excess < GOOD_ENOUGH):
        findings = _rate_findings(annotations, detections, given)
    return findings


def _other_readings(sample: Sample, present: Fit, length_fault: tuple[str, str] | None,
                    given: TimeUnit) -> list[Finding]:
    """Return the finding for the reading of the times that explains them far better."""
    segments = sample.best.segments_seconds
    raw = segments / seconds_of(sample, given)[:, None]
    mixed = find_mixed_units(sample, raw, given)
    if mixed is not None:
        return [mixed.finding(given, any(video.fps is None for video in sample.videos))]
    found = [(reading[1], finding(reading[0], reading[1])) for reading, finding in (
        (best_unit(sample, raw, given), partial(_unit, sample, present, length_fault, given)),
        (best_form(sample, segments), partial(_form, present)),
        (best_shift(sample, segments), partial(_shift, present))) if reading is not None]
    found = [(other, finding) for other, finding in found if other.excess >= min(
        2 * present.excess, max(GOOD_ENOUGH, present.excess + LEAST_GAIN))]
    most = max((other.share for other, _ in found), default=0.0)
    if not found and any(video.duration_seconds is None for video in sample.videos):
        return _parts(sample, raw, present, length_fault, given)
    return [finding for other, finding in found if other.share >= most - NEARLY][:1]


def _unit(sample: Sample, present: Fit, length_fault: tuple[str, str] | None, given: TimeUnit,
          unit: TimeUnit, other: Fit) -> Finding:
    level, fault = length_fault or (WARNING, '')
    compared = _compared(present, other, f'Read as {given.title}', f'as {unit.title}')
    if unit.fps is not None and any(video.fps is None for video in sample.videos):
        compared += (" The annotation has no 'fps': if the videos have different frame rates, "
                     "write the 'fps' of each into it instead of giving --fps.")
    return unit_finding(_level(present, other, level), f'{fault} {compared}'.strip(), unit, given)


def _parts(sample: Sample, raw: np.ndarray, present: Fit, length_fault: tuple[str, str] | None,
           given: TimeUnit) -> list[Finding]:
    """Return the finding for fractions or percent of videos without duration."""
    found = find_parts_without_duration(sample, raw)
    if found is None or found[0] == given or found[2] < 2 * present.excess:
        return []
    unit, share, excess = found
    level = ERROR if excess >= LEAST_GAIN or length_fault is not None else WARNING
    return [Finding(
        level, f'Read as {given.title}, {present.share:.0%} of the {present.count} best detections '
        f'overlap an instance by tIoU {MIN_TIOU}; as {unit.title} of estimated length, '
        f"{share:.0%}. The annotation has no 'duration', which this unit needs. Write the "
        "'duration' of each video in seconds into the annotation.",
        f'Then give {unit.options}.', '--time-unit')]


def _level(present: Fit, other: Fit, level: str) -> str:
    """Return ``ERROR`` if another reading leaves no doubt, else ``level``."""
    is_clear = other.count >= ENOUGH_DETECTIONS and \
        other.excess >= CLEARLY_BETTER * max(present.excess, 0)
    return ERROR if is_clear or other.excess >= SURE_EXCESS else level


def _form(present: Fit, form: str, other: Fit) -> Finding:
    compared = _compared(present, other, 'Read as [start, end]', f'as {form}')
    return Finding(ERROR, f'{compared} Write [start, end] in the file.')


def _shift(present: Fit, seconds: float, other: Fit) -> Finding:
    moved = f'{abs(seconds):.3g} s {"earlier" if seconds > 0 else "later"}'
    return Finding(WARNING, 'The detections look shifted. '
                   f'{_compared(present, other, "As they are", moved)} Check that both files '
                   'count the time from the beginning of the same videos.')


def _compared(present: Fit, other: Fit, this: str, that: str) -> str:
    return (f'{this}, {present.share:.0%} of the {present.count} best detections overlap an '
            f'instance by tIoU {MIN_TIOU}; {that}, {other.share:.0%}.')


def _length_fault(annotations: Mapping[str, VideoAnnotation], detections: Detections
                  ) -> tuple[str, str] | None:
    """Return level and sentence if the times do not fit the lengths of the videos."""
    ends = np.array([_end(annotations.get(name)) for name in detections.video_ids])
    end_of_video = ends[detections.video_index]
    is_known = ~np.isnan(end_of_video)
    if not is_known.any():
        return None
    end = detections.segments_seconds[:, 1]
    beyond = end > end_of_video * (1 + TOLERANCE) + TOLERANCE_SECONDS
    share = min(float(beyond[is_known].mean()),
                float(beyond[_best(detections, is_known, annotations)].mean()))
    if share >= WARNING_SHARE:
        return ERROR if share >= ERROR_SHARE else WARNING, (
            f'{share:.0%} of the detections end after their videos; the first is '
            f'{_example(detections, beyond & is_known, ends)}.')
    reference = float(np.median(end_of_video[is_known]))
    if end[is_known].max() <= 1.001 and reference > SHORT_SECONDS:
        return ERROR if is_known.sum() >= FEW_DETECTIONS else WARNING, (
            f'All detections end within the first second, but the videos last about '
            f'{reference:.0f} s.')
    return None


def _rate_findings(annotations: Mapping[str, VideoAnnotation], detections: Detections,
                   given: TimeUnit) -> list[Finding]:
    """Warn of a frame rate of the user that is not that of the annotation, or a part of it."""
    rates = {name: video.fps for name in detections.video_ids
             if (video := annotations.get(name)) is not None and video.fps is not None}
    if given.fps is None or not rates:
        return []
    others = {name: fps for name, fps in rates.items() if not _is_rate_of(given, fps)}
    if 2 * len(others) < len(rates):
        return []
    name, fps = next(iter(others.items()))
    return [Finding(WARNING, f'The annotation says other frames per second than --fps '
                    f'{given.fps:g}, for example {fps:g} of {name!r}.',
                    'Leave --fps out to take those of the annotation.', '--time-unit')]


def _is_rate_of(given: TimeUnit, fps: float) -> bool:
    """Return True if a unit is one frame, or several whole frames, of a video."""
    frames = fps / (given.fps or fps)
    steps = max(1, round(frames)) if given.frames_per_step == 1 else 1
    return abs(frames - steps) <= 0.01 * steps


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
