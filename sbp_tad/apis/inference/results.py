"""Detections of videos: typed objects, files, and a folder from which a run continues."""
from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from sbp_tad.apis.errors import InferenceError
from sbp_tad.apis.inference.inputs import InputVideo
from sbp_tad.datasets.readers.feature_files import replacing
from sbp_tad.evaluation.detections import Detections, write_detections
from sbp_tad.paths import path_within


@dataclass(frozen=True)
class Detection:
    """One action: start and end in seconds, label, and score in [0, 1]."""

    start_seconds: float
    end_seconds: float
    label: str
    score: float


@dataclass(frozen=True)
class VideoDetections:
    """Detections of one video.

    Args:
        video_id: name of the video.
        filename: path of the video; None for frames in memory.
        duration_seconds: its length; None if it could not be opened.
        detections: best score first.
        error: None, or the sentence that says which part is unreadable;
            ``detections`` are then those of the other parts.
    """

    video_id: str
    filename: str | None
    duration_seconds: float | None
    detections: tuple[Detection, ...]
    error: str | None = None

    def above(self, score_threshold: float) -> VideoDetections:
        """Return a copy without the detections below the threshold."""
        return replace(self, detections=tuple(found for found in self.detections
                                              if found.score >= score_threshold))

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> VideoDetections:
        """Return the object that :meth:`to_json` was called on."""
        return cls(**{**content, 'detections': tuple(
            Detection(**found) for found in content['detections'])})

    def to_submission(self) -> list[dict[str, Any]]:
        """Return the entry of the video in an ActivityNet submission."""
        return [dict(segment=[found.start_seconds, found.end_seconds], label=found.label,
                     score=found.score) for found in self.detections]

    def segments_seconds(self) -> np.ndarray:
        """Return starts and ends (N, 2) float64, in seconds."""
        return np.array([(found.start_seconds, found.end_seconds) for found in self.detections],
                        dtype=np.float64).reshape(-1, 2)


class ResultFolder:
    """Folder with one JSON per video, from which an interrupted run continues.

    A video is finished when its JSON names the same file (size and time of
    change) and the same detector (checkpoint, config, options).

    Args:
        folder: holds ``videos/<video_id>.json``; None stores nothing.
        identity: facts that identify the detector.
    """

    def __init__(self, folder: str | Path | None, identity: Mapping[str, Any]) -> None:
        self.folder = None if folder is None else Path(folder)
        self.identity = dict(identity)

    def path(self, video: InputVideo) -> Path:
        """Return the path of the JSON of a video."""
        return path_within(self.folder / 'videos', f'{video.video_id}.json')

    def read(self, video: InputVideo) -> VideoDetections | None:
        """Return the result of an earlier run; None if video or detector differ."""
        if self.folder is None:
            return None
        try:
            stored = json.loads(self.path(video).read_text(encoding='utf-8'))
            known = stored['made_from']
            result = VideoDetections.from_json(stored['result'])
        except (OSError, ValueError, KeyError, TypeError):  # absent, or another format
            return None
        return result if known is not None and known == self._origin(video) else None

    def write(self, video: InputVideo, result: VideoDetections) -> None:
        """Write a result atomically; videos with an error are left for the next run.

        Raises:
            InferenceError: the folder is not writable.
        """
        if self.folder is None or result.error is not None:
            return
        content = dict(made_from=self._origin(video), result=result.to_json())
        _write(self.path(video), lambda path: path.write_text(
            json.dumps(content, indent=1) + '\n', encoding='utf-8'))

    def _origin(self, video: InputVideo) -> dict[str, Any] | None:
        fingerprint = video.fingerprint
        return fingerprint and {**self.identity, **fingerprint}


def write_json(path: Path, results: Sequence[VideoDetections]) -> None:
    """Write a list with all fields of all videos."""
    path.write_text(json.dumps([result.to_json() for result in results], indent=1) + '\n',
                    encoding='utf-8')


def write_csv(path: Path, results: Sequence[VideoDetections]) -> None:
    """Write one row per detection, in full precision."""
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(('video_id', *(field.name for field in fields(Detection))))
        writer.writerows((result.video_id, found.start_seconds, found.end_seconds, found.label,
                          found.score) for result in results for found in result.detections)


def write_submission(path: Path, results: Sequence[VideoDetections]) -> None:
    """Write the format that ``tools/test.py`` writes and ``tools/evaluate.py`` reads."""
    ordered = sorted(results, key=lambda result: result.video_id)
    write_detections(path, Detections.from_results(
        {result.video_id: result.to_submission() for result in ordered}))


# Format -> name of the file and its writer.
FORMATS: dict[str, tuple[str, Callable[[Path, Sequence[VideoDetections]], None]]] = dict(
    activitynet=('detections.json', write_submission), csv=('detections.csv', write_csv),
    json=('videos.json', write_json))


def write_results(folder: str | Path, results: Sequence[VideoDetections],
                  formats: Sequence[str] = ('activitynet',)) -> list[Path]:
    """Write the detections of all videos into one file per format.

    Args:
        folder: target; it is made if it does not exist.
        results: results of the videos.
        formats: names among ``FORMATS``.

    Returns:
        The paths of the files.

    Raises:
        InferenceError: a format is unknown, or the folder is not writable.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown:
        raise InferenceError(f'the formats are {", ".join(FORMATS)}, got {", ".join(unknown)}.')
    written = []
    for name in formats:
        filename, writer = FORMATS[name]
        path = Path(folder) / filename
        _write(path, lambda temporary, writer=writer: writer(temporary, results))
        written.append(path)
    return written


def _write(path: Path, writer: Callable[[Path], Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            writer(temporary)
    except OSError as error:
        raise InferenceError(f'{path}: cannot be written ({error.strerror}). Choose another '
                             'folder.') from error
