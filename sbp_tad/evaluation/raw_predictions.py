"""File of the predictions of every test window before suppression.

The file is an ``.npz`` without pickled objects: ``segments_seconds`` (N, 2),
``scores`` (N,) and ``labels`` (N,) of all windows, concatenated;
``window_lengths`` (W,), number of predictions of each window;
``window_videos`` (W,), index of its video in ``video_names`` (V,);
``video_durations`` (V,) in seconds, NaN where unknown; ``class_names`` (C,);
and ``settings``, a JSON text with the post-processing and evaluation options
of the test.
"""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from sbp_tad.evaluation.array_files import read_arrays, write_arrays
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.options import EvaluationOptions
from sbp_tad.segments.merging import PostProcessing, VideoColumns

_ARRAYS = dict(segments_seconds='f', scores='f', labels='iu', window_lengths='iu',
               window_videos='iu', video_names='U', class_names='U', settings='U')


@dataclass(frozen=True, eq=False)
class RawPredictions:
    """Predictions of a detector for each window, and the settings of the test.

    Args:
        windows: predictions of the windows of each video, in order of time.
        class_names: name of each label.
        rules: post-processing of the test.
        options: evaluation options of the test.
        subsets: subsets of the annotation that were tested.
        durations: seconds of the videos; None where unknown.
    """

    windows: dict[str, list[VideoColumns]]
    class_names: tuple[str, ...]
    rules: PostProcessing
    options: EvaluationOptions
    subsets: tuple[str, ...]
    durations: Mapping[str, float | None] = field(default_factory=dict)

    def detections(self) -> Detections:
        """Return all predictions as detections, without suppression."""
        empty = np.empty((0, 2)), np.empty(0), np.empty(0, dtype=np.int64)
        videos: dict[str, VideoColumns] = {}
        for name, windows in self.windows.items():
            segments, scores, labels = map(np.concatenate, zip(empty, *windows))
            videos[name] = segments, scores, labels
        return Detections.from_videos(videos, self.class_names)


def write_raw_predictions(path: str | Path, raw: RawPredictions) -> None:
    """Write a file for :func:`read_raw_predictions`, in the narrowest exact types.

    Raises:
        EvaluationError: the file cannot be written.
    """
    windows = [window for found in raw.windows.values() for window in found]
    segments, scores, labels = (np.concatenate([empty, *column]) for empty, column in zip(
        (np.empty((0, 2)), np.empty(0), np.empty(0, np.int64)), zip(*windows) if windows
        else ((), (), ())))
    settings = dict(post_processing=asdict(raw.rules), evaluation=asdict(raw.options),
                    subsets=raw.subsets)
    write_arrays(path, dict(
        segments_seconds=_narrow(segments, np.float32), scores=_narrow(scores, np.float32),
        labels=_narrow(labels, np.uint16),
        window_lengths=np.array([len(window[1]) for window in windows], dtype=np.int64),
        window_videos=np.repeat(np.arange(len(raw.windows)), [*map(len, raw.windows.values())]),
        video_names=np.array(list(raw.windows), dtype=np.str_),
        video_durations=np.array([raw.durations.get(name) for name in raw.windows], dtype=float),
        class_names=np.array(raw.class_names, dtype=np.str_),
        settings=np.array(json.dumps(settings))), 'raw predictions', EvaluationError)


def read_raw_predictions(path: str | Path) -> RawPredictions:
    """Read a file of raw predictions; pickled objects are never loaded.

    Raises:
        EvaluationError: the file is missing or has another format.
    """
    arrays = read_arrays(path, tuple(_ARRAYS), ('video_durations', ), 'raw predictions',
                         EvaluationError)
    for name, kinds in _ARRAYS.items():
        if arrays[name].dtype.kind not in kinds:
            raise EvaluationError(f'{path}: {name} cannot be of type {arrays[name].dtype}.')
    lengths, videos = arrays['window_lengths'], arrays['window_videos']
    total = len(arrays['scores'])
    if arrays['segments_seconds'].shape != (total, 2) or arrays['labels'].shape != (total, ) \
            or lengths.sum() != total or lengths.shape != videos.shape:
        raise EvaluationError(
            f'{path}: segments_seconds and labels must have as many rows as scores ({total}), and '
            'window_lengths must sum to it. Write the file again with tools/test.py --raw-dump.')
    names = arrays['video_names'].tolist()
    windows: dict[str, list[VideoColumns]] = {name: [] for name in names}
    columns = (arrays['segments_seconds'].astype(np.float64), arrays['scores'].astype(np.float64),
               arrays['labels'].astype(np.int64))
    for video, end, length in zip(videos.tolist(), np.cumsum(lengths).tolist(), lengths.tolist()):
        segments, scores, labels = (column[end - length:end] for column in columns)
        windows[names[video]].append((segments, scores, labels))
    post_processing, evaluation, subsets = _settings(str(arrays['settings']), path)
    seconds = arrays.get('video_durations', np.full(len(names), np.nan)).tolist()
    durations = {name: None if np.isnan(end) else end for name, end in zip(names, seconds)}
    return RawPredictions(windows, tuple(arrays['class_names'].tolist()), post_processing,
                          evaluation, subsets, durations)


def _settings(text: str, path: str | Path
              ) -> tuple[PostProcessing, EvaluationOptions, tuple[str, ...]]:
    try:
        content = json.loads(text)
        return (PostProcessing(**content['post_processing']),
                EvaluationOptions(**content['evaluation']), tuple(content['subsets']))
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f'{path}: the settings are not those of this version: {error}. '
                              'Write the file again with tools/test.py --raw-dump.') from error


def _narrow(values: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    """Return the values in the narrower type if it holds each of them exactly."""
    narrow = values.astype(dtype)
    return narrow if np.array_equal(narrow, values) else values
