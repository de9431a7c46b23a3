"""Corrections of detections: names of videos and classes, and units of time."""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.name_matching import match_labels, match_videos
from sbp_tad.evaluation.time_units import TimeUnit

NUM_NAMED = 3


def map_video_ids(detections: Detections, known: Collection[str]) -> Detections:
    """Rename videos to the ids of the annotation, see :func:`match_videos`.

    Raises:
        EvaluationError: no id matches, or two ids match the same video.
    """
    matches = match_videos(detections.video_ids, known)
    names = tuple(matches.get(name, name) for name in detections.video_ids)
    if not matches and not set(names) & set(known):
        raise EvaluationError(
            '--map-video-ids: no video id matches one of the annotation, even without folder, '
            f'extension, prefix and case. The detections have {listed(detections.video_ids)}; the '
            f'annotation has {listed(known)}.')
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        origins = [name for name, new in zip(detections.video_ids, names) if new == twice]
        raise EvaluationError(
            f'--map-video-ids: {listed(origins)} are the same video {twice!r} of the annotation. '
            'Remove or join the detections of one of them.')
    return replace(detections, video_ids=names)


def map_labels(detections: Detections, class_names: Collection[str]) -> Detections:
    """Rename labels to the classes that differ only in case or punctuation.

    Raises:
        EvaluationError: no label matches a class.
    """
    matches = match_labels(detections.labels, class_names)
    names = [matches.get(name, name) for name in detections.labels]
    if not set(names) & set(class_names):
        raise EvaluationError(
            '--map-labels: no label matches a class, even without case and punctuation. The '
            f'detections have {listed(detections.labels)}; the annotation has '
            f'{listed(class_names)}.')
    return _relabel(detections, names)


def name_labels(detections: Detections, classes: Mapping[str, str]) -> Detections:
    """Replace numbers by class names.

    Args:
        detections: detections with numbers as labels.
        classes: name of each number.

    Raises:
        EvaluationError: a label is not one of the numbers.
    """
    unknown = [label for label in detections.labels if label not in classes]
    if unknown and not any(label.isdigit() for label in detections.labels):
        raise EvaluationError(f'--labels-by-index: the labels are no numbers: {listed(unknown)}. '
                              'Leave the option out.')
    if unknown:
        numbers = list(classes)
        raise EvaluationError(
            f'--labels-by-index: the detections have the labels {listed(unknown)}, but the '
            f'{len(numbers)} classes have the numbers {numbers[0]} to {numbers[-1]}. Give a file '
            'with the right numbers, one "NUMBER NAME" per line.')
    return _relabel(detections, [classes[label] for label in detections.labels])


def convert_times(detections: Detections, annotations: Mapping[str, VideoAnnotation],
                  unit: TimeUnit) -> Detections:
    """Convert times to seconds.

    Args:
        detections: detections in another unit.
        annotations: give frame rate and duration of each video.
        unit: unit of the detections.

    Raises:
        EvaluationError: a frame rate or duration is unknown.
    """
    seconds = seconds_per_unit(detections, annotations, unit)
    needed = np.unique(detections.video_index)
    unknown = [detections.video_ids[video] for video in needed if np.isnan(seconds[video])]
    if unknown:
        name, cure = ('frame rate', 'Give --fps, or add "fps"') if unit.name == 'frames' else \
            ('duration', 'Add "duration"')
        raise EvaluationError(
            f'--time-unit {unit.name}: the annotation has no {name} of {listed(unknown)}. {cure} '
            'to the videos of the annotation.')
    return _multiplied(detections, seconds)


def unconvert_times(detections: Detections, annotations: Mapping[str, VideoAnnotation],
                    unit: TimeUnit) -> Detections:
    """Undo :func:`convert_times`."""
    return _multiplied(detections, 1 / seconds_per_unit(detections, annotations, unit))


def seconds_per_unit(detections: Detections, annotations: Mapping[str, VideoAnnotation],
                     unit: TimeUnit) -> np.ndarray:
    """Return the seconds of one unit in each video of the detections, (V,) float64.

    NaN if the annotation does not say. In videos outside the annotation frames
    and parts of a video are as seconds.
    """
    unlisted = VideoAnnotation('', '', 1.0, unit.frames_per_step, None, np.empty((0, 2)), ())
    return np.array([unit.seconds_in(annotations.get(name, unlisted))
                     for name in detections.video_ids], dtype=np.float64)


def _multiplied(detections: Detections, factors: np.ndarray) -> Detections:
    rows = factors[detections.video_index][:, None] if len(detections) else 1.0
    return replace(detections, segments_seconds=detections.segments_seconds * rows)


def listed(names: Collection[str]) -> str:
    """Return the first names, quoted, and the number of others."""
    chosen = list(names)[:NUM_NAMED]
    more = len(names) - len(chosen)
    return ', '.join(map(repr, chosen)) + (f' and {more} more' if more else '')


def _relabel(detections: Detections, names: Sequence[str]) -> Detections:
    """Give each label a new name; labels that get the same name become one."""
    labels = tuple(dict.fromkeys(names))
    index = np.array([labels.index(name) for name in names], dtype=np.int64)
    label_index = index[detections.label_index] if len(names) else detections.label_index
    return replace(detections, labels=labels, label_index=label_index)
