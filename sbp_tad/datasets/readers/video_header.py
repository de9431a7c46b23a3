"""Headers of video files: length, rate and presentation times, without decoding."""
from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field, replace
from functools import lru_cache

import av
import cv2

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.datasets.frame_clock import FrameClock
from sbp_tad.datasets.readers.decoder_limits import misreading_decoders
from sbp_tad.datasets.readers.display_matrix import display_matrix, orientation
from sbp_tad.datasets.readers.frame_times import (
    FrameTimes,
    presentation,
    read_timing,
    video_stream,
)

try:
    from decord import DECORDError
except ImportError:  # no wheels for some platforms; PyAV and OpenCV pipelines work
    DECORDError = RuntimeError

# Errors of mmaction's decoders on a file that they cannot read. Decord: DECORDError and
# RuntimeError; PyAV: FFmpegError; OpenCV: ValueError for a length below 0, IndexError
# after the last frame; all: OSError.
DECODER_ERRORS = (DECORDError, av.error.FFmpegError, cv2.error, OSError, RuntimeError,
                  ValueError, IndexError)


# Differences between annotation and file up to these are not reported.
FPS_TOLERANCE = 0.01  # relative
DURATION_TOLERANCE_SECONDS = 1.0


@dataclass(frozen=True)
class VideoHeader:
    """Timing of a video: of the first video stream of a file that is no cover picture.

    Args:
        clock: when each frame is shown. It counts the frames that decoding
            shows, not those that the container promises.
        times: time stamps for seeking; None if the file has none.
        first_stream: the stream is the first video stream of the file.
        misread_by: decoders of mmaction2 that show wrong frames of the file, and why.
    """

    clock: FrameClock
    times: FrameTimes | None = field(default=None, repr=False, compare=False)
    first_stream: bool = True
    misread_by: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def num_frames(self) -> int:
        """Number of frames that decoding shows."""
        return self.clock.num_frames

    @property
    def fps(self) -> float:
        """Frames per second, see :class:`FrameClock`."""
        return self.clock.fps

    @property
    def duration_seconds(self) -> float:
        """End of the last frame on the time line of a player."""
        return self.clock.end_seconds


def open_container(filename: str) -> av.container.InputContainer:
    """Open a media file; titles in an unknown encoding do not matter."""
    return av.open(filename, metadata_errors='replace')


def probe_video(filename: str | os.PathLike) -> VideoHeader:
    """Read the header of a local video file, the times of its packets and its first frame.

    The result is cached until the file changes.

    Raises:
        VideoReadError: the file is missing, is no video or is cut off.
    """
    try:
        stat = os.stat(filename)
    except OSError as error:
        raise VideoReadError(f'{filename}: no such video file ({error.strerror}). Check '
                             'data_root, data_prefix and filename_template.') from error
    return _probe(os.fspath(filename), stat.st_size, stat.st_mtime_ns)


def with_timing(video: VideoAnnotation, header: VideoHeader) -> VideoAnnotation:
    """Fill in fps and duration from the file if the annotation lacks them."""
    return replace(video, fps=video.fps or header.fps,
                   duration_seconds=video.duration_seconds or header.duration_seconds)


@lru_cache(maxsize=4096)
def _probe(filename: str, num_bytes: int, _mtime: int) -> VideoHeader:
    try:
        _refuse_cut_avi(filename, num_bytes)
        with open_container(filename) as container:
            stream = video_stream(container)
            if stream.codec_context is None:
                raise VideoReadError(f'{filename}: no decoder knows the codec of the video. '
                                     'Replace the file.')
            timing = read_timing(container, stream)
            first_stream = stream.index == container.streams.video[0].index
        # OpenCV searches for ever in a file of which no frame can be decoded.
        with open_container(filename) as container:
            first = next(container.decode(video_stream(container)), None)
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, VideoReadError):
            raise
        raise VideoReadError(f'{filename}: not a readable video ({error}). Replace the '
                             'file, or remove the video from the annotation.') from error
    if not timing.packets or not timing.rates:
        raise VideoReadError(f'{filename}: the video has no frames or no frame rate. Replace the '
                             'file, or remove the video from the annotation.')
    clock, times = presentation(timing, None if first is None else first.pts)
    shown = orientation(None if first is None else display_matrix(first))
    return VideoHeader(clock, times, first_stream,
                       misreading_decoders(timing, clock, times, shown))


def _refuse_cut_avi(filename: str, num_bytes: int) -> None:
    """Refuse an AVI that lacks its end: decord ends the process on it."""
    with open(filename, 'rb') as file:
        head = file.read(12)
    if len(head) == 12 and head[:4] == b'RIFF' and head[8:] == b'AVI ':
        promised = struct.unpack('<I', head[4:8])[0] + 8
        if promised > num_bytes:
            raise VideoReadError(f'{filename}: the file is cut off ({num_bytes} of {promised} '
                                 'bytes). Copy it again.')
