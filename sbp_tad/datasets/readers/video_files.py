"""Video files as the source of a dataset's frames.

The key of ``data_prefix`` chooses the source: ``video`` for video files,
``frames`` for :mod:`sbp_tad.datasets.readers.frame_folders`, ``features`` for
:mod:`sbp_tad.datasets.readers.features`. ``source=dict(...)`` sets its options.
"""
from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mmengine.logging import print_log

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.datasets.file_names import VIDEO_SUFFIXES, like_named
from sbp_tad.datasets.readers.video_header import VideoHeader, probe_video, with_timing
from sbp_tad.datasets.windows import WindowSize, sliding_windows, variable_rate_note
from sbp_tad.structures import Window


@dataclass(frozen=True)
class VideoFiles:
    """One video file per video, read by a decoder of the pipeline."""

    filename_template: ClassVar[str] = '{video_id}.mp4'

    # Holds the note on the first file of variable rate: later ones are not named.
    _notes: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def inspect(self, filename: str, video: VideoAnnotation) -> dict[str, Any]:
        """Return what the transforms must know about the file: ``video_header`` and more.

        Raises:
            VideoReadError: the file cannot be used.
        """
        try:
            return dict(video_header=probe_video(filename))
        except VideoReadError as error:
            hint = like_named(filename, video.video_id, VIDEO_SUFFIXES)
            raise VideoReadError(f'{error}{hint}') from error

    def window_size(self, num_frames: int, stride_frames: float | None,
                    target_fps: float | None) -> WindowSize:
        """Return the size of the dataset's windows."""
        return WindowSize(num_frames, stride_frames, target_fps)

    def windows(self, filename: str, video: VideoAnnotation, size: WindowSize,
                overlap: float | None) -> tuple[VideoAnnotation, list[Window]]:
        """Return the annotation with fps and duration, and the test windows that cover the video.

        The file is opened only if the annotation lacks fps or duration.

        Raises:
            VideoReadError: the file cannot be used.
        """
        if not (video.fps and video.duration_seconds):
            header = self.inspect(filename, video)['video_header']
            self.note_rate(filename, video, header, size)
            video = with_timing(video, header)
        assert video.fps and video.duration_seconds
        return video, sliding_windows(video.video_id, size, video.fps,
                                      video.duration_seconds * video.fps, overlap)

    def note_rate(self, filename: str, video: VideoAnnotation, header: VideoHeader,
                  size: WindowSize) -> None:
        """Warn once if a stride counts in the rate of a file whose rate varies."""
        note = None if video.fps or self._notes else \
            variable_rate_note(filename, header.clock, size)
        if note:
            self._notes.append(note)
            print_log(note, 'current', logging.WARNING)
