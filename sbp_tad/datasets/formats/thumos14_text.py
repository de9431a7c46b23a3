"""Reader of the published text files of THUMOS'14."""
from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sbp_tad.annotations import AnnotationError
from sbp_tad.datasets.formats.rows import reading
from sbp_tad.text_files import decode_text, text_encoding

IGNORED_LABEL = 'Ambiguous'
# ending of the published files -> subset
ENDINGS = dict(test='test', val='validation')


def convert_official_annotation(folder: str | Path, info_files: Sequence[str | Path] = ()
                                ) -> dict[str, Any]:
    """Return the content of ``annotations/thumos14.json`` from the published files.

    Files are read in the order of their class names, ``Ambiguous`` last,
    because the official evaluation depends on the order.

    Args:
        folder: folder with a ``CLASS_val.txt`` and a ``CLASS_test.txt`` per
            class, at any depth. They have a line ``video start end``
            (seconds) per instance.
        info_files: csv files with the columns ``video``, ``fps`` and
            ``count`` (frames), from which durations follow. Other videos get
            neither; both are then read from the video file.

    Raises:
        AnnotationError: no such files, or a line of another form.
        DatasetError: a file cannot be read.
    """
    timing = {video: entry for path in info_files for video, entry in _read_info(Path(path))}
    database: dict[str, Any] = {}
    for ending, subset in ENDINGS.items():
        annotations: dict[str, list[dict[str, Any]]] = {}
        for path in _class_files(Path(folder), ending):
            for video, segment in _read_instances(path):
                annotations.setdefault(video, []).append(
                    dict(label=_label(path, ending), segment=segment))
        database.update({video: dict(subset=subset, **timing.get(video, {}),
                                     annotations=annotations[video])
                         for video in sorted(annotations)})
    return dict(version='THUMOS14', database=database)


def _class_files(folder: Path, ending: str) -> list[Path]:
    """Return one file per class, by class name, the ignored label last."""
    files = sorted(folder.rglob(f'*_{ending}.txt'),
                   key=lambda path: (_label(path, ending) == IGNORED_LABEL, path.name))
    if not files:
        raise AnnotationError(
            f"{folder}: expected the published annotation of THUMOS'14, with files such as "
            f'Diving_{ending}.txt, found none. Unpack TH14_Temporal_annotations_validation.zip '
            'and TH14_Temporal_Annotations_Test.zip there.')
    return files


def _label(path: Path, ending: str) -> str:
    return path.stem.removesuffix(f'_{ending}')


def _read_instances(path: Path) -> list[tuple[str, list[float]]]:
    instances = []
    with reading(path):
        text = decode_text(path.read_bytes())
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if line.strip():
                video, start, end = line.split()
                instances.append((video, [float(start), float(end)]))
        except ValueError as error:
            raise AnnotationError(f'{path}, line {number}: expected `video start end` in seconds, '
                                  f'got {line!r}.') from error
    return instances


def _read_info(path: Path) -> list[tuple[str, dict[str, float]]]:
    """Read duration, fps and number of frames of each video."""
    try:
        with open(path, encoding=text_encoding(path), newline='') as file:
            rows = [(row['video'], float(row['fps']), float(row['count']))
                    for row in csv.DictReader(file)]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise AnnotationError(f'{path}: expected a csv file with the columns video, fps and count '
                              f'(frames), got {type(error).__name__}: {error}.') from error
    return [(video, dict(duration=count / fps, fps=fps, frames=int(count)))
            for video, fps, count in rows]
