"""Any mmaction backbone, its backward run for a random part of the clips only."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from mmcv.cnn.bricks import wrappers
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from torch import Tensor, nn

from sbp_tad.registry import MODELS
from sbp_tad.sbp import SBPConfig, SBPError, encode_stochastically, fold_frozen_norm
from sbp_tad.sbp.frozen_norm import CONV_TYPES, find_pairs
from sbp_tad.sbp.trees import Features, encode_in_chunks

INPUT_FORMATS = ('NCHW', 'NCTHW')
# mmcv's own differ from torch's for empty inputs alone.
PLAIN_CONV_TYPES = (*CONV_TYPES, wrappers.Conv2d, wrappers.Conv3d)


def split_clips(video: Tensor, clip_len: int) -> Tensor:
    """(B, C, T, H, W) into (B * K, C, L, H, W) with L = ``clip_len`` and K = T / L.

    Raises:
        SBPError: T is no multiple of the clip length.
    """
    if video.ndim != 5:
        raise SBPError('SBPBackbone with clip_len takes videos of shape (B, C, T, H, W), got '
                       f'{tuple(video.shape)}; use FormatShape(input_format="NCTHW") with one '
                       'clip a sample.')
    num_frames = video.shape[2]
    if num_frames == 0 or num_frames % clip_len:
        lower = num_frames // clip_len * clip_len
        raise SBPError(f'a window of {num_frames} frames is no multiple of clip_len {clip_len}; '
                       f'set num_frames to {lower or clip_len} or {lower + clip_len}.')
    clips = video.unflatten(2, (-1, clip_len))  # (B, C, K, L, H, W)
    return clips.transpose(1, 2).flatten(0, 1)


def pool_space(features: Features, num_clips: int) -> Tensor:
    """Average a backbone's output over space: (n, C, t) for ``num_clips`` n clips.

    Takes (n * L, C, h, w) of a 2D network, (n, C, t, h, w) of a 3D one and
    pooled vectors (n * L, C); a list or tuple of one of these as well.

    Raises:
        SBPError: any other output.
    """
    if isinstance(features, (tuple, list)) and len(features) == 1:
        features = features[0]
    if not isinstance(features, Tensor) or features.ndim not in (2, 4, 5):
        shapes = [tuple(item.shape) if isinstance(item, Tensor) else type(item).__name__
                  for item in features]
        raise SBPError('the wrapped backbone must return one feature map (N, C, h, w), '
                       f'(N, C, t, h, w) or vector (N, C), got {shapes}; choose one stage '
                       '(out_indices) or one output in its config.')
    if features.ndim == 5:
        return features.mean(dim=(3, 4))  # (n, C, t)
    frames = features if features.ndim == 2 else features.mean(dim=(2, 3))  # (n * L, C)
    return frames.unflatten(0, (num_clips, -1)).transpose(1, 2)


def freeze_batch_norm(module: nn.Module) -> None:
    """Put every batch normalization below ``module`` into evaluation mode."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()


