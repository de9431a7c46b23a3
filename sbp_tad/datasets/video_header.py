"""What a video file says of itself before a frame of it is decoded."""
from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from functools import lru_cache

import av
import cv2

from sbp_tad.errors import UserError

try:
    from decord import DECORDError
except ImportError:  # no wheels for some platforms; PyAV and OpenCV pipelines work
    DECORDError = RuntimeError

# What mmaction's decoders raise on a file they cannot read. Decord: DECORDError
# and RuntimeError; PyAV: FFmpegError; OpenCV: ValueError for a length below 0,
# IndexError once no frame comes; any: OSError.
DECODER_ERRORS = (DECORDError, av.error.FFmpegError, cv2.error, OSError, RuntimeError,
                  ValueError, IndexError)


class VideoReadError(UserError, OSError):
    """A video file is missing or cannot be decoded."""


@dataclass(frozen=True)
class VideoHeader:
    """Length and rate of the first video stream of a file.

    ``num_frames`` counts the frames that decoding will show, not those the
    container claims.
    """

    num_frames: int
    fps: float

    @property
    def duration_seconds(self) -> float:
        """Length of what decoding will show."""
        return self.num_frames / self.fps


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


@lru_cache(maxsize=4096)
def _probe(filename: str, num_bytes: int, _mtime: int) -> VideoHeader:
    try:
        _refuse_cut_avi(filename, num_bytes)
        with av.open(filename) as container:
            if not container.streams.video:
                raise VideoReadError(f'{filename}: the file has no video stream.')
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
            # An edit list marks packets that no decoder shows; the frame
            # count of the container includes them (or is 0, as in mkv).
            num_frames = sum(packet.size > 0 and not packet.is_discard
                             for packet in container.demux(stream))
        # OpenCV searches for ever in a file of which no frame can be decoded.
        with av.open(filename) as container:
            next(container.decode(video=0), None)
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, VideoReadError):
            raise
        raise VideoReadError(f'{filename}: not a readable video ({error}). Replace the '
                             'file, or remove the video from the annotation.') from error
    if not num_frames or not rate:
        raise VideoReadError(f'{filename}: the video has no frames or no frame rate.')
    return VideoHeader(num_frames, float(rate))


def _refuse_cut_avi(filename: str, num_bytes: int) -> None:
    """Decord ends the process on an AVI that lacks its end, so refuse it."""
    with open(filename, 'rb') as file:
        head = file.read(12)
    if len(head) == 12 and head[:4] == b'RIFF' and head[8:] == b'AVI ':
        promised = struct.unpack('<I', head[4:8])[0] + 8
        if promised > num_bytes:
            raise VideoReadError(f'{filename}: the file is cut off ({num_bytes} of {promised} '
                                 'bytes). Copy it again.')
