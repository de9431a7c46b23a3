"""Where a stream's frames come from, and which of them stand for its steps."""
from __future__ import annotations

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
from sbp_tad.datasets.readers.video_decoding import stream_frames, upright_pixels
from sbp_tad.datasets.readers.video_header import probe_video
from sbp_tad.datasets.windows import WindowSize, num_sampled_frames

NumberedFrames = Iterator[tuple[int, Any]]


def same(frame: np.ndarray) -> np.ndarray:
    """The frame, which is pixels already."""
    return frame


@dataclass(frozen=True)
class FrameStream:
    """Frames as they come.

    Args:
        fps: frames a second that the numbers count in.
        frames: (number, frame) by increasing number, from 0; a number may be
            left out where a frame was dropped.
        pixels: turns a frame into (H, W, 3) uint8 RGB; only those that stand
            for a step need it.
    """

    fps: float
    frames: NumberedFrames
    pixels: Callable[[Any], np.ndarray] = same


def open_stream(source: str | Path | int | Iterable[np.ndarray], fps: float | None = None
                ) -> FrameStream:
    """Open a source; its frames are read when they are asked for, none is kept.

    Args:
        source: a video file, the index of a camera, or frames (H, W, 3) uint8 RGB.
        fps: frames a second of an iterable (needed there) and of a camera
            that does not tell; a file knows its own.

    Raises:
        InferenceError: no such camera, fps that is missing or not above 0,
            something that is no source; while reading, an item that is no frame.
        VideoReadError: a file that cannot be read, or ends too early.
    """
    if fps is not None and not fps > 0:
        raise InferenceError(f'fps must be above 0, got {fps}.')
    if isinstance(source, (str, Path)):
        return FrameStream(probe_video(source).fps, enumerate(stream_frames(str(source))),
                           partial(upright_pixels, reformatter=VideoReformatter()))
    if isinstance(source, int) and not isinstance(source, bool):
        return _open_camera(source, fps)
    if not isinstance(source, Iterable):
        raise InferenceError('a source must be a video file, the index of a camera or an '
                             f'iterable of frames, got {type(source).__name__}.')
    if fps is None:
        raise InferenceError(
            'an iterable of frames does not know its frames a second; give fps=...')
    return FrameStream(fps, enumerate(map(check_frame, source)))


def check_frame(frame: Any) -> np.ndarray:
    """The frame, if it is one.

    Raises:
        InferenceError: it is no (H, W, 3) array of uint8.
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
        raise InferenceError(f'there is no camera {index}, or it is in use; give the index of '
                             'another one, or a file.')
    fps = fps or camera.get(cv2.CAP_PROP_FPS)
    if not fps > 0:
        camera.release()
        raise InferenceError(f'camera {index} does not tell its frames a second; give fps=...')
    return FrameStream(fps, _camera_frames(camera, fps))


def _camera_frames(camera: cv2.VideoCapture, fps: float) -> NumberedFrames:
    """Frames numbered by the clock: a camera drops those that nobody takes in time."""
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


def sample_stream(frames: NumberedFrames, fps: float, size: WindowSize) -> Iterator[Any]:
    """The frame of each step: those that windows one after the other sample from a file.

    Step ``t`` shows the middle of its stride, frame ``floor((t + 0.5) *
    stride)``; the next one stands for a frame that was dropped. The last step
    may lie half outside and shows the last frame.

    Args:
        frames: of :class:`FrameStream`.
        fps: of their numbers.
        size: of the windows.
    """
    stride, number, step, frame = size.stride_at(fps), -1, 0, None
    for number, frame in frames:
        while int(_middle(step, stride, size.num_frames)) <= number:
            yield frame
            step += 1
    while step < num_sampled_frames(number + 1, stride):
        yield frame
        step += 1


def _middle(step: int, stride: float, num_frames: int) -> float:
    """Middle of a step, counted from its window as in a file: rounding must not part the two."""
    window, place = divmod(step, num_frames)
    return num_frames * stride * window + (place + 0.5) * stride
