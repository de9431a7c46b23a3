"""Sources of a stream's frames, and the choice of one frame per step."""
from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from sbp_tad.apis.errors import InferenceError
from sbp_tad.datasets.frame_clock import FrameClock
from sbp_tad.datasets.readers.video_decoding import stream_frames, upright_pixels
from sbp_tad.datasets.readers.video_header import probe_video
from sbp_tad.datasets.windows import WindowSize, num_sampled_frames

NumberedFrames = Iterator[tuple[int, Any]]


def same(frame: np.ndarray) -> np.ndarray:
    """Return the frame, which is an array of pixels already."""
    return frame


@dataclass(frozen=True)
class FrameStream:
    """Frames in the order in which they arrive.

    Args:
        fps: frames per second, the unit of strides.
        frames: (number, frame) by increasing number; a number is left out if
            its frame was dropped.
        pixels: converts a frame to (H, W, 3) uint8 RGB; called only for
            frames that stand for a step.
        clock: presentation times of a file's frames; None if frame ``n``
            begins at ``n / fps`` seconds.
    """

    fps: float
    frames: NumberedFrames
    pixels: Callable[[Any], np.ndarray] = same
    clock: FrameClock | None = None


def open_stream(source: str | Path | int | Iterable[np.ndarray], fps: float | None = None
                ) -> FrameStream:
    """Open a source; its frames are read on demand and not kept.

    Args:
        source: a video file, the index of a camera, or frames (H, W, 3) uint8 RGB.
        fps: frames per second of an iterable (required) and of a camera that
            does not report them. A file has its own times; for it this is the
            rate in which ``stride_frames`` counts.

    Raises:
        InferenceError: no such camera, fps missing or not above 0, another
            type of source; while reading, an item that is no frame.
        VideoReadError: a file that cannot be read.
    """
    if fps is not None and not fps > 0:
        raise InferenceError(f'fps must be above 0, got {fps}.')
    if isinstance(source, (str, Path)):
        header = probe_video(source)
        return FrameStream(fps or header.fps, stream_frames(str(source), header.times),
                           partial(upright_pixels, reformatter=VideoReformatter()), header.clock)
    if isinstance(source, int) and not isinstance(source, bool):
        return _open_camera(source, fps)
    if not isinstance(source, Iterable):
        raise InferenceError('a source must be a video file, the index of a camera or an '
                             f'iterable of frames, got {type(source).__name__}.')
    if fps is None:
        raise InferenceError(
            'an iterable of frames has no frame rate; give fps=..., frames per second.')
    return FrameStream(fps, enumerate(map(check_frame, source)))


def check_frame(frame: Any) -> np.ndarray:
    """Return the frame after a check.

    Raises:
        InferenceError: the frame is no (H, W, 3) array of uint8.
    """
    shape, dtype = getattr(frame, 'shape', None), getattr(frame, 'dtype', None)
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or shape[2] != 3 \
            or dtype != np.uint8 or not frame.size:
        what = type(frame).__name__ if shape is None else f'{dtype} of shape {tuple(shape)}'
        raise InferenceError(f'a frame must be an array (H, W, 3) of uint8 in RGB, got {what}.')
    return frame


def _open_camera(index: int, fps: float | None) -> FrameStream:
    camera = cv2.VideoCapture(index)
    if not camera.isOpened():
        raise InferenceError(f'camera {index} does not exist or is in use; give the index of '
                             'another camera, or a file.')
    fps = fps or camera.get(cv2.CAP_PROP_FPS)
    if not fps > 0:
        camera.release()
        raise InferenceError(f'camera {index} does not report its frame rate; give fps=..., '
                             'frames per second.')
    return FrameStream(fps, _camera_frames(camera, fps))


def _camera_frames(camera: cv2.VideoCapture, fps: float) -> NumberedFrames:
    """Yield frames numbered by the time of arrival: a camera drops those not read in time."""
    start, number = time.monotonic(), -1
    try:
        while True:
            there, frame = camera.read()
            if not there:
                return
            number = max(number + 1, int((time.monotonic() - start) * fps))
            yield number, np.ascontiguousarray(frame[:, :, ::-1])  # OpenCV's BGR to RGB
    finally:
        camera.release()


def sample_stream(stream: FrameStream, size: WindowSize) -> Iterator[Any]:
    """Yield the frame of each step: those that consecutive windows sample from a file.

    Step ``t`` shows the last frame that begins at or before the middle of its
    stride, second ``(t + 0.5) * stride / fps``. If that frame was dropped, it
    shows the one before. The last step may lie half outside and shows the
    last frame.

    Args:
        stream: frames and their times.
        size: of the windows.
    """
    stride, step, last = size.stride_at(stream.fps), 0, None
    num_steps = math.inf if stream.clock is None else \
        num_sampled_frames(stream.clock.end_seconds * stream.fps, stride)
    for number, frame in stream.frames:
        while step < num_steps and \
                (shown := _shown(stream, step, stride, size.num_frames)) <= number:
            yield frame if shown == number or last is None else last[1]
            step += 1
        last = number, frame
    if last is None:
        return
    if stream.clock is None:
        num_steps = num_sampled_frames(last[0] + 1, stride)
    while step < num_steps:
        yield last[1]
        step += 1


def _shown(stream: FrameStream, step: int, stride: float, num_frames: int) -> int:
    """Return the number of the frame shown in the middle of a step."""
    window, place = divmod(step, num_frames)  # as in a file: rounding must not part the two
    middle = num_frames * stride * window + (place + 0.5) * stride
    return int(middle) if stream.clock is None else \
        int(stream.clock.indices(np.array(middle), stream.fps))
