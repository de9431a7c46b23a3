"""Any mmaction backbone, its backward run for a random part of the clips only."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from torch import Tensor

from sbp_tad.models.clip_features import cut_context, encode_together, pool_space, split_clips
from sbp_tad.models.memory_budget import parse_budget
from sbp_tad.models.wrapped_network import build_network, fold_network, freeze_batch_norm
from sbp_tad.registry import MODELS
from sbp_tad.sbp import (SBPConfig, SBPError, TokenSBPConfig, apply_sbp, blocks_named,
                         encode_stochastically, prefer_onednn)
from sbp_tad.sbp.config import MODES
from sbp_tad.sbp.modules import ModelState
from sbp_tad.sbp.trees import Encoder, Features, encode_in_chunks, map_tensors

INPUT_FORMATS = ('NCHW', 'NCTHW')
TOKEN_MODE, TOKEN_OPTIONS = 'token', ('mask', 'kv', 'shortcut')


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


def check_clips(clip_len: int | None, context_frames: int, input_format: str | None) -> None:
    """Refuse lengths that are none and input formats that do not exist.

    Raises:
        SBPError: with what came.
    """
    if clip_len is not None and (not isinstance(clip_len, int) or clip_len < 1):
        raise SBPError(f'clip_len must be a whole number of at least 1, got {clip_len!r}.')
    if not isinstance(context_frames, int) or context_frames < 0:
        raise SBPError('context_frames must be a whole number of at least 0, '
                       f'got {context_frames!r}.')
    if context_frames and clip_len is None:
        raise SBPError(f'context_frames={context_frames} are taken from neighbouring clips, which '
                       'a batch of clips does not have; set clip_len or leave them out.')
    if input_format not in (None, *INPUT_FORMATS):
        raise SBPError(f'input_format must be one of {INPUT_FORMATS}, got {input_format!r}.')


def check_budget(keep_ratio: float | str, memory_budget: str | int | None) -> int | None:
    """Bytes to plan the keep ratio for; None where it is given.

    Raises:
        SBPError: one of the two without the other.
        BudgetError: no amount of memory.
    """
    if (keep_ratio == 'auto') != (memory_budget is not None):
        raise SBPError("keep_ratio='auto' and memory_budget (such as '8GiB') go together, got "
                       f'keep_ratio={keep_ratio!r} and memory_budget={memory_budget!r}.')
    return None if memory_budget is None else parse_budget(memory_budget)


def check_num_segments(num_segments: int | None, clip_len: int | None, context_frames: int
                       ) -> None:
    """Refuse clips that are not the frames among which a backbone exchanges features.

    Raises:
        SBPError: with the clip length that fits.
    """
    num_frames = None if clip_len is None else clip_len + 2 * context_frames
    if num_segments is not None and num_frames not in (None, num_segments):
        raise SBPError(f'the backbone exchanges features among num_segments={num_segments} '
                       f'frames, but a clip has {num_frames}, context included; set clip_len to '
                       f'{num_segments - 2 * context_frames} or num_segments to {num_frames}.')


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
    batch are the clips and the output is the backbone's own. Networks that
    exchange features among ``num_segments`` frames (TSM, TANet) keep these
    together: with ``clip_len`` they are a clip, without they are ``num_segments``
    items in a row.

    ``state_dict()`` has the keys of the wrapped backbone, no prefix, so
    checkpoints of mmaction load as they are and go back as they are.

    What is kept depends on (seed, iteration, place in the global batch) only.
    The iteration is that of the running mmengine Runner, so a resumed run
    continues exactly. Clip level without ``clip_len`` draws from the batch of
    one process, so there its place is that of the process.

    Args:
        backbone: config of the wrapped backbone; ``type`` may also name a
            model of timm, torchvision or mmpretrain, as in mmaction's
            recognizers, see :func:`build_network`.
        keep_ratio, sampler, rescale, clips_at_once: see
            :class:`sbp_tad.sbp.SBPConfig`; None takes the default there.
            ``keep_ratio='auto'`` takes the largest that fits ``memory_budget``,
            planned once, from the shape of the first batch.
        clip_len: frames of a clip; None for a batch of clips.
        input_format: ``'NCTHW'`` hands clips (n, C, L, H, W) to the backbone,
            ``'NCHW'`` frames (n * L, C, H, W). By default ``'NCHW'`` for
            ``clip_len=1`` and networks of images, ``'NCTHW'`` otherwise.
        context_frames: with ``clip_len``, frames of the neighbouring clips on
            both sides of a clip that are encoded with it; their features are
            cut away. A convolution over time sees zeros beyond the frames
            it is given; here it sees the video. Encoding costs
            ``1 + 2 context_frames / clip_len`` times as much, in time and
            memory. A multiple of the temporal stride; beyond the ends of the
            window the first and last frames are repeated.
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
        memory_budget: with ``keep_ratio='auto'``, memory such as ``'8GiB'``
            of this backbone's weights, gradients, AdamW's states, activations
            and frames; neck and head come on top.

    Raises:
        SBPError: choices that do not exist or do not go together, a
            wrapped SBPBackbone, blocks that are not there.
    """

    def __init__(self, backbone: dict, keep_ratio: float | str = 0.25, sampler: str | None = None,
                 rescale: bool | None = None, clips_at_once: int | None = None,
                 clip_len: int | None = None, input_format: str | None = None,
                 norm_eval: bool = True, seed: int | None = None, mode: str = 'direct',
                 fold_bn: bool = True, token: dict[str, str] | None = None,
                 token_blocks: Sequence[str] | None = None, context_frames: int = 0,
                 memory_budget: str | int | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        check_choices(mode, sampler, token, token_blocks)
        self.memory_budget = check_budget(keep_ratio, memory_budget)
        if self.memory_budget is not None:
            keep_ratio = 1.0  # until the first batch
        self.config = choose_config(mode, token, clips_at_once, keep_ratio=keep_ratio,
                                    sampler=sampler, rescale=rescale)
        self.clips_without_grad = SBPConfig(clips_at_once=clips_at_once).clips_without_grad
        check_clips(clip_len, context_frames, input_format)
        self.clip_len, self.context_frames = clip_len, context_frames
        self.norm_eval = norm_eval
        self.seed = seed
        self._last_iteration, self._repeat = -1, 0
        self.backbone, self._run, takes_frames = build_network(backbone)
        if isinstance(self.backbone, SBPBackbone):
            raise SBPError('an SBPBackbone wraps an SBPBackbone; wrap the backbone once, and set '
                           'keep_ratio there.')
        frames = takes_frames or clip_len == 1
        self.input_format = input_format or ('NCHW' if frames else 'NCTHW')
        check_num_segments(self.num_segments, clip_len, context_frames)
        if fold_bn:
            fold_network(self.backbone)
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
        self.memory_budget = None
        self.config = replace(self.config, keep_ratio=keep_ratio)

    def forward(self, inputs: Tensor) -> Features:
        """Encode a video (B, C, T, H, W) to (B, C', T'), or a batch of clips as it comes."""
        if self.memory_budget is not None and self.training and torch.is_grad_enabled():
            from sbp_tad.models.auto_keep_ratio import agree_on_keep_ratio  # plans with this class
            self.set_keep_ratio(agree_on_keep_ratio(self, inputs, self.memory_budget))
        if self.clip_len is None:
            return self._encode_batch(inputs)
        clips = split_clips(inputs, self.clip_len, self.context_frames)  # (B * K, C, L, H, W)
        features = self._encode(self._encode_clips, clips, batch=len(inputs))  # (B * K, C', t)
        return features.unflatten(0, (len(inputs), -1)).transpose(1, 2).flatten(2)

    def _encode_batch(self, items: Tensor) -> Features:
        """The backbone's own output for a batch, whatever the shape of its items."""
        together = self.num_segments or 1
        if len(items) % together:
            raise SBPError(f'{type(self.backbone).__name__} takes num_segments={together} frames '
                           f'at a time, got {len(items)}; sample as many frames of a video '
                           f'(num_clips={together}) or set num_segments.')
        groups = items.unflatten(0, (-1, together))  # (n, S, ...)
        # Clips are drawn from the whole batch, tokens from each of its items.
        batch = 1 if self.tokens is None else len(groups)
        features = self._encode(partial(encode_together, self._run_backbone), groups, batch)
        return map_tensors(lambda rows: rows.flatten(0, 1), features)

    def _run_backbone(self, inputs: Tensor) -> Features:
        return self._run(self.backbone, inputs)

    def _encode(self, encoder: Encoder, clips: Tensor, batch: int) -> Features:
        if not (self.training and torch.is_grad_enabled()):
            return encode_in_chunks(encoder, clips, self.clips_without_grad)
        keys = self._sampling_keys(batch)
        if self.tokens is not None:
            self.tokens.config, self.tokens.keys = self.config, keys
            return encoder(clips)
        return encode_stochastically(encoder, self.backbone, clips, len(clips) // batch,
                                     self.config, keys)

    def _encode_clips(self, clips: Tensor) -> Tensor:
        """(n, C, L, H, W), context included, to features (n, C', t) without."""
        inputs = clips
        if self.input_format == 'NCHW':
            inputs = clips.transpose(1, 2).flatten(0, 1)  # (n * L, C, H, W)
        features = pool_space(self._run_backbone(inputs), len(clips))
        return cut_context(features, self.clip_len, self.context_frames)

    @property
    def num_segments(self) -> int | None:
        """Frames among which the backbone exchanges features; None where it does not say."""
        return getattr(self.backbone, 'num_segments', None)

    @torch.no_grad()
    def temporal_stride(self, size: int = 224) -> float:
        """Frames to a feature step, counted on one clip of ``size`` x ``size`` pixels."""
        if self.clip_len is None:
            raise SBPError("without clip_len the output is the backbone's own, with no temporal "
                           'stride; set clip_len.')
        was_training = self.training
        self.eval()
        blank = next(self.backbone.parameters()).new_zeros(1, 3, self.clip_len, size, size)
        steps = self(blank).shape[2]
        self.train(was_training)
        return self.clip_len / steps

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
