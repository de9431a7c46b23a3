"""Where a dataset's pixels come from: video files or folders of frames.

The key of ``data_prefix`` chooses the source (``video``, ``frames``, or
``features`` of :mod:`sbp_tad.datasets.readers.features`), ``source=dict(...)`` gives
its options.
"""
from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.datasets.readers.video_header import VideoHeader, probe_video, with_timing
from sbp_tad.datasets.windows import WindowSize, sliding_windows
from sbp_tad.structures import Window


@dataclass(frozen=True)
class VideoFiles:
    """One video file a video, read by mmaction's decoders."""

    filename_template: ClassVar[str] = '{video_id}.mp4'

    def inspect(self, filename: str, video: VideoAnnotation) -> dict[str, Any]:
        """What the transforms must know of the file, ``video_header`` among it.

        Raises:
            VideoReadError: the file cannot be used.
        """
        return dict(video_header=probe_video(filename))

    def window_size(self, num_frames: int, stride_frames: float | None,
                    target_fps: float | None) -> WindowSize:
        """The size of the dataset's windows."""
        return WindowSize(num_frames, stride_frames, target_fps)

    def windows(self, filename: str, video: VideoAnnotation, size: WindowSize,
                overlap: float | None) -> tuple[VideoAnnotation, list[Window]]:
        """Test windows that cover a video, and its annotation with fps and duration filled in.

        The file is opened only where the annotation lacks one of the two.

        Raises:
            VideoReadError: the file cannot be used.
        """
        if not (video.fps and video.duration_seconds):
            video = with_timing(video, self.inspect(filename, video)['video_header'])
        assert video.fps and video.duration_seconds
        return video, sliding_windows(video.video_id, size, video.fps,
                                      video.duration_seconds * video.fps, overlap)


@dataclass(frozen=True)
class FrameFolders(VideoFiles):
    """One folder of image files a video, read by mmaction's ``RawFrameDecode``.

    Frames are numbered without a gap from 0 or 1. A folder does not know its
    frames a second: they are ``fps``, else those of the annotation, else
    frames over annotated duration.

    Args:
        filename_tmpl: name of a frame, with one field for its number, as in
            mmaction.
        fps: at which the frames were extracted, if not the video's own.
        length_tolerance: share of the annotated duration, or a second if that
            is more, by which the frames may last longer or shorter.

    Raises:
        DatasetError: a template without a field, a number that cannot be.
    """

    filename_template: ClassVar[str] = '{video_id}'
    filename_tmpl: str = 'img_{:05d}.jpg'
    fps: float | None = None
    length_tolerance: float = 0.02

    def __post_init__(self) -> None:
        if len(re.findall(r'\{[^{}]*\}', self.filename_tmpl)) != 1:
            raise DatasetError('filename_tmpl needs one field for the number of the frame, such '
                               f"as 'img_{{:05d}}.jpg', got {self.filename_tmpl!r}.")
        if (self.fps is not None and self.fps <= 0) or self.length_tolerance < 0:
            raise DatasetError('fps must be above 0 and length_tolerance not below, got '
                               f'{self.fps} and {self.length_tolerance}.')

    def inspect(self, filename: str, video: VideoAnnotation) -> dict[str, Any]:
        """Header and what ``RawFrameDecode`` reads.

        Raises:
            VideoReadError: see there.
        """
        first, num_frames = scan_frames(filename, self.filename_tmpl)
        header = VideoHeader(num_frames, self._fps(filename, num_frames, video))
        self._check_length(filename, header, video)
        return dict(video_header=header, frame_dir=filename, filename_tmpl=self.filename_tmpl,
                    offset=first)

    def _fps(self, filename: str, num_frames: int, video: VideoAnnotation) -> float:
        fps = self.fps or video.fps
        if fps:
            return float(fps)
        if not video.duration_seconds:
            raise VideoReadError(
                f'{filename}: neither the annotation nor the config says how many frames a second '
                "these are. Write 'fps' or 'duration' into the annotation, or set "
                'source=dict(fps=...).')
        return num_frames / video.duration_seconds

    def _check_length(self, filename: str, header: VideoHeader, video: VideoAnnotation) -> None:
        annotated = video.duration_seconds or header.duration_seconds
        if abs(header.duration_seconds - annotated) > max(1.0, self.length_tolerance * annotated):
            raise VideoReadError(
                f'{filename}: {header.num_frames} frames at {header.fps:g} fps last '
                f'{header.duration_seconds:g} s, the annotation says {annotated:g} s. Set '
                'source=dict(fps=...) to the fps of the extraction, or extract them anew.')


def scan_frames(folder: str, filename_tmpl: str) -> tuple[int, int]:
    """Number of the first frame, 0 or 1, and how many there are.

    The result is remembered until the folder changes.

    Raises:
        VideoReadError: no such folder, no frame in it, another first
            number, or frames missing in between.
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
        raise VideoReadError(f'{folder}: no file is named like {filename_tmpl!r}. Extract the '
                             'frames, or set source=dict(filename_tmpl=...).')
    if numbers[0] > 1:
        raise VideoReadError(f'{folder}: the first frame is number {numbers[0]}, expected 0 or '
                             '1. Extract the frames anew.')
    missing = sorted(set(range(numbers[0], numbers[-1])) - set(numbers))
    if missing:
        raise VideoReadError(
            f'{folder}: {len(missing)} frames are missing before the last one, the first is '
            f'{filename_tmpl.format(missing[0])}. Extract the frames anew.')
    return numbers[0], len(numbers)
