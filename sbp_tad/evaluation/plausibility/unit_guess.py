"""Likely unit of times that leave their videos, by the lengths of the videos alone."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.corrections import listed
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.plausibility.finding import Finding
from sbp_tad.evaluation.time_units import COMMON_RATES, SECONDS, TimeUnit

FRAMES_FROM = 1.5  # ratio of the last time to the length of the video
SHORT_UNITS = {'nanoseconds': 150e6, 'microseconds': 150e3, 'milliseconds': 150.0}  # ratio from
LONG_UNITS = (TimeUnit('fraction'), TimeUnit('minutes'), TimeUnit('hours'))
PERCENT = TimeUnit('percent')
RATE_UNCERTAINTY = 0.1  # the last detection ends only near the end of its video
LAST_PART = (0.3, 1.3)  # of the video, where its last detection usually ends


def unit_finding(level: str, fault: str, unit: TimeUnit, given: TimeUnit) -> Finding:
    """Return a finding that names a unit, and the option that chooses it."""
    if unit.is_grid:
        return Finding(level, f'{fault} The times look like {unit.title}. Convert them to seconds: '
                       f'time x duration / {1 / unit.frames_per_step:g}.')
    if not unit.options:
        cure = f'Leave {given.options} out.'
    elif given == SECONDS:
        cure = f'Add {unit.options} to convert them.'
    else:
        cure = f'Give {unit.options} instead of {given.options}.'
    return Finding(level, f'{fault} The times look like {unit.title}.', cure, '--time-unit')


def guess_unit(level: str, fault: str, annotations: Mapping[str, VideoAnnotation],
               raw: Detections, given: TimeUnit) -> Finding:
    """Add the likely unit to a fault of times, and the option that chooses it.

    Args:
        level: level of the finding.
        fault: sentence on what was found.
        annotations: lengths and frame rates of the videos.
        raw: detections with the times of their file.
        given: unit that the user chose, which is not recommended again.
    """
    ends, videos = _last_ends(annotations, raw)
    units = [unit for unit in _fitting_units(ends, videos) if unit != given]
    unknown = [video.video_id for video in videos if not video.duration_seconds]
    if unknown and (not units or any(unit in LONG_UNITS for unit in units)):
        return Finding(level, f"{fault} The annotation has no 'duration' of {listed(unknown)}, so "
                       'that parts of the video cannot be told from other units. Write the '
                       "'duration' of each video in seconds into the annotation.")
    if len(units) == 1:
        return unit_finding(level, fault, units[0], given)
    if units:
        titles = ' or '.join(unit.title for unit in units)
        return Finding(level, f'{fault} The times look like {titles}.',
                       'Give the right one to --time-unit.', '--time-unit')
    ratio = float(np.median(ends / _lengths(videos)))
    if FRAMES_FROM <= ratio < SHORT_UNITS['milliseconds'] and given.name != 'frames':
        fault += ' The times look like frames or feature steps.'
        without = [video.video_id for video in videos if video.fps is None]
        if without:
            fault += (f" The annotation has no 'fps' of {listed(without)}: write the 'fps' of each "
                      'video into it.')
            return Finding(level, fault, 'Then give --time-unit frames. Only if all videos have '
                           'the same number per second may --fps give it instead (about '
                           f'{_common_rate(ratio):g}).', '--time-unit')
        return Finding(level, fault,
                       'Add --time-unit frames and --fps with the number of them per second '
                       f'(about {_common_rate(ratio):g}).', '--time-unit')
    advice = '' if given == SECONDS else f' Check {given.options}.'
    return Finding(level, f'{fault} Check that annotation and detections are of the same videos.'
                   + advice)


def _common_rate(ratio: float) -> float:
    """Return the usual frame rate near a ratio, else the ratio with two digits."""
    near = min(COMMON_RATES, key=lambda rate: abs(rate - ratio))
    return near if abs(near - ratio) <= RATE_UNCERTAINTY * ratio else float(f'{ratio:.2g}')


def _fitting_units(ends: np.ndarray, videos: list[VideoAnnotation]) -> list[TimeUnit]:
    """Return the units in which the last times (V,) lie in their videos."""
    lengths = _lengths(videos)
    ratio = float(np.median(ends / lengths))
    for name, least in SHORT_UNITS.items():
        if ratio >= least:
            return [TimeUnit(name)]
    if ends.max() <= 1.001:
        return [unit for unit in LONG_UNITS if _lie_in_videos(unit, ends, videos)]
    units = [PERCENT] if 80 <= ends.max() <= 100.5 else []
    if ratio >= FRAMES_FROM:
        units.append(TimeUnit('frames'))
    return [unit for unit in units if _lie_in_videos(unit, ends, videos)]


def _lie_in_videos(unit: TimeUnit, ends: np.ndarray, videos: list[VideoAnnotation]) -> bool:
    seconds = ends * np.array([unit.seconds_in(video) for video in videos])
    return bool(LAST_PART[0] <= np.median(seconds / _lengths(videos)) <= LAST_PART[1])  # not NaN


def _last_ends(annotations: Mapping[str, VideoAnnotation], raw: Detections
               ) -> tuple[np.ndarray, list[VideoAnnotation]]:
    """Return the latest end in each video of known length, and these videos."""
    last = np.full(len(raw.video_ids), -np.inf)
    np.maximum.at(last, raw.video_index, raw.segments_seconds[:, 1])
    found = [(end, annotations[name]) for name, end in zip(raw.video_ids, last)
             if name in annotations and np.isfinite(end)]
    found = [(end, video) for end, video in found if video.duration_seconds or len(video)]
    return np.array([end for end, _ in found]), [video for _, video in found]


def _lengths(videos: list[VideoAnnotation]) -> np.ndarray:
    return np.array([video.duration_seconds or video.segments_seconds.max() for video in videos])
