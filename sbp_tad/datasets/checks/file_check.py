"""Compare video files with their annotation."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.checks.annotation_check import Expectations, check_range, describe
from sbp_tad.datasets.checks.findings import Finding
from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.datasets.frame_clock import FrameClock
from sbp_tad.datasets.readers.video_header import (
    DURATION_TOLERANCE_SECONDS,
    FPS_TOLERANCE,
    VideoHeader,
    probe_video,
)
from sbp_tad.paths import path_within

VIDEO_SUFFIXES = ('.mp4', '.mkv', '.avi', '.webm', '.mov', '.m4v', '.mpg', '.mpeg', '.ts',
                  '.wmv', '.flv', '.3gp', '.ogv')
Inspect = Callable[[Path, VideoAnnotation], VideoHeader | None]


def _probe(path: Path, _: VideoAnnotation) -> VideoHeader:
    return probe_video(path)


def find_files(folder: str | Path, video_ids: Iterable[str]) -> dict[str, Path]:
    """Find the file of each video in a folder, with any extension.

    A key may be a file name with its extension. A video without a file gets
    the path of the expected mp4.

    Raises:
        DatasetError: there is no such folder.
        UnsafePathError: a key leads out of the folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(f'{folder}: no such folder of videos. Check the path.')
    stems = {path.stem: path for path in reversed(_video_files(folder))}
    wanted = {video_id: path_within(folder, video_id) for video_id in video_ids}
    return {video_id: path if path.is_file() else stems.get(video_id, folder / f'{video_id}.mp4')
            for video_id, path in wanted.items()}


def check_files(videos: Mapping[str, VideoAnnotation], files: Mapping[str, Path],
                expected: Expectations, inspect: Inspect = _probe) -> Iterator[Finding]:
    """Read the header and first frame of every file; compare it with its annotation.

    Args:
        videos: annotation of each video.
        files: file, or folder of frames, of each video.
        expected: expectations of the annotation.
        inspect: function of (file, video) that returns the header, or None if
            the source has none, and raises ``VideoReadError`` for an
            unreadable file.
    """
    for video_id, video in videos.items():
        path = files[video_id]
        if not path.exists():
            yield Finding('missing-file', video_id, f'{path}: no such file.')
            continue
        try:
            header = inspect(path, video)
        except VideoReadError as error:
            yield Finding('unreadable-file', video_id, str(error))
            continue
        if header is None:
            continue
        counted = video.without(expected.ignored_labels)
        yield from _compare(counted, header)
        if video.duration_seconds is None:  # not checked yet: the end was unknown
            yield from check_range(
                replace(counted, duration_seconds=header.duration_seconds), expected)


def unlisted_files(files: Iterable[Path]) -> Iterator[Finding]:
    """Find video files that are not in the annotation.

    Args:
        files: files of all annotated videos; their folders are searched.
    """
    listed = set(files)
    for folder in sorted({path.parent for path in listed}):
        for path in _video_files(folder) if folder.is_dir() else ():
            if path not in listed:
                yield Finding('unlisted-file', path.name, f'{path}: not in the annotation.')


def _video_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)


def _compare(video: VideoAnnotation, header: VideoHeader) -> Iterator[Finding]:
    yield from _spacing(video.video_id, header.clock)
    if video.fps and header.clock.is_even and \
            abs(video.fps - header.fps) > FPS_TOLERANCE * video.fps:
        yield Finding('fps-mismatch', video.video_id, f'the annotation says {video.fps:g} fps, '
                      f'the file has {header.fps:g}.')
    seconds = header.duration_seconds
    if video.duration_seconds and \
            abs(video.duration_seconds - seconds) > DURATION_TOLERANCE_SECONDS:
        yield Finding('duration-mismatch', video.video_id, 'the annotation says '
                      f'{video.duration_seconds:g} s, the file lasts {seconds:g} s.')
    for index, (start, _) in enumerate(video.segments_seconds):
        if seconds <= start < (video.duration_seconds or 0):
            yield Finding('beyond-file', video.video_id, f'{describe(video, index)} begins after '
                          f'the end of the file at {seconds:g} s.')


def _spacing(video_id: str, clock: FrameClock) -> Iterator[Finding]:
    """Yield notes on frames that are not equally spaced from second 0."""
    if clock.is_even:
        return
    seconds = clock.seconds(np.arange(clock.num_frames))
    gaps = np.diff(seconds)
    if len(gaps) and gaps.max() > 1.5 * gaps.min():
        yield Finding('variable-frame-rate', video_id, f'variable frame rate: {clock.num_frames} '
                      f'frames, from {gaps.min():.3g} to {gaps.max():.3g} s apart.')
    if seconds[0] * clock.fps >= 1:
        yield Finding('late-track', video_id,
                      f'the first frame is shown at second {seconds[0]:.3g}.')
