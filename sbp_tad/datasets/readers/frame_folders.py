"""Folders of image files as the source of a dataset's frames."""
from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.datasets.file_names import like_named
from sbp_tad.datasets.frame_clock import FrameClock
from sbp_tad.datasets.readers.video_files import VideoFiles
from sbp_tad.datasets.readers.video_header import VideoHeader
from sbp_tad.wording import count_of


@dataclass(frozen=True)
class FrameFolders(VideoFiles):
    """One folder of image files per video, read by mmaction's ``RawFrameDecode``.

    Frames are numbered without a gap from 0 or 1. Image files carry no time:
    the frame rate is ``fps``, else that of the annotation, else the number of
    frames over the annotated duration.

    Args:
        filename_tmpl: file name of a frame with one field for its number, as
            in mmaction.
        fps: frame rate of the extraction, if it is not that of the video.
        length_tolerance: accepted difference between the lengths of frames
            and annotation, as a share of the annotated duration; at least one
            second is accepted.

    Raises:
        DatasetError: a template without a field, or a number out of range.
    """

    filename_template: ClassVar[str] = '{video_id}'
    filename_tmpl: str = 'img_{:05d}.jpg'
    fps: float | None = None
    length_tolerance: float = 0.02

    def __post_init__(self) -> None:
        if len(re.findall(r'\{[^{}]*\}', self.filename_tmpl)) != 1:
            raise DatasetError('filename_tmpl needs one field for the number of the frame, for '
                               f"example 'img_{{:05d}}.jpg', got {self.filename_tmpl!r}.")
        if (self.fps is not None and self.fps <= 0) or self.length_tolerance < 0:
            raise DatasetError('fps must be above 0 and length_tolerance at least 0, got '
                               f'{self.fps} and {self.length_tolerance}.')

    def inspect(self, filename: str, video: VideoAnnotation) -> dict[str, Any]:
        """Return the header and what ``RawFrameDecode`` reads.

        Raises:
            VideoReadError: the folder cannot be used, see :func:`scan_frames`.
        """
        try:
            first, num_frames = scan_frames(filename, self.filename_tmpl)
        except VideoReadError as error:
            raise VideoReadError(f"{error}{like_named(filename, video.video_id, [''])}") from error
        header = VideoHeader(FrameClock(num_frames, self._fps(filename, num_frames, video)))
        self._check_length(filename, header, video)
        return dict(video_header=header, frame_dir=filename, filename_tmpl=self.filename_tmpl,
                    offset=first)

    def _fps(self, filename: str, num_frames: int, video: VideoAnnotation) -> float:
        fps = self.fps or video.fps
        if fps:
            return float(fps)
        if not video.duration_seconds:
            raise VideoReadError(
                f'{filename}: the frame rate of these frames is unknown. Write \'fps\' or '
                "'duration' into the annotation, or set source=dict(fps=...); without an "
                'annotation, give --fps.')
        return num_frames / video.duration_seconds

    def _check_length(self, filename: str, header: VideoHeader, video: VideoAnnotation) -> None:
        annotated = video.duration_seconds or header.duration_seconds
        if abs(header.duration_seconds - annotated) > max(1.0, self.length_tolerance * annotated):
            raise VideoReadError(
                f'{filename}: {count_of(header.num_frames, "frame")} at {header.fps:g} fps last '
                f'{header.duration_seconds:g} s, the annotation says {annotated:g} s. Set '
                'source=dict(fps=...) to the fps of the extraction, or extract them anew.')


def scan_frames(folder: str, filename_tmpl: str) -> tuple[int, int]:
    """Return the number of the first frame, 0 or 1, and the number of frames.

    The result is cached until the folder changes.

    Raises:
        VideoReadError: no such folder, no frame in it, another first number,
            or missing frames.
    """
    try:
        changed = os.stat(folder).st_mtime_ns
        return _scan(folder, filename_tmpl, changed)
    except VideoReadError:
        raise
    except OSError as error:
        raise VideoReadError(f'{folder}: no such folder of frames ({error.strerror}). Check '
                             'data_root, data_prefix and filename_template.') from error


@lru_cache(maxsize=4096)
def _scan(folder: str, filename_tmpl: str, _changed: int) -> tuple[int, int]:
    before, after = map(re.escape, re.split(r'\{[^{}]*\}', filename_tmpl))
    name = re.compile(f'{before}([0-9]+){after}')
    found = [match for match in map(name.fullmatch, os.listdir(folder)) if match]
    numbers = sorted(number for number, text in ((int(match[1]), match[0]) for match in found)
                     if filename_tmpl.format(number) == text)
    if not numbers:
        raise VideoReadError(f'{folder}: no file name matches {filename_tmpl!r}. Extract the '
                             'frames, or set source=dict(filename_tmpl=...).')
    if numbers[0] > 1:
        raise VideoReadError(f'{folder}: the first frame is number {numbers[0]}, expected 0 or '
                             '1. Extract the frames anew.')
    missing = sorted(set(range(numbers[0], numbers[-1])) - set(numbers))
    if missing:
        raise VideoReadError(
            f'{folder}: {count_of(len(missing), "missing frame")} before the last one, the first '
            f'is {filename_tmpl.format(missing[0])}. Extract the frames anew.')
    return numbers[0], len(numbers)
