"""Video files as the source of a dataset's frames.

The key of ``data_prefix`` chooses the source: ``video`` for video files,
``frames`` for :mod:`sbp_tad.datasets.readers.frame_folders`, ``features`` for
:mod:`sbp_tad.datasets.readers.features`. ``source=dict(...)`` sets its options.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.datasets.file_names import VIDEO_SUFFIXES, like_named
from sbp_tad.datasets.readers.video_header import probe_video, with_timing
from sbp_tad.datasets.windows import WindowSize, sliding_windows
from sbp_tad.structures import Window


@dataclass(frozen=True)
class VideoFiles:
    """One video file per video, read by a decoder of the pipeline."""

    filename_template: ClassVar[str] = '{video_id}.mp4'

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
            video = with_timing(video, self.inspect(filename, video)['video_header'])
        assert video.fps and video.duration_seconds
        return video, sliding_windows(video.video_id, size, video.fps,
                                      video.duration_seconds * video.fps, overlap)
