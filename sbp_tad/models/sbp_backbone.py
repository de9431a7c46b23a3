"""Any mmaction backbone, its backward run for a random part of the clips only."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from mmcv.cnn.bricks import wrappers
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from torch import Tensor, nn

from sbp_tad.registry import MODELS
from sbp_tad.sbp import (SBPConfig, SBPError, TokenSBPConfig, apply_sbp, blocks_named,
                         encode_stochastically, fold_frozen_norm, prefer_onednn)
from sbp_tad.sbp.config import MODES
from sbp_tad.sbp.frozen_norm import CONV_TYPES, find_pairs
from sbp_tad.sbp.modules import ModelState
from sbp_tad.sbp.trees import Features, encode_in_chunks

INPUT_FORMATS = ('NCHW', 'NCTHW')
TOKEN_MODE, TOKEN_OPTIONS = 'token', ('mask', 'kv', 'shortcut')
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


def check_choices(mode: str, sampler: str | None, token: dict[str, str] | None,
                  token_blocks: Sequence[str] | None) -> None:
    """Refuse a mode that does not exist and choices that it does not have.

    Raises:
        SBPError: with what to set or leave out.
    """
    if mode not in (*MODES, TOKEN_MODE):
        raise SBPError(f'mode must be one of {[*MODES, TOKEN_MODE]}, got {mode!r}.')
    if mode == TOKEN_MODE and sampler is not None:
        raise SBPError(f"sampler {sampler!r} draws clips, but mode 'token' keeps a part of every "
                       'clip; leave it out and set token=dict(mask=...).')
    if mode != TOKEN_MODE and (token, token_blocks) != (None, None):
        raise SBPError(f'token and token_blocks say which tokens are kept, but mode {mode!r} '
                       "keeps whole clips; set mode='token' or leave them out.")
    if token is not None and not (isinstance(token, dict) and set(token) <= set(TOKEN_OPTIONS)):
        raise SBPError(f'token must be a dict of any of {list(TOKEN_OPTIONS)}, got {token!r}; '
                       'keep_ratio and rescale stand beside it.')


def choose_config(mode: str, token: dict[str, str] | None, clips_at_once: int | None,
                  **choices: Any) -> SBPConfig | TokenSBPConfig:
    """The config of the level that ``mode`` names; a choice of None takes its default there."""
    given = {name: value for name, value in choices.items() if value is not None}
    if mode == TOKEN_MODE:
        return TokenSBPConfig(**given, **(token or {}))
    return SBPConfig(mode=mode, clips_at_once=clips_at_once, **given)


@MODELS.register_module()
class SBPBackbone(BaseModule):
    """Stochastic backpropagation around any backbone of mmaction.

    The forward is that of the backbone for every clip. In training only a
    random part of the clips of each sample is backpropagated; activations of
    the others are never cached. With ``mode='token'`` it is a random part of
    the tokens of every clip, in the blocks of a transformer. In evaluation
    and without grad nothing changes but that clips are encoded
    ``clips_at_once`` at a time.

    With ``clip_len`` (a detector): a video (B, C, T, H, W) is cut into K clips
    of ``clip_len`` frames (1 = frame by frame), each encoded on its own and
    averaged over space: (B, C', T'). Without (a recognizer): the items of the
    batch are the clips and the output is the backbone's own.

    ``state_dict()`` has the keys of the wrapped backbone, no prefix, so
    checkpoints of mmaction load as they are and go back as they are.

    What is kept depends on (seed, iteration, place in the global batch) only.
    The iteration is that of the running mmengine Runner, so a resumed run
    continues exactly. Clip level without ``clip_len`` draws from the batch of
    one process, so there its place is that of the process.

    Args:
        backbone: config of the wrapped backbone.
        keep_ratio, sampler, rescale, clips_at_once: see
            :class:`sbp_tad.sbp.SBPConfig`; None takes the default there.
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
        mode: ``'direct'`` or ``'deferred'`` keep clips, see
            :class:`sbp_tad.sbp.SBPConfig`; ``'token'`` keeps tokens, see
            :class:`sbp_tad.sbp.TokenSBPConfig`.
        token: with ``'token'``, any of ``mask``, ``kv`` and ``shortcut``.
        token_blocks: with ``'token'``, names or regular expressions of the
            covered blocks, see :func:`sbp_tad.sbp.blocks_named`; None: all.
            The paper's recipe for Kinetics is
            ``['layers.[01]', r'layers.2.blocks.[0-3]']`` of Video Swin-T and
            ``['layers.[01]', r'layers.2.blocks.([0-9]|1[0-3])']`` of Swin-B.

    Raises:
        SBPError: choices that do not exist or do not go together, a
            wrapped SBPBackbone, blocks that are not there.
    """

    def __init__(self, backbone: dict, keep_ratio: float = 0.25, sampler: str | None = None,
                 rescale: bool | None = None, clips_at_once: int | None = None,
                 clip_len: int | None = None, input_format: str | None = None,
                 norm_eval: bool = True, seed: int | None = None, mode: str = 'direct',
                 fold_bn: bool = True, token: dict[str, str] | None = None,
                 token_blocks: Sequence[str] | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        check_choices(mode, sampler, token, token_blocks)
        self.config = choose_config(mode, token, clips_at_once, keep_ratio=keep_ratio,
                                    sampler=sampler, rescale=rescale)
        self.clips_without_grad = SBPConfig(clips_at_once=clips_at_once).clips_without_grad
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
        prefer_onednn(self.backbone)
        self.tokens = self._cover_tokens(token_blocks) if mode == TOKEN_MODE else None
        # Backbones of mmaction freeze stages when put into training mode: do
        # it before an optimizer, DDP or EMA looks at the parameters.
        self.train()

    def _cover_tokens(self, token_blocks: Sequence[str] | None) -> ModelState:
        """Swap the blocks for their token-level form; what they share."""
        covers = None if token_blocks is None else blocks_named(self.backbone, token_blocks)
        return apply_sbp(self.backbone, self.config, covers).state

    def train(self, mode: bool = True) -> SBPBackbone:
        """Set the mode; frozen batch normalization stays in evaluation mode."""
        super().train(mode)
        if mode and self.norm_eval:
            freeze_batch_norm(self.backbone)
        return self

    def set_keep_ratio(self, keep_ratio: float) -> None:
        """Keep this share of the clips or tokens from the next forward on."""
        self.config = replace(self.config, keep_ratio=keep_ratio)

    def forward(self, inputs: Tensor) -> Features:
        """Encode a video (B, C, T, H, W) to (B, C', T'), or a batch of clips as it comes."""
        if self.clip_len is None:
            # Clips are drawn from the whole batch, tokens from each of its items.
            batch = 1 if self.tokens is None else len(inputs)
            return self._encode(self.backbone, inputs, batch)
        clips = split_clips(inputs, self.clip_len)  # (B * K, C, L, H, W)
        features = self._encode(self._encode_clips, clips, batch=len(inputs))  # (B * K, C', t)
        return features.unflatten(0, (len(inputs), -1)).transpose(1, 2).flatten(2)

    def _encode(self, encoder: Any, clips: Tensor, batch: int) -> Features:
        if not (self.training and torch.is_grad_enabled()):
            return encode_in_chunks(encoder, clips, self.clips_without_grad)
        keys = self._sampling_keys(batch)
        if self.tokens is not None:
            self.tokens.config, self.tokens.keys = self.config, keys
            return encoder(clips)
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
