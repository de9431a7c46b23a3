"""Frame dropout: encode some clips of a video, interpolate the features of the others."""
from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from sbp_tad.models.backbones.clip_layout import ClipLayout
from sbp_tad.models.backbones.strategies.base import Keys, Strategy
from sbp_tad.sbp import SBPConfig, draw_kept_clips
from sbp_tad.sbp.nested_tensors import Encoder


def interpolate_dropped(features: Tensor, kept: Tensor) -> Tensor:
    """Interpolate the features of all clips from those of the kept clips.

    A step of a dropped clip is interpolated linearly in time between the
    nearest steps of kept clips before and after it. Before the first and after
    the last kept step it equals that step.

    Args:
        features: (B, k, C', t) of the kept clips.
        kept: (B, K) bool, k of each row True.

    Returns:
        (B, K, C', t), the rows of kept clips unchanged.
    """
    (batch, num_clips), num_steps = kept.shape, features.shape[3]
    times = torch.arange(num_clips * num_steps, device=features.device).repeat(batch, 1)
    kept_times = times[kept.repeat_interleave(num_steps, dim=1)].view(batch, -1)  # (B, k * t)
    after = torch.searchsorted(kept_times, times)  # the first kept step that is not earlier
    after = after.clamp(max=kept_times.shape[1] - 1)
    before = torch.where(kept_times.gather(1, after) > times, after - 1, after).clamp(min=0)
    start, end = kept_times.gather(1, before), kept_times.gather(1, after)
    share = (times - start).to(features.dtype) / (end - start).clamp(min=1)
    share = share.clamp(0, 1)  # 0 where nothing was kept before, or nothing after
    line = features.transpose(1, 2).flatten(2)  # (B, C', k * t)

    def rows(index: Tensor) -> Tensor:
        return line.gather(2, index[:, None].expand(-1, line.shape[1], -1))

    steps = torch.lerp(rows(before), rows(after), share[:, None])
    return steps.unflatten(2, (num_clips, num_steps)).transpose(1, 2)


class FrameDropoutStrategy(Strategy):
    """Encode only a random part of the clips in training, and all clips in evaluation.

    Takes the share ``r``, the keep ratio, of the memory and time of full
    backpropagation; the dropped frames are not seen at all. It is the baseline
    of sparse frame sampling (Wang et al., "Temporal Segment Networks", ECCV
    2016). Interpolation gives features at every step, as a head that
    localizes needs.

    Args:
        keep_ratio: share of the clips that are encoded.
        clips_at_once: clips in one pass without gradient.
        sampler: of the encoded clips, see :class:`sbp_tad.sbp.SBPConfig`.

    Raises:
        SBPError: an unknown sampler.
    """

    mode: ClassVar[str] = 'frame_dropout'

    def __init__(self, keep_ratio: float = 0.25, clips_at_once: int | None = None,
                 sampler: str = 'uniform_jitter') -> None:
        super().__init__(keep_ratio, clips_at_once)
        self.sampler = SBPConfig(sampler=sampler).sampler

    def attach(self, network: nn.Module, layout: ClipLayout) -> None:
        """Check that the clips are those of a video.

        Raises:
            SBPError: a batch of clips.
        """
        self.check_videos(layout)

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Tensor:
        """Encode the kept clips and interpolate the others."""
        batch = len(keys)
        kept = draw_kept_clips(len(clips) // batch, self.config.keep_ratio, self.sampler, keys)
        kept = kept.to(clips.device)
        features = encoder(clips[kept.flatten()])
        return interpolate_dropped(features.unflatten(0, (batch, -1)), kept).flatten(0, 1)
