"""Preparation of THUMOS'14: make the annotation, convert videos, check the files."""
from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sbp_tad.annotations import AnnotationError, VideoAnnotation
from sbp_tad.apis.dataset_check import DatasetReport
from sbp_tad.datasets.checks.annotation_check import Expectations
from sbp_tad.datasets.checks.file_check import (
    VIDEO_TEMPLATE,
    check_files,
    check_names,
    find_files,
    unlisted_files,
)
from sbp_tad.datasets.checks.findings import Finding
from sbp_tad.datasets.ffmpeg import Conversion, convert_all
from sbp_tad.datasets.formats.thumos14_text import IGNORED_LABEL, convert_official_annotation
from sbp_tad.paths import path_within

EXTRA_FILE = 'unlisted-file'


def make_annotation(target: Path, official: Path, info_files: Sequence[Path]) -> None:
    """Write the annotation from the published files, see :func:`convert_official_annotation`.

    Raises:
        AnnotationError: ``target`` exists already, or cannot be written.
    """
    if target.exists():
        raise AnnotationError(f'{target} exists already. Move it away to make it again.')
    content = convert_official_annotation(official, info_files)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
    except OSError as error:
        raise AnnotationError(f'{target}: cannot be written ({error.strerror}).') from error


def check_videos(videos: Mapping[str, VideoAnnotation], folder: Path, fps: float | None = None
                 ) -> DatasetReport:
    """Compare the files of a folder with the annotation: missing, unreadable, different, extra.

    Args:
        videos: the annotation.
        folder: folder of the video files.
        fps: frame rate that all files were converted to; None keeps that of the
            annotation.

    Raises:
        DatasetError: the folder does not exist.
    """
    expected = Expectations(ignored_labels=(IGNORED_LABEL,), out_of_range='clip')
    if fps is not None:
        videos = {name: replace(video, fps=fps) for name, video in videos.items()}
    files = find_files(folder, videos)
    findings = [*check_names(files, folder, VIDEO_TEMPLATE),
                *check_files(videos, files, expected), *unlisted_files(files.values())]
    numbers, segments = Counter(), Counter()
    for video in videos.values():
        numbers[video.subset] += 1
        segments[video.subset] += len(video.without(expected.ignored_labels))
    return DatasetReport({subset: (numbers[subset], segments[subset]) for subset in numbers},
                         findings)


def convert_videos(convert: Callable[[Path, Path, Conversion], bool],
                   videos: Mapping[str, VideoAnnotation], folder: Path, target: Path, suffix: str,
                   conversion: Conversion, jobs: int) -> list[Finding]:
    """Convert the file of every video that has one; finished files are kept.

    Args:
        convert: :func:`reencode` or :func:`extract_frames`.
        videos: the annotation.
        folder: folder of the video files.
        target: folder for the results: one file, or one folder of frames, per video.
        suffix: suffix of their names.
        conversion: settings of the conversion.
        jobs: number of ffmpeg processes at the same time.

    Returns:
        A finding for each video that could not be converted.

    Raises:
        DatasetError: ffmpeg is not installed, or the folder does not exist.
    """
    files = {name: path for name, path in find_files(folder, videos).items() if path.is_file()}
    failures = convert_all(convert, {path: path_within(target, f'{name}{suffix}')
                                     for name, path in files.items()}, conversion, jobs)
    names = {path: name for name, path in files.items()}
    return [Finding('unreadable-file', names[path], sentence)
            for path, sentence in failures.items()]
