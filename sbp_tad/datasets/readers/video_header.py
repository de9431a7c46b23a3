"""What a video file says of itself before a frame of it is decoded."""
from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field, replace
from functools import lru_cache

import av
import cv2
import numpy as np

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.errors import VideoReadError

try:
    from decord import DECORDError
except ImportError:  # no wheels for some platforms; PyAV and OpenCV pipelines work
    DECORDError = RuntimeError

# What mmaction's decoders raise on a file they cannot read. Decord: DECORDError
# and RuntimeError; PyAV: DatasetError; OpenCV: ValueError for a length below 0,
# IndexError once no frame comes; any: OSError.
DECODER_ERRORS = (DECORDError, av.error.FFmpegError, cv2.error, OSError, RuntimeError,
                  ValueError, IndexError)


# Differences between annotation and file that are not worth a word.
FPS_TOLERANCE = 0.01  # relative
DURATION_TOLERANCE_SECONDS = 1.0


@dataclass(frozen=True)
class FrameTimes:
    """When each frame of a video stream is shown, in the stream's time base.

    Args:
        timestamps: (n,) int64, increasing: a frame's place is its number.
        key_frames: (n,) bool, where decoding can begin.
    """

    timestamps: np.ndarray
    key_frames: np.ndarray

    def key_frame_before(self, index: int) -> int | None:
        """Time stamp of the last key frame up to a frame; None: only the start of the file."""
        places = np.flatnonzero(self.key_frames[:index + 1])
        return int(self.timestamps[places[-1]]) if len(places) else None


@dataclass(frozen=True)
class VideoHeader:
    """Length and rate of the first video stream of a file.

    ``num_frames`` counts the frames that decoding will show, not those the
    container claims. ``times`` is None where the file does not tell them.
    """

    num_frames: int
    fps: float
    times: FrameTimes | None = field(default=None, repr=False, compare=False)

    @property
    def duration_seconds(self) -> float:
        """Length of what decoding will show."""
        return self.num_frames / self.fps


def open_container(filename: str) -> av.container.InputContainer:
    """Open a media file, whatever bytes its titles hold: they say nothing of its frames."""
    return av.open(filename, metadata_errors='replace')


def probe_video(filename: str | os.PathLike) -> VideoHeader:
    """Read the header of a local video file, its first frame, and count its packets.

    The result is remembered until the file changes.

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
    """Fill in fps and duration from the file where the annotation has none."""
    return replace(video, fps=video.fps or header.fps,
                   duration_seconds=video.duration_seconds or header.duration_seconds)


@lru_cache(maxsize=4096)
def _probe(filename: str, num_bytes: int, _mtime: int) -> VideoHeader:
    try:
        _refuse_cut_avi(filename, num_bytes)
        with open_container(filename) as container:
            if not container.streams.video:
                raise VideoReadError(f'{filename}: the file has no video stream.')
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise VideoReadError(f'{filename}: no decoder knows the codec of the video. '
                                     'Replace the file.')
            rate = stream.average_rate or stream.guessed_rate
            # An edit list marks packets that no decoder shows; the frame
            # count of the container includes them (or is 0, as in mkv).
            packets = [(packet.pts, packet.is_keyframe) for packet in container.demux(stream)
                       if packet.size > 0 and not packet.is_discard]
            times = None if _hides_times(container, stream) else _frame_times(packets)
        # OpenCV searches for ever in a file of which no frame can be decoded.
        with open_container(filename) as container:
            next(container.decode(video=0), None)
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, VideoReadError):
            raise
        raise VideoReadError(f'{filename}: not a readable video ({error}). Replace the '
                             'file, or remove the video from the annotation.') from error
    if not packets or not rate:
        raise VideoReadError(f'{filename}: the video has no frames or no frame rate.')
    return VideoHeader(len(packets), float(rate), times)


def _hides_times(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """AVI knows the order of decoding only, which is not that of showing with B-frames."""
    return container.format.name == 'avi' and stream.codec_context.has_b_frames


def _frame_times(packets: list[tuple[int | None, bool]]) -> FrameTimes | None:
    """Times of the frames in the order in which they are shown, if every frame has its own.

    Args:
        packets: time stamp and whether it is a key frame, of each packet.
    """
    timestamps = {timestamp for timestamp, _ in packets}
    if not packets or None in timestamps or len(timestamps) < len(packets):
        return None
    shown = np.array(sorted(packets), dtype=np.int64)
    return FrameTimes(shown[:, 0], shown[:, 1].astype(bool))


def _refuse_cut_avi(filename: str, num_bytes: int) -> None:
    """Decord ends the process on an AVI that lacks its end, so refuse it."""
    with open(filename, 'rb') as file:
        head = file.read(12)
    if len(head) == 12 and head[:4] == b'RIFF' and head[8:] == b'AVI ':
        promised = struct.unpack('<I', head[4:8])[0] + 8
        if promised > num_bytes:
            raise VideoReadError(f'{filename}: the file is cut off ({num_bytes} of {promised} '
                                 'bytes). Copy it again.')
