"""Detections of many videos as columns."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.segments.merging import VideoColumns

NO_LABEL = ''  # label of a proposal


@dataclass(frozen=True, eq=False)
class Detections:
    """N detections in file order, as arrays.

    Args:
        video_ids: all videos, including those without a detection.
        labels: class names that occur or may occur.
        video_index: (N,) int64, position in ``video_ids``.
        label_index: (N,) int64, position in ``labels``.
        segments_seconds: (N, 2) float64, start and end.
        scores: (N,) float64, finite, any range.

    Raises:
        EvaluationError: a label index is outside ``labels``.
    """

    video_ids: tuple[str, ...]
    labels: tuple[str, ...]
    video_index: np.ndarray
    label_index: np.ndarray
    segments_seconds: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        faulty = (self.label_index < 0) | (self.label_index >= len(self.labels))
        if faulty.any():
            bad = int(np.argmax(faulty))
            raise EvaluationError(
                f'Detection {bad}, in video {self.video_ids[self.video_index[bad]]!r}, has label '
                f'index {self.label_index[bad]}, but there are {len(self.labels)} labels, numbered '
                'from 0. Set num_classes of the head to the number of classes of the dataset.')

    def __len__(self) -> int:
        """Return the number of detections."""
        return len(self.scores)

    @classmethod
    def from_videos(cls, videos: Mapping[str, VideoColumns], labels: Sequence[str]) -> Detections:
        """Join per-video arrays ``(segments_seconds (K, 2), scores (K,), label_index (K,))``.

        Raises:
            EvaluationError: a time or a score is NaN or infinite, or a label
                index is outside ``labels``.
        """
        columns = list(zip(*videos.values())) or [(), (), ()]
        segments = np.concatenate([np.empty((0, 2)), *(np.reshape(s, (-1, 2)) for s in columns[0])])
        scores = np.concatenate([np.empty(0), *columns[1]])
        label_index = np.concatenate([np.empty(0, dtype=np.int64), *columns[2]]).astype(np.int64)
        video_index = np.repeat(np.arange(len(videos)), [len(s) for s in columns[1]])
        finite = np.isfinite(scores) & np.isfinite(segments).all(axis=1)
        if not finite.all():
            bad = int(np.argmin(finite))
            raise EvaluationError(
                f'Scores and times must be finite; video {list(videos)[video_index[bad]]!r} has a '
                f'detection with segment {segments[bad].tolist()} and score {scores[bad]}.')
        return cls(tuple(videos), tuple(labels), video_index, label_index, segments, scores)

    @classmethod
    def from_results(cls, results: Mapping[str, Any], source: str | Path = 'detections',
                     label_key: str = 'label') -> Detections:
        """Build the columns from ``{video: [{'segment', 'label', 'score'}]}``.

        A number as label becomes its digits, a missing label ``NO_LABEL``.

        Args:
            results: the detections of each video.
            source: file of the detections, for the message.
            label_key: key of the label in a detection.

        Raises:
            EvaluationError: an entry is malformed; the message names
                ``source``, video and entry.
        """
        known_labels: dict[str, int] = {}
        videos = {video_id: _video_columns(entries, known_labels, f'{source}: {video_id!r}',
                                           label_key)
                  for video_id, entries in results.items()}
        return cls.from_videos(videos, list(known_labels))

    def to_results(self) -> dict[str, list[dict[str, Any]]]:
        """Return ``{video: [{'segment', 'label', 'score'}]}`` in full precision."""
        results: dict[str, list[dict[str, Any]]] = {
            video_id: [] for video_id in self.video_ids}
        rows = zip(self.video_index.tolist(), self.label_index.tolist(),
                   self.segments_seconds.tolist(), self.scores.tolist())
        for video, label, segment, score in rows:
            results[self.video_ids[video]].append(
                dict(segment=segment, label=self.labels[label], score=score))
        return results


def _video_columns(entries: Any, known_labels: dict[str, int], where: str, label_key: str
                   ) -> VideoColumns:
    """Return the columns of one video; check single entries only if a fault is found."""
    if not isinstance(entries, list):
        raise EvaluationError(
            f'{where}: expected a list of detections, got {type(entries).__name__}.')
    try:
        segments = [entry['segment'] for entry in entries]
        scores = [entry['score'] for entry in entries]
        labels = [entry.get(label_key, NO_LABEL) for entry in entries]
        numbers = set(map(type, chain(chain.from_iterable(segments), scores)))
        sound = bool not in numbers and all(issubclass(kind, (int, float)) for kind in numbers) \
            and set(map(type, labels)) <= {str, int}
        columns = np.array(segments, dtype=np.float64), np.array(scores, dtype=np.float64)
        sound = (sound and columns[0].shape == (len(entries), 2)
                 and all(np.isfinite(column).all() for column in columns))
    except (TypeError, KeyError, ValueError, OverflowError, AttributeError):
        sound = False
    if entries and not sound:
        for number, entry in enumerate(entries):
            _check_entry(entry, f'{where}, entry {number}', label_key)
        raise AssertionError(f'{where}: a fault that _check_entry does not know')
    label_index = [known_labels.setdefault(label if type(label) is str else str(label),
                                           len(known_labels)) for label in labels]
    return columns[0].reshape(-1, 2), columns[1], np.array(label_index, dtype=np.int64)


def _check_entry(entry: Any, where: str, label_key: str) -> None:
    if not isinstance(entry, dict) or not {'segment', 'score'} <= entry.keys():
        raise EvaluationError(
            f'{where}: expected an object with "segment", "{label_key}" and "score", got '
            f'{entry!r}.')
    segment, label, score = entry['segment'], entry.get(label_key, NO_LABEL), entry['score']
    if not (isinstance(segment, list) and len(segment) == 2 and all(map(_is_finite, segment))):
        raise EvaluationError(
            f'{where}: "segment" must be [start, end], two finite numbers in seconds, got '
            f'{segment!r}.')
    if isinstance(label, bool) or not isinstance(label, (str, int)):
        raise EvaluationError(
            f'{where}: "{label_key}" must be a string or an integer, got {label!r}.')
    if not _is_finite(score):
        raise EvaluationError(f'{where}: "score" must be a finite number, got {score!r}.')


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of float64
        return False
