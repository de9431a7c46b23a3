"""Plan of the clips that are encoded into the features of a video, and of the reads."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from sbp_tad.datasets import FeatureGrid
from sbp_tad.datasets.windows import WindowSize
from sbp_tad.structures import Window


@dataclass(frozen=True)
class ClipPlan:
    """Clips of ``clip_frames`` sampled frames, ``clip_stride`` apart, read several at a time.

    Args:
        size: window size of the dataset; no read is longer, which bounds the memory.
        clip_frames: sampled frames per clip, L.
        clip_stride: sampled frames between two clips.
        pooled: write the mean over time of each clip, else all its steps.
    """

    size: WindowSize
    clip_frames: int
    clip_stride: int
    pooled: bool

    @property
    def clips_per_read(self) -> int:
        """Return the number of clips in one window of the dataset."""
        return max(1, (self.size.num_frames - self.clip_frames) // self.clip_stride + 1)

    @property
    def read_size(self) -> WindowSize:
        """Return the size of one read: the frames of those clips."""
        frames = (self.clips_per_read - 1) * self.clip_stride + self.clip_frames
        return WindowSize(frames, self.size.stride_frames, self.size.target_fps)

    def grid(self, fps: float, steps_per_clip: int = 1) -> FeatureGrid:
        """Return the times of the feature steps of a video with this frame rate."""
        stride_frames = self.size.stride_at(fps)
        if self.pooled:
            return FeatureGrid(fps, self.clip_stride * stride_frames,
                               self.clip_frames * stride_frames)
        step_frames = self.clip_frames * stride_frames / steps_per_clip
        return FeatureGrid(fps, step_frames, step_frames)

    def reads(self, video_id: str, fps: float, video_frames: float) -> list[Window]:
        """Return windows whose clips cover a video to its end."""
        grid = self.grid(fps)
        num_clips = grid.num_steps(video_frames)
        starts = np.arange(0, num_clips, self.clips_per_read) * grid.stride_frames
        return [self.read_size.window(video_id, start, fps, video_frames) for start in starts]


def make_plan(backbone: nn.Module, size: WindowSize, clip_stride: int | None) -> ClipPlan:
    """Plan adjacent windows with all their steps, or sliding clips if there is a stride."""
    if clip_stride is None:
        return ClipPlan(size, size.num_frames, size.num_frames, pooled=False)
    clip_frames = getattr(backbone, 'clip_len', None) or size.num_frames
    return ClipPlan(size, clip_frames, clip_stride, pooled=True)
