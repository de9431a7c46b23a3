"""What travels through the pipeline: a window of a video and its sample."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from mmengine.structures import BaseDataElement, InstanceData

Number = TypeVar('Number')  # float, numpy array or torch tensor


@dataclass(frozen=True)
class Window:
    """A run of sampled frames of one video and where it lies in time.

    Sampled frame ``i`` stands for the half-open time span
    ``[start_frame + i * stride_frames, start_frame + (i + 1) *
    stride_frames) / fps`` seconds. A grid step of a head spans
    ``frames_per_step`` sampled frames; grid coordinate 0 is the start of the
    window, so step ``g`` covers ``[g, g + 1)`` and its centre is ``g + 0.5``.

    Args:
        video_id: key of the video in the annotation.
        start_frame: first video frame of the window; may be fractional when
            a target fps gives a fractional stride.
        num_frames: sampled frames T, padding included.
        stride_frames: video frames between two sampled frames.
        fps: frames a second of the video that the two above count in.
        num_valid_frames: sampled frames that lie inside the video; the rest
            is padding at the end.
        margin_frames: video frames before and after the time that they stand
            for which the first and the last one have seen too. 0 for frames;
            a pre-extracted feature has often seen more than one stride.
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
        """Where the window begins in the video."""
        return self.start_frame / self.fps

    @property
    def seconds_per_frame(self) -> float:
        """Seconds that one sampled frame stands for."""
        return self.stride_frames / self.fps

    @property
    def first_index(self) -> int:
        """Place of the first sampled frame among all of the video's at this stride, from 0."""
        return round(self.start_frame / self.stride_frames)

    @property
    def valid_end_seconds(self) -> float:
        """Where the part of the window that lies in the video ends."""
        return self.start_seconds + self.num_valid_frames * self.seconds_per_frame

    @property
    def seen_seconds(self) -> tuple[float, float]:
        """First and last moment of the video that the window shows: actions are cut here."""
        margin = self.margin_frames / self.fps
        return max(0.0, self.start_seconds - margin), self.valid_end_seconds + margin

    def seconds_to_grid(self, seconds: Number, frames_per_step: float) -> Number:
        """Video time in seconds to grid units, any array type."""
        return (seconds - self.start_seconds) / (self.seconds_per_frame * frames_per_step)

    def grid_to_seconds(self, grid: Number, frames_per_step: float) -> Number:
        """Grid units to video time in seconds, any array type."""
        return grid * (self.seconds_per_frame * frames_per_step) + self.start_seconds


class TADDataSample(BaseDataElement):
    """One window on its way through the detector.

    Meta information: ``window`` (:class:`Window`), ``video_id`` and
    ``error`` (``None``, or the sentence that says why the window could not
    be read; such a sample has no input and gets no predictions). A prediction
    adds ``post_processing``, the detector's rules of suppression
    (:class:`sbp_tad.segments.merging.PostProcessing`).

    ``gt_instances``: ``segments_seconds`` (N, 2) float64 in video time and
    ``labels`` (N,) int64. ``pred_instances``: the same two and ``scores``
    (N,).
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
    """A working window and its history on their way through an online detector.

    The input of the sample has M memory frames, oldest first, and then the T
    frames of the working window.

    Meta information: ``window`` (:class:`Window`) of the T working frames,
    ``video_id`` and ``error``, as of :class:`TADDataSample`.

    Data: ``memory_mask`` (M,) bool, True where the video has that frame of
    history; ``frame_targets`` (T, 1 + classes) float, 1 for each class that a
    frame shows and column 0 background; ``frame_valid`` (T,) bool, False for
    frames that no loss and no metric may count (ambiguous, or past the end).
    Predicted: ``pred_scores`` (T, 1 + classes) float32, a distribution a
    frame; absent from an unreadable sample.
    """
