"""Sources of a stream, and the selection of the frames of its steps."""
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
    """Return the frame, which already consists of pixels."""
    return frame


@dataclass(frozen=True)
class FrameStream:
    """Numbered frames of a stream, in order of arrival.

    Args:
        fps: frame rate that the numbers refer to, per second.
        frames: pairs (number, frame) by increasing number, from 0; the number
            of a dropped frame is left out.
        pixels: converts a frame to (H, W, 3) uint8 RGB; called only for the
            frames of steps.
    """

    fps: float
    frames: NumberedFrames
    pixels: Callable[[Any], np.ndarray] = same


def open_stream(source: str | Path | int | Iterable[np.ndarray], fps: float | None = None
                ) -> FrameStream:
    """Open a source; frames are read on demand and not kept.

    Args:
        source: a video file, the index of a camera, or frames (H, W, 3) uint8 RGB.
        fps: frames per second of an iterable (required) and of a camera that
            does not report it; a file states its own.

    Raises:
        InferenceError: the camera does not exist, ``fps`` is missing or not
            above 0, or the type of the source is not accepted; while reading,
            an item is not a frame.
        VideoReadError: the file cannot be read, or ends too early.
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
            'an iterable of frames has no frame rate; give fps=..., in frames per second.')
    return FrameStream(fps, enumerate(map(check_frame, source)))


def check_frame(frame: Any) -> np.ndarray:
    """Return the frame if it is valid.

    Raises:
        InferenceError: it is not an array (H, W, 3) of uint8.
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
        raise InferenceError(f'camera {index} does not report its frame rate; give fps=...')
    return FrameStream(fps, _camera_frames(camera, fps))


def _camera_frames(camera: cv2.VideoCapture, fps: float) -> NumberedFrames:
    """Yield frames numbered by the clock, because a camera drops frames that are read late."""
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
    """Yield the frame of each step, the same frames that adjacent windows sample from a file.

    Step ``t`` takes the middle of its stride, frame ``floor((t + 0.5) *
    stride)``; if that frame was dropped, the next one. The last step may reach
    past the end and takes the last frame.

    Args:
        frames: numbered frames of :class:`FrameStream`.
        fps: frame rate of their numbers.
        size: size of the windows.
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
    """Return the middle of a step, computed from its window so that it rounds as in a file."""
    window, place = divmod(step, num_frames)
    return num_frames * stride * window + (place + 0.5) * stride
