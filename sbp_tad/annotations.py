"""Temporal annotations in the JSON form of ActivityNet: read, check, select.

The file holds ``{'database': {video: {'subset': str, 'duration': seconds,
'fps': float, 'num_frames': int, 'annotations': [{'segment': [start, end],
'label': str}]}}}``; ``duration``, ``fps`` and ``num_frames`` (also written
``frames`` or ``frame``) may be absent. Times are seconds.
"""
from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sbp_tad.errors import UserError
from sbp_tad.text_files import SAVE_AS_UTF8

# Keys whose repetition loses annotations; repeated keys that are not read do no harm.
_READ_KEYS = frozenset({'database', 'subset', 'duration', 'fps', 'num_frames', 'frames', 'frame',
                        'annotations', 'segment', 'label'})


class AnnotationError(UserError, ValueError):
    """Malformed annotation file or entry."""


@dataclass(frozen=True, eq=False)
class VideoAnnotation:
    """Annotation of one video.

    Args:
        video_id: key of the video in the file.
        subset: split that the video belongs to.
        duration_seconds: length of the video, ``None`` if unknown.
        fps: frames per second, ``None`` if unknown.
        num_frames: number of frames of the video, ``None`` if unknown.
        segments_seconds: (N, 2) float64, start and end, in file order.
        labels: N class names. All labels of the file are there, also ``Ambiguous``.
    """

    video_id: str
    subset: str
    duration_seconds: float | None
    fps: float | None
    num_frames: int | None
    segments_seconds: np.ndarray
    labels: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of annotated segments."""
        return len(self.labels)

    def select(self, keep: Sequence[bool] | np.ndarray) -> VideoAnnotation:
        """Return the video with the segments whose entry of ``keep`` (N,) is true."""
        keep = np.asarray(keep, dtype=bool)
        labels = tuple(label for label, kept in zip(self.labels, keep, strict=True) if kept)
        return replace(self, segments_seconds=self.segments_seconds[keep], labels=labels)

    def without(self, ignored_labels: Collection[str]) -> VideoAnnotation:
        """Return the video without the segments of these labels."""
        return self.select([label not in ignored_labels for label in self.labels])

    def without_empty(self) -> VideoAnnotation:
        """Return the video without the segments of zero length."""
        return self.select(self.segments_seconds[:, 0] != self.segments_seconds[:, 1])

    def only(self, labels: Collection[str]) -> VideoAnnotation:
        """Return the video with only the segments of these labels."""
        return self.select([label in labels for label in self.labels])


def read_annotations(path: str | Path, subsets: Sequence[str] | str | None = None
                     ) -> dict[str, VideoAnnotation]:
    """Read an annotation file with all its labels, in file order.

    Args:
        path: ``.json`` or ``.json.gz``.
        subsets: read only the videos of these subsets, see
            :func:`matching_subsets`; ``None`` reads all.

    Raises:
        AnnotationError: the file is missing, no video is in ``subsets``, or
            one of their videos is malformed (the message names file, video
            and entry). Videos of other subsets are not checked, because
            unlabelled test videos are often malformed.
    """
    repeated: list[tuple[str, str]] = []
    database = _read_database(Path(path), repeated)
    for key, fault in repeated:
        if key in database or key in _READ_KEYS:
            raise AnnotationError(fault)
    if subsets is None:
        return {key: _parse_video(key, entry, path) for key, entry in database.items()}
    wanted = (subsets,) if isinstance(subsets, str) else subsets
    names = {key: _subset(key, entry, path) for key, entry in database.items()}
    matching = matching_subsets(wanted, names.values())
    chosen = {key: replace(_parse_video(key, entry, path), subset=matching[names[key]])
              for key, entry in database.items() if names[key] in matching}
    if not chosen:
        existing = sorted(set(names.values()))
        raise AnnotationError(
            f'{path}: no video is in subset {", ".join(map(repr, wanted)) or "(none given)"}; '
            f'the file holds the subsets {existing}.')
    return chosen


def matching_subsets(wanted: Sequence[str], existing: Iterable[str]) -> dict[str, str]:
    """Return the wanted name of each existing subset that is wanted.

    If no name is equal, upper and lower case do not count, so that
    ActionFormer's ``Validation`` and ``Test`` are found.
    """
    existing = set(existing)
    equal = {name: name for name in wanted if name in existing}
    folded = {name.casefold(): name for name in wanted}
    return equal or {name: folded[name.casefold()] for name in existing
                     if name.casefold() in folded}


def scan_annotations(path: str | Path
                     ) -> tuple[dict[str, VideoAnnotation], list[tuple[str, str]]]:
    """Read the well-formed part of a file that :func:`read_annotations` may refuse.

    Returns:
        The videos without their malformed entries, and the faults as (video, message).

    Raises:
        AnnotationError: the file is missing or has no ``database``.
    """
    faults: list[tuple[str, str]] = []
    videos = {}
    for video_id, entry in _read_database(Path(path), faults).items():
        try:
            entry = _sound_part(video_id, entry, path, faults)
            videos[video_id] = _parse_video(video_id, entry, path)
        except AnnotationError as error:
            faults.append((video_id, str(error)))
    return videos, faults


def check_annotation(video: VideoAnnotation, class_names: Sequence[str],
                     ignored_labels: Collection[str] = (), out_of_range: str = 'error',
                     tolerance_seconds: float = 0.0) -> VideoAnnotation:
    """Apply the strict rules of training and testing to an annotation.

    Segments with ignored labels are removed first. Every other segment needs a
    label of ``class_names`` and ``start < end``, and must lie inside the video.
    A segment that leaves the video by at most ``tolerance_seconds`` is clipped
    to the video. One that leaves it further is an error. With
    ``out_of_range='clip'`` it is clipped too, and dropped if nothing of it
    lies inside.

    Raises:
        AnnotationError: a rule is broken; the message names video, entry and fault.
    """
    if out_of_range not in ('error', 'clip'):
        raise AnnotationError(
            f"out_of_range must be 'error' or 'clip', got {out_of_range!r}.")
    for index, (segment, label) in enumerate(zip(video.segments_seconds, video.labels)):
        if label not in ignored_labels:
            where = f'{_where(video.video_id)}.annotations[{index}]'
            _check_label(where, label, class_names)
            _check_order(where, segment)
            if out_of_range == 'error':
                _check_range(where, segment, video.duration_seconds, tolerance_seconds)
    return _clip(video.without(ignored_labels))


def num_out_of_range(video: VideoAnnotation, tolerance_seconds: float = 0.0) -> int:
    """Count the segments that leave [0, duration] by more than the tolerance."""
    end = math.inf if video.duration_seconds is None else video.duration_seconds
    outside = ((video.segments_seconds[:, 0] < -tolerance_seconds)
               | (video.segments_seconds[:, 1] > end + tolerance_seconds))
    return int(outside.sum())


def _clip(video: VideoAnnotation) -> VideoAnnotation:
    end = math.inf if video.duration_seconds is None else video.duration_seconds
    clipped = video.segments_seconds.clip(0.0, end)
    video = replace(video, segments_seconds=clipped)
    return video.select(clipped[:, 0] < clipped[:, 1])


def _check_label(where: str, label: str, class_names: Sequence[str]) -> None:
    if label not in class_names:
        raise AnnotationError(
            f'{where}: unknown label {label!r}; the classes are {list(class_names)}. '
            'Correct the label, or add it to the class names or to ignored_labels.')


def _check_order(where: str, segment: np.ndarray) -> None:
    start, end = segment
    if not start < end:
        raise AnnotationError(
            f'{where}: a segment must start before it ends, got [{start:g}, {end:g}] seconds. '
            'Correct or remove the entry.')


def _check_range(where: str, segment: np.ndarray, duration: float | None,
                 tolerance: float) -> None:
    start, end = segment
    if start < -tolerance or (duration is not None and end > duration + tolerance):
        length = 'an unknown time' if duration is None else f'{duration:g} s'
        raise AnnotationError(
            f'{where}: segment [{start:g}, {end:g}] s lies outside the video, which lasts '
            f"{length}. Correct the entry, or set out_of_range='clip' to cut it at the "
            "video's ends.")


def _sound_part(video_id: str, entry: Any, path: str | Path, faults: list[tuple[str, str]]) -> Any:
    """Return the entry without its malformed items; append their faults to ``faults``."""
    items = entry.get('annotations') if isinstance(entry, dict) else None
    if not isinstance(items, list):
        return entry
    sound = []
    for index, item in enumerate(items):
        try:
            _parse_item(item, f'{path}: {_where(video_id)}.annotations[{index}]')
            sound.append(item)
        except AnnotationError as error:
            faults.append((video_id, str(error)))
    return {**entry, 'annotations': sound}


def _read_database(path: Path, repeated: list[tuple[str, str]]) -> dict[str, Any]:
    """Read the ``database`` of a file; append keys that occur twice to ``repeated``."""
    def note_repeated(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) == len(items):
            return found
        repeated.extend((key, f'{path}: the key {key!r} occurs {count} times in one object; '
                         'JSON keeps only the last. Join or rename the entries.')
                        for key, count in Counter(key for key, _ in items).items() if count > 1)
        return found

    if not path.is_file():
        raise AnnotationError(f'{path}: no such annotation file. Correct the path; in a '
                              'config it is data_root and ann_file.')
    opener = gzip.open if path.suffix == '.gz' else open
    try:
        with opener(path, 'rb') as file:  # json finds UTF-8 and UTF-16, with their marks
            content = json.loads(file.read(), object_pairs_hook=note_repeated)
    except UnicodeError as error:
        raise AnnotationError(f'{path}: not text in UTF-8 or UTF-16 ({error}). {SAVE_AS_UTF8}.'
                              ) from error
    except (ValueError, OSError, EOFError) as error:
        raise AnnotationError(f'{path}: cannot be read as JSON ({error}).') from error
    database = content.get('database') if isinstance(content, dict) else None
    if not isinstance(database, dict) or not database:
        raise AnnotationError(
            f"{path}: expected {{'database': {{video: ...}}}} with at least one video, got "
            f'{_shape_of(content)}.')
    return database


def _shape_of(content: Any) -> str:
    if isinstance(content, dict):
        return f'an object with the keys {list(content)[:5]}'
    return f'a {type(content).__name__}'


def _where(video_id: str) -> str:
    return f"database['{video_id}']"


def _subset(video_id: str, entry: Any, path: str | Path) -> str:
    where = f'{path}: {_where(video_id)}'
    if not isinstance(entry, dict):
        raise AnnotationError(f'{where}: expected an object, got {entry!r}.')
    subset = entry.get('subset')
    if not isinstance(subset, str):
        raise AnnotationError(f"{where}: 'subset' must be a string, got {subset!r}.")
    return subset


def _parse_video(video_id: str, entry: Any, path: str | Path) -> VideoAnnotation:
    subset, where = _subset(video_id, entry, path), f'{path}: {_where(video_id)}'
    items = entry.get('annotations')
    if not isinstance(items, list):
        raise AnnotationError(f"{where}: 'annotations' must be a list ([] for a video without "
                              f'actions), got {items!r}.')
    parsed = [_parse_item(item, f'{where}.annotations[{i}]') for i, item in enumerate(items)]
    segments = np.array([segment for segment, _ in parsed], dtype=np.float64).reshape(-1, 2)
    labels = tuple(label for _, label in parsed)
    return VideoAnnotation(video_id, subset, *_parse_timing(entry, where), segments, labels)


def _parse_timing(entry: dict[str, Any], where: str
                  ) -> tuple[float | None, float | None, int | None]:
    """Return duration, fps and number of frames; compute duration or fps if it is absent."""
    duration = _positive(entry, ('duration',), where)
    fps = _positive(entry, ('fps',), where)
    num_frames = _positive(entry, ('num_frames', 'frames', 'frame'), where)
    if duration is None and fps and num_frames:
        duration = num_frames / fps
    if fps is None and duration and num_frames:
        fps = num_frames / duration
    return duration, fps, None if num_frames is None else int(num_frames)


def _positive(entry: dict[str, Any], keys: Sequence[str], where: str) -> float | None:
    key = next((key for key in keys if entry.get(key) is not None), None)
    if key is None:
        return None
    value = entry[key]
    if isinstance(value, str):  # HACS writes its durations as strings
        try:
            value = float(value)
        except ValueError:
            value = math.nan
    if not _is_finite(value) or value <= 0:
        raise AnnotationError(
            f'{where}: {key!r} must be a number above 0, got {entry[key]!r}. Leave it out '
            'if it is unknown.')
    return float(value)


def _parse_item(item: Any, where: str) -> tuple[list[float], str]:
    if not isinstance(item, dict):
        raise AnnotationError(f"{where}: expected an object with 'segment' and 'label', "
                              f'got {item!r}.')
    segment, label = item.get('segment'), item.get('label')
    if not (isinstance(segment, list) and len(segment) == 2 and all(map(_is_finite, segment))):
        raise AnnotationError(f"{where}: 'segment' must be two finite numbers in seconds, "
                              f'got {segment!r}.')
    if not isinstance(label, str):
        raise AnnotationError(f"{where}: 'label' must be a string, got {label!r}.")
    return [float(value) for value in segment], label


def _is_finite(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        return number and math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False
