"""Windows of videos and data samples of windows."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from mmengine.structures import BaseDataElement, InstanceData

Number = TypeVar('Number', float, np.ndarray, torch.Tensor)


@dataclass(frozen=True)
class Window:
    """Consecutive sampled frames of one video, with their times.

    Sampled frame ``i`` stands for the half-open time span
    ``[start_frame + i * stride_frames, start_frame + (i + 1) *
    stride_frames) / fps`` seconds. A grid step of a head spans
    ``frames_per_step`` sampled frames. Grid coordinate 0 is the start of the
    window, so step ``g`` covers ``[g, g + 1)`` and its centre is ``g + 0.5``.

    Args:
        video_id: key of the video in the annotation.
        start_frame: first video frame of the window; may be fractional if a
            target fps gives a fractional stride.
        num_frames: T, number of sampled frames, padding included.
        stride_frames: distance of two sampled frames in video frames.
        fps: frames per second of the video.
        num_valid_frames: number of sampled frames inside the video; the rest
            is padding at the end.
        margin_frames: video frames that the first and the last sampled item
            have seen beyond their time span. 0 for frames; a pre-extracted
            feature has often seen more than one stride.
    """

    video_id: str
    start_frame: float
    num_frames: int
    stride_frames: float
    fps: float
    num_valid_frames: int
    margin_frames: float = 0.0

    @property
    def start_seconds(self) -> float:
        """Start of the window in seconds of the video."""
        return self.start_frame / self.fps

    @property
    def seconds_per_frame(self) -> float:
        """Seconds that one sampled frame stands for."""
        return self.stride_frames / self.fps

    @property
    def first_index(self) -> int:
        """Index of the first sampled frame among those of the whole video at this stride."""
        return round(self.start_frame / self.stride_frames)

    @property
    def valid_end_seconds(self) -> float:
        """End of the part of the window inside the video, in seconds."""
        return self.start_seconds + self.num_valid_frames * self.seconds_per_frame

    @property
    def seen_seconds(self) -> tuple[float, float]:
        """First and last second of the video that the window shows; actions are clipped there."""
        margin = self.margin_frames / self.fps
        return max(0.0, self.start_seconds - margin), self.valid_end_seconds + margin

    def seconds_to_grid(self, seconds: Number, frames_per_step: float) -> Number:
        """Convert video time in seconds to grid units, any array type."""
        return (seconds - self.start_seconds) / (self.seconds_per_frame * frames_per_step)

    def grid_to_seconds(self, grid: Number, frames_per_step: float) -> Number:
        """Convert grid units to video time in seconds, any array type."""
        return grid * (self.seconds_per_frame * frames_per_step) + self.start_seconds


HISTORIES = ('working', 'oldest', 'spread')


def history_indices(start: int, memory_frames: int, memory_stride: int,
                    history_from: str = 'working') -> tuple[np.ndarray, np.ndarray]:
    """Return the history of a working window of online detection.

    ``oldest = max(0, start - memory_frames * memory_stride)`` is the first
    frame that it may hold. Away from the start of the video ``'working'`` and
    ``'oldest'`` give the same frames. LSTR (Xu et al., NeurIPS 2021) tests
    with ``'oldest'`` and trains with ``'spread'``.

    Args:
        start: first frame of the working window, from 0.
        memory_frames: M, frames of a full history.
        memory_stride: distance of two frames of a full history.
        history_from: ``'working'``: ``start - memory_stride * k`` for k =
            M...1. ``'oldest'``: ``oldest + memory_stride * k`` up to the
            window. ``'spread'``: M frames evenly from ``oldest`` to ``start -
            1``, rounded down; early in a video they repeat.

    Returns:
        (M,) int64 frames, oldest first, and (M,) bool, False for those that do
        not exist; a history without any real frame begins the video.
    """
    oldest = max(0, start - memory_frames * memory_stride)
    if history_from == 'working':
        frames = start - memory_stride * np.arange(memory_frames, 0, -1)
        return frames, frames >= 0
    if history_from == 'spread':
        frames = np.linspace(oldest, start - 1, memory_frames).astype(np.int64)
        # LSTR masks the repetitions of the first frame, except for the last one
        missing = max(0, int((frames == 0).sum()) - 1) if start else memory_frames
    else:
        real = np.arange(oldest, start, memory_stride)
        missing = memory_frames - len(real)
        frames = np.pad(real, (missing, 0))
    return frames, np.arange(memory_frames) >= missing


class TADDataSample(BaseDataElement):
    """Data sample of one window for a temporal detector.

    Meta information: ``window`` (:class:`Window`), ``video_id``,
    ``duration_seconds`` of the video (None if unknown) and ``error`` (None, or
    the reason why the window could not be read; such a sample has no input and
    gets no predictions). A prediction adds
    ``post_processing``, the detector's rules of suppression
    (:class:`sbp_tad.segments.merging.PostProcessing`).

    ``gt_instances``: ``segments_seconds`` (N, 2) float64 in video time and
    ``labels`` (N,) int64. ``pred_instances``: the same and ``scores`` (N,).
    """

    @property
    def gt_instances(self) -> InstanceData:
        """Annotated actions of the window."""
        return self._gt_instances

    @gt_instances.setter
    def gt_instances(self, value: InstanceData) -> None:
        """Set the annotated actions."""
        self.set_field(value, '_gt_instances', dtype=InstanceData)

    @property
    def pred_instances(self) -> InstanceData:
        """Detected actions of the window."""
        return self._pred_instances

    @pred_instances.setter
    def pred_instances(self, value: InstanceData) -> None:
        """Set the detected actions."""
        self.set_field(value, '_pred_instances', dtype=InstanceData)


class OnlineDataSample(BaseDataElement):
    """Data sample of a working window and its history for an online detector.

    The input of the sample has M history frames, oldest first, then the T
    frames of the working window. A test sample without ``memory_mask`` is a
    whole video from its first frame on, which the head cuts into windows.

    Meta information: ``window`` (:class:`Window`) of the T working frames,
    ``video_id`` and ``error``, as of :class:`TADDataSample`.

    Data: ``memory_mask`` (M,) bool, True for history frames that exist;
    ``frame_targets`` (T, 1 + classes) float, 1 for each class that a frame
    shows, column 0 background; ``frame_valid`` (T,) bool, False for frames
    that neither losses nor metrics count (ambiguous, or after the end).
    Predicted: ``pred_scores`` (T, 1 + classes) float32, one distribution per
    frame; absent from an unreadable sample.
    """
