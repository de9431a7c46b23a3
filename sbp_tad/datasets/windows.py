"""Positions of windows and the actions that they keep: pure functions.

A window covers ``num_frames * stride_frames`` frames of the video, its span.
Positions are counted in frames and may be fractional. A frame is a unit of time
here, ``1 / fps`` seconds, also in a file of variable frame rate; only
:func:`frame_indices` chooses frames of the file, by its clock.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.frame_clock import FrameClock
from sbp_tad.structures import Window

# Frame positions are products of decimal fps and seconds; a ceil must not count one more
# frame for the last bit of such a product.
_ROUNDING_FRAMES = 1e-6
# An annotation rounds durations to some decimals; a file counts whole frames. Without this the
# last window of both would begin at frames 87.9996 and 88, and sample other frames.
_DURATION_ROUNDING_FRAMES = 0.05
_MAX_DRAWS = 200


@dataclass(frozen=True)
class WindowSize:
    """Number of frames that a window samples, and their distance.

    Args:
        num_frames: sampled frames of a window, T.
        stride_frames: distance of two sampled frames in video frames, or
        target_fps: sampled frames per second. Exactly one of the two is given.

    Raises:
        DatasetError: a value is not above 0, or both or neither are given.
    """

    num_frames: int
    stride_frames: float | None = None
    target_fps: float | None = None

    def __post_init__(self) -> None:
        if (self.stride_frames is None) == (self.target_fps is None):
            raise DatasetError(
                'Give exactly one of stride_frames and target_fps, got '
                f'stride_frames={self.stride_frames} and target_fps={self.target_fps}.')
        for name in ('num_frames', 'stride_frames', 'target_fps'):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise DatasetError(f'{name} must be above 0, got {value!r}.')
        if self.num_frames != int(self.num_frames):
            raise DatasetError(f'num_frames must be a whole number, got {self.num_frames!r}.')

    def stride_at(self, fps: float) -> float:
        """Return the distance of two sampled frames in frames of a video of that fps."""
        if self.stride_frames is not None:
            return float(self.stride_frames)
        assert self.target_fps is not None  # exactly one of both is given
        return float(fps / self.target_fps)

    def window(self, video_id: str, start_frame: float, fps: float,
               video_frames: float) -> Window:
        """Return the window from ``start_frame`` on, in a video of ``video_frames`` frames."""
        stride = self.stride_at(fps)
        valid = num_valid_frames(start_frame, self.num_frames, stride, video_frames)
        return Window(video_id, float(start_frame), self.num_frames, stride, float(fps), valid)


def variable_rate_note(filename: str, clock: FrameClock, size: WindowSize) -> str | None:
    """Return the rate in which a stride counts in a file of variable rate; None elsewhere.

    The caller has checked that no annotation states a rate.
    """
    if clock.is_even or size.stride_frames is None:
        return None
    return (f'{filename} has a variable frame rate, and no fps is given: stride_frames counts in '
            f'1/{clock.fps:g} s, the most common distance of its frames. If the training counted '
            'in another rate, set fps in the annotation, --fps of the tools for inference, or '
            'target_fps in place of stride_frames. Other files of variable rate are not named.')


def num_valid_frames(start_frame: float, num_frames: int, stride_frames: float,
                     video_frames: float) -> int:
    """Return the number of sampled frames of a window that begin inside the video, 0 to T."""
    sampled = num_sampled_frames(video_frames - start_frame, stride_frames)
    return int(np.clip(sampled, 0, num_frames))


def num_sampled_frames(video_frames: float, stride_frames: float) -> int:
    """Return the number of frames sampled from ``video_frames``: one per stride that begins."""
    return int(np.ceil(video_frames / stride_frames - _ROUNDING_FRAMES))


def sliding_window_starts(num_frames: float, span_frames: float, overlap: float) -> np.ndarray:
    """Return the starts of windows that together cover a video, its tail included.

    Neighbours share at least ``overlap`` of their span; the last window ends
    where the video ends. A video shorter than the span gets one window.

    Args:
        num_frames: length of the video in frames.
        span_frames: frames that a window covers.
        overlap: share in [0, 1) that two neighbours have in common, at most
            all but one frame.

    Returns:
        (n,) float64, increasing, in frames.

    Raises:
        DatasetError: overlap outside [0, 1).
    """
    if not 0 <= overlap < 1:
        raise DatasetError(f'overlap must lie in [0, 1), got {overlap!r}.')
    last = num_frames - span_frames
    if last <= 0:
        return np.zeros(1)
    step = max(min(1.0, span_frames), span_frames * (1 - overlap))
    num_steps = int(np.ceil(last / step - _ROUNDING_FRAMES))
    return np.append(np.arange(max(num_steps, 1)) * step, last)


def sliding_windows(video_id: str, size: WindowSize, fps: float, video_frames: float,
                    overlap: float | None) -> list[Window]:
    """Return windows that together cover a video, see :func:`sliding_window_starts`.

    Without an ``overlap`` they tile it: each begins at the end of the one
    before, every sampled frame is in exactly one, and the last is padded. A
    length within 0.05 of a whole number of frames counts as that number.
    """
    if abs(video_frames - round(video_frames)) <= _DURATION_ROUNDING_FRAMES:
        video_frames = float(round(video_frames))
    span = size.num_frames * size.stride_at(fps)
    if overlap is None:
        num_frames = num_sampled_frames(video_frames, size.stride_at(fps))
        starts = span * np.arange(max(1, -(-num_frames // size.num_frames)))
    else:
        starts = sliding_window_starts(video_frames, span, overlap)
    return [size.window(video_id, start, fps, video_frames) for start in starts]


def inside_share(segments: np.ndarray, start: float, end: float) -> np.ndarray:
    """Return the share of each segment that lies in [start, end].

    A segment longer than the window counts as if it were as long as the
    window: a window wholly inside an action has share 1.

    Args:
        segments: (N, 2) in the unit of ``start`` and ``end``.

    Returns:
        (N,) float64 in [0, 1].
    """
    overlap = np.minimum(segments[:, 1], end) - np.maximum(segments[:, 0], start)
    length = np.minimum(segments[:, 1] - segments[:, 0], end - start)
    return np.clip(overlap, 0, None) / np.maximum(length, np.finfo(np.float64).tiny)


def clip_segments(segments: np.ndarray, start: float, end: float, min_keep_share: float
                  ) -> tuple[np.ndarray, np.ndarray]:
    """Clip segments to a window, or drop them.

    Args:
        segments: (N, 2) in the unit of ``start`` and ``end``.
        min_keep_share: segments with a smaller share inside, and those wholly
            outside, are dropped.

    Returns:
        Kept segments (K, 2), clipped, and a mask of the kept ones, (N,) bool.
    """
    if end <= start:
        return segments[:0], np.zeros(len(segments), dtype=bool)
    share = inside_share(segments, start, end)
    # a share that equals the minimum may come out a rounding error below it
    kept = (share > 0) & (share >= min_keep_share - 1e-9)
    return segments[kept].clip(start, end), kept


def draw_window_start(rng: np.random.Generator, segments_frames: np.ndarray,
                      video_frames: float, span_frames: float, min_action_share: float) -> float:
    """Draw the start of a training window.

    One action is drawn, then uniformly one of the starts inside the video at
    which the window holds ``min_action_share`` of that action (see
    :func:`inside_share`); without actions any start inside the video.

    Args:
        segments_frames: (N, 2) actions inside [0, ``video_frames``].
        video_frames: length of the video.
        span_frames: frames that a window covers.

    Returns:
        First frame of the window; 0 in a video shorter than the span.
    """
    last = max(0.0, video_frames - span_frames)
    first = 0.0
    if len(segments_frames):
        start, end = segments_frames[rng.integers(len(segments_frames))]
        needed = min_action_share * min(end - start, span_frames)
        first = np.clip(start + needed - span_frames, 0, last)
        last = np.clip(end - needed, first, last)
    return float(rng.uniform(first, last))


def draw_any_start(rng: np.random.Generator, segments_steps: np.ndarray, video_steps: int,
                   span_steps: int, margin_steps: float, min_share: float) -> int:
    """Draw the start of a training window as ActionFormer does.

    Uniformly a start inside the video, again until the window holds
    ``min_share`` of any action (see :func:`inside_share`), at most 200 times.
    :func:`draw_window_start` prefers windows with few actions; this does not.

    Args:
        segments_steps: (N, 2) actions in steps.
        video_steps: length of the video.
        span_steps: steps that a window covers, at most ``video_steps``.
        margin_steps: what a window shows beyond its first and last step.

    Returns:
        First step of the window.
    """
    for _ in range(_MAX_DRAWS):
        first = int(rng.integers(video_steps - span_steps + 1))
        share = inside_share(segments_steps, first - margin_steps,
                             first + span_steps + margin_steps)
        if (share >= min_share).any():
            break
    return first


def frame_indices(window: Window, clock: FrameClock, steps: np.ndarray | None = None,
                  frame: str = 'middle') -> np.ndarray:
    """Return the frames of the file that a window samples.

    Sampled frame ``i`` is the one shown in the middle of the time that it
    stands for. The clock of the file converts seconds, so that a file of
    another fps, or of variable frame rate, is read at the right times. After
    its end the last frame repeats.

    Args:
        clock: of the file.
        steps: sampled frames counted from the start of the window, negative
            before it; by default those of the window.
        frame: ``'first'`` is the first frame of the time that a sampled frame
            stands for, instead of the one in the middle.

    Returns:
        (T,), or as many as ``steps``, int64 in [0, ``clock.num_frames`` - 1].
    """
    steps = np.arange(window.num_frames) if steps is None else steps
    # half a frame after its start: rounding cannot give the frame before
    within = 0.5 / window.stride_frames if frame == 'first' else 0.5
    return clock.indices(window.start_frame + (steps + within) * window.stride_frames, window.fps)


def trim_window(window: Window, duration_seconds: float) -> Window:
    """Return the window without valid frames beyond the end of the video."""
    valid = num_valid_frames(window.start_frame, window.num_frames, window.stride_frames,
                             duration_seconds * window.fps)
    return replace(window, num_valid_frames=min(valid, window.num_valid_frames))
