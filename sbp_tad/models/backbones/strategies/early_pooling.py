"""Early temporal pooling: fewer frames for the backbone, features interpolated to all steps."""
from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from sbp_tad.models.backbones.clip_layout import ClipLayout
from sbp_tad.models.backbones.strategies.base import Keys, Strategy
from sbp_tad.sbp import SBPError, keep_count
from sbp_tad.sbp.nested_tensors import Encoder, encode_in_chunks


def pool_clips(clips: Tensor, batch: int, num_left: int, pooling: str) -> Tensor:
    """Pool clips (B * K, C, L, H, W) to (B * k, C, L, H, W), the same time in fewer frames.

    Args:
        clips: the K clips of a sample side by side.
        batch: B.
        num_left: k.
        pooling: ``'mean'`` averages the frames of equal parts of the time,
            ``'stride'`` takes the middle frame of each part.
    """
    clip_len = clips.shape[2]
    video = clips.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2, 3)  # (B, C, T, H, W)
    num_frames = num_left * clip_len
    if pooling == 'stride':
        step = video.shape[2] / num_frames
        video = video[:, :, [int((frame + 0.5) * step) for frame in range(num_frames)]]
    else:
        video = F.adaptive_avg_pool3d(video, (num_frames, *video.shape[3:]))
    return video.unflatten(2, (num_left, clip_len)).transpose(1, 2).flatten(0, 1)


def spread_steps(features: Tensor, batch: int, num_clips: int) -> Tensor:
    """Interpolate (B * k, C', t) to (B * K, C', t), linearly between the centers of the steps."""
    num_steps = features.shape[2]
    line = features.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2)  # (B, C', k * t)
    line = F.interpolate(line, size=num_clips * num_steps, mode='linear', align_corners=False)
    return line.unflatten(2, (num_clips, num_steps)).transpose(1, 2).flatten(0, 1)


class EarlyPoolingStrategy(Strategy):
    """Pool the frames in time before the network, in training and in evaluation.

    Takes the share ``r``, the keep ratio, of the memory and time of full
    backpropagation. The network is trained in full but sees fewer frames per
    second. Evaluation pools too, so its features differ from those of the
    wrapped network. This is a simple baseline without a paper of its own.

    Args:
        keep_ratio: share of the clips, and so of the frames, that remains.
        clips_at_once: clips in one pass without gradient.
        pooling: ``'mean'`` averages frames, ``'stride'`` takes every n-th.

    Raises:
        SBPError: an unknown pooling.
    """

    mode: ClassVar[str] = 'early_pooling'

    def __init__(self, keep_ratio: float = 0.25, clips_at_once: int | None = None,
                 pooling: str = 'mean') -> None:
        super().__init__(keep_ratio, clips_at_once)
        if pooling not in ('mean', 'stride'):
            raise SBPError(f"pooling must be 'mean' or 'stride', got {pooling!r}.")
        self.pooling = pooling

    def attach(self, network: nn.Module, layout: ClipLayout) -> None:
        """Check that the clips are those of a video, without context.

        Raises:
            SBPError: a batch of clips, or clips with context.
        """
        self.check_videos(layout)
        if layout.context_frames:
            raise SBPError("mode 'early_pooling' pools the frames of a whole window, whose clips "
                           f'have no context; leave context_frames={layout.context_frames} out.')

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Tensor:
        """Encode the pooled video and interpolate its features to all steps."""
        return self._encode_pooled(encoder, clips, len(keys))

    def encode_without_grad(self, encoder: Encoder, clips: Tensor, batch: int) -> Tensor:
        """Encode the pooled video, some clips at a time."""
        def in_chunks(pooled: Tensor) -> Tensor:
            return encode_in_chunks(encoder, pooled, self.clips_without_grad)
        return self._encode_pooled(in_chunks, clips, batch)

    def _encode_pooled(self, encoder: Encoder, clips: Tensor, batch: int) -> Tensor:
        num_clips = len(clips) // batch
        num_left = keep_count(self.config.keep_ratio, num_clips)
        features = encoder(pool_clips(clips, batch, num_left, self.pooling))
        return spread_steps(features, batch, num_clips)