@MODELS.register_module()
class SBPBackbone(BaseModule):
    """Stochastic backpropagation around any backbone of mmaction.

    The forward is that of the backbone for every clip. In training only a
    random part of the clips of each sample is backpropagated; activations of
    the others are never cached. In evaluation and without grad nothing
    changes but that clips are encoded ``clips_at_once`` at a time.

    With ``clip_len`` (a detector): a video (B, C, T, H, W) is cut into K clips
    of ``clip_len`` frames (1 = frame by frame), each encoded on its own and
    averaged over space: (B, C', T'). Without (a recognizer): the items of the
    batch are the clips and the output is the backbone's own.

    ``state_dict()`` has the keys of the wrapped backbone, no prefix, so
    checkpoints of mmaction load as they are and go back as they are.

    What is kept depends on (seed, iteration, place in the global batch) only.
    The iteration is that of the running mmengine Runner, so a resumed run
    continues exactly.

    Args:
        backbone: config of the wrapped backbone.
        keep_ratio, sampler, rescale, clips_at_once, mode: see
            :class:`sbp_tad.sbp.SBPConfig`.
        clip_len: frames of a clip; None for a batch of clips.
        input_format: ``'NCTHW'`` hands clips (n, C, L, H, W) to the backbone,
            ``'NCHW'`` frames (n * L, C, H, W). By default ``'NCHW'`` for
            ``clip_len=1`` and ``'NCTHW'`` otherwise.
        norm_eval: keep batch normalization frozen at its statistics, which
            SBP needs; with False, ``keep_ratio`` must be 1.
        seed: of the sampling; None takes the run's own seed.
        fold_bn: compute frozen batch normalization within the convolution
            before it while training, see
            :func:`sbp_tad.sbp.fold_frozen_norm`: half of a ResNet's memory.
    """

    def __init__(self, backbone: dict, keep_ratio: float = 0.25, sampler: str = 'uniform_jitter',
                 rescale: bool = True, clips_at_once: int | None = None,
                 clip_len: int | None = None, input_format: str | None = None,
                 norm_eval: bool = True, seed: int | None = None, mode: str = 'direct',
                 fold_bn: bool = True, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.config = SBPConfig(keep_ratio=keep_ratio, sampler=sampler, rescale=rescale,
                                clips_at_once=clips_at_once, mode=mode)
        if clip_len is not None and (not isinstance(clip_len, int) or clip_len < 1):
            raise SBPError(f'clip_len must be a whole number of at least 1, got {clip_len!r}.')
        self.input_format = input_format or ('NCHW' if clip_len == 1 else 'NCTHW')
        if self.input_format not in INPUT_FORMATS:
            raise SBPError(f'input_format must be one of {INPUT_FORMATS}, got {input_format!r}.')
        self.clip_len = clip_len
        self.norm_eval = norm_eval
        self.seed = seed
        self._last_iteration, self._repeat = -1, 0
        self.backbone = MODELS.build(backbone)
        if isinstance(self.backbone, SBPBackbone):
            raise SBPError('an SBPBackbone wraps an SBPBackbone; wrap the backbone once, and set '
                           'keep_ratio there.')
        if fold_bn and find_pairs(self.backbone, conv_types=PLAIN_CONV_TYPES):
            fold_frozen_norm(self.backbone, conv_types=PLAIN_CONV_TYPES)
        # Backbones of mmaction freeze stages when put into training mode: do
        # it before an optimizer, DDP or EMA looks at the parameters.
        self.train()

    def train(self, mode: bool = True) -> SBPBackbone:
        """Set the mode; frozen batch normalization stays in evaluation mode."""
        super().train(mode)
        if mode and self.norm_eval:
            freeze_batch_norm(self.backbone)
        return self

    def set_keep_ratio(self, keep_ratio: float) -> None:
        """Keep this share of the clips from the next forward on."""
        self.config = replace(self.config, keep_ratio=keep_ratio)

    def forward(self, inputs: Tensor) -> Features:
        """Encode a video (B, C, T, H, W) to (B, C', T'), or a batch of clips as it comes."""
        if self.clip_len is None:
            return self._encode(self.backbone, inputs, batch=1)
        clips = split_clips(inputs, self.clip_len)  # (B * K, C, L, H, W)
        features = self._encode(self._encode_clips, clips, batch=len(inputs))  # (B * K, C', t)
        return features.unflatten(0, (len(inputs), -1)).transpose(1, 2).flatten(2)

    def _encode(self, encoder: Any, clips: Tensor, batch: int) -> Features:
        if not (self.training and torch.is_grad_enabled()):
            return encode_in_chunks(encoder, clips, self.config.clips_without_grad)
        keys = self._sampling_keys(batch)
        return encode_stochastically(encoder, self.backbone, clips, len(clips) // batch,
                                     self.config, keys)

    def _encode_clips(self, clips: Tensor) -> Tensor:
        """(n, C, L, H, W) to features (n, C', t)."""
        inputs = clips
        if self.input_format == 'NCHW':
            inputs = clips.transpose(1, 2).flatten(0, 1)  # (n * L, C, H, W)
        return pool_space(self.backbone(inputs), len(clips))

    def _sampling_keys(self, batch: int) -> list[tuple[int, ...]]:
        """One key a sample: (seed, iteration, forwards in it, place in the global batch).

        The place interleaves ranks as mmengine's samplers do, so two processes
        with one sample each keep what one process with both would keep.
        """
        iteration = MessageHub.get_current_instance().get_info('iter', 0)
        self._repeat = self._repeat + 1 if iteration == self._last_iteration else 0
        self._last_iteration = iteration
        seed = torch.initial_seed() if self.seed is None else self.seed
        rank, world = get_rank(), get_world_size()
        return [(seed, iteration, self._repeat, sample * world + rank) for sample in range(batch)]

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The wrapped backbone's state dict, under its own keys."""
        return self.backbone.state_dict(*args, **kwargs)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        inner = prefix + 'backbone.'
        for key in [key for key in state_dict if key.startswith(prefix)]:
            if not key.startswith(inner):
                state_dict[inner + key[len(prefix):]] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)
