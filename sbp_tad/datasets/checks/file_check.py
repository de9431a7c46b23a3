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
from sbp_tad.datasets.file_names import (
    FEATURE_SUFFIXES,
    VIDEO_SUFFIXES,
    check_template,
    like_named,
    other_names,
    template_of,
)
from sbp_tad.datasets.frame_clock import FrameClock
from sbp_tad.datasets.readers.video_header import (
    DURATION_TOLERANCE_SECONDS,
    FPS_TOLERANCE,
    VideoHeader,
    probe_video,
)
from sbp_tad.paths import UnsafePathError, path_within

SUFFIXES = (*VIDEO_SUFFIXES, *FEATURE_SUFFIXES, '')
VIDEO_TEMPLATE = '{video_id}.mp4'
Inspect = Callable[[Path, VideoAnnotation], VideoHeader | None]


def _probe(path: Path, _: VideoAnnotation) -> VideoHeader:
    return probe_video(path)


def find_files(folder: str | Path, video_ids: Iterable[str],
               template: str = VIDEO_TEMPLATE) -> dict[str, Path]:
    """Find the file of each video in a folder, also under another name or extension.

    A file whose name follows the template comes first. Then come a file that
    is called like the id, and files with any extension that are called as the
    template says, like the id, or ``v_`` and the id. A video without a file
    gets the path by the template.

    Args:
        folder: folder of the videos.
        video_ids: the videos.
        template: ``filename_template`` of the dataset.

    Raises:
        DatasetError: there is no such folder, or the template is not valid.
        UnsafePathError: a key leads out of the folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(f'{folder}: no such folder of videos. Check the path.')
    check_template(template)
    stems = _stems(folder)
    return {video_id: _find_file(path_within(folder, video_id), folder, video_id, template, stems)
            for video_id in video_ids}


def _find_file(own: Path, folder: Path, video_id: str, template: str, stems: Mapping[str, Path]
               ) -> Path:
    expected = folder / template.format(video_id=video_id)
    found = next((path for path in (expected, own) if _is_file(path)), None)
    others = (stems[name] for name in other_names(template, video_id) if name in stems)
    return found or next(others, expected)


def _stems(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in reversed(_video_files(folder))}


def _is_file(path: Path) -> bool:
    """Return whether a file exists; a name that no file can have is that of no file."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def unsafe_ids(video_ids: Iterable[str]) -> dict[str, str]:
    """Return the ids that no dataset opens a file for, with the reason."""
    found = {}
    for video_id in video_ids:
        try:
            path_within('the folder of the videos', video_id)
        except UnsafePathError as error:
            found[video_id] = str(error)
    return found


def check_names(files: Mapping[str, Path], folder: Path, template: str) -> Iterator[Finding]:
    """Find existing files that a dataset with this template would not open.

    Args:
        files: the file of each video, from :func:`find_files`.
        folder: folder of the videos.
        template: ``filename_template`` of the dataset.
    """
    for video_id, path in files.items():
        expected = folder / template.format(video_id=video_id)
        if path != expected and _is_file(path):
            yield Finding('other-file-name', video_id,
                          f'{expected}: no such file, but {path.name} exists.'
                          f'{_advise(path, video_id)}')


def _advise(path: Path, video_id: str) -> str:
    template = template_of(path.name, video_id)
    return f' Its name follows filename_template={template!r}.' if template else ''


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
        try:
            exists = path.exists()
        except (OSError, ValueError) as error:
            yield Finding('unreadable-file', video_id, f'{str(path)[:200]!r}: {error}.'[:400])
            continue
        if not exists:
            yield Finding('missing-file', video_id, f'{path}: no such file.'
                          f'{like_named(path, video_id, SUFFIXES)}')
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
