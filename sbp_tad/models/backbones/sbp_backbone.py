"""Any mmaction backbone, trained within memory: stochastic backpropagation or a rival of it."""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from inspect import signature
from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from torch import Tensor

from sbp_tad.models.backbones.clip_features import (cut_context, encode_together, pool_space,
                                                    split_clips)
from sbp_tad.models.backbones.strategies import STRATEGIES, Strategy, StrategyConfig
from sbp_tad.models.backbones.strategies.memory_bank import BANK_NAME
from sbp_tad.models.backbones.strategies.stochastic import TOKEN_MODE, given
from sbp_tad.models.backbones.wrapped_network import build_network, fold_network
from sbp_tad.models.layers.batch_norm import freeze_batch_norm
from sbp_tad.planning.budget import parse_budget
from sbp_tad.registry import MODELS
from sbp_tad.sbp import SBPConfig, SBPError, TokenSBPConfig, prefer_onednn
from sbp_tad.sbp.nested_tensors import Encoder, Features, map_tensors
from sbp_tad.structures import Window

INPUT_FORMATS = ('NCHW', 'NCTHW')
STOCHASTIC = ('direct', 'deferred', TOKEN_MODE)


def build_strategy(mode: str, options: dict[str, Any] | None, **choices: Any) -> Strategy:
    """The strategy that ``mode`` names.

    Args:
        mode: a name of :data:`STRATEGIES`.
        options: of the strategy's class.
        choices: arguments of SBPBackbone that some strategies have; None is the
            default there.

    Raises:
        SBPError: a mode that does not exist, and choices that it does not have.
    """
    if mode not in STRATEGIES:
        raise SBPError(f'mode must be one of {list(STRATEGIES)}, got {mode!r}.')
    if options is not None and not isinstance(options, dict):
        raise SBPError(f'options must be a dict, got {options!r}.')
    kind = STRATEGIES[mode]
    asked = given(**choices) | (options or {})
    known = list(signature(kind.__init__).parameters)[1:]
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise SBPError(f"mode {mode!r} does not have {', '.join(unknown)}; it has "
                       f"{', '.join(known)}. Leave the others out or choose another mode.")
    return kind(**asked)


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


def check_budget(mode: str, keep_ratio: float | str, memory_budget: str | int | None
                 ) -> int | None:
    """Bytes to plan the keep ratio for; None where it is given.

    Raises:
        SBPError: one of the two without the other, or a mode that is not planned.
        PlanningError: no amount of memory.
    """
    if memory_budget is not None and mode not in STOCHASTIC:
        raise SBPError(f'memory_budget is planned for the modes {list(STOCHASTIC)}, got {mode!r}; '
                       'leave memory_budget out and give a keep_ratio.')
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
    """Stochastic backpropagation around any backbone of mmaction, or one of its rivals.

    The forward is that of the backbone for every clip. In training only a
    random part of the clips of each sample is backpropagated; activations of
    the others are never cached. With ``mode='token'`` it is a random part of
    the tokens of every clip, in the blocks of a transformer. In evaluation
    and without grad nothing changes but that clips are encoded
    ``clips_at_once`` at a time. Other modes are the other ways to fit a
    backbone into memory, see :mod:`sbp_tad.models.backbones.strategies`.

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
        mode: the strategy, a name of :data:`sbp_tad.models.backbones.strategies.STRATEGIES`.
            ``'direct'`` and ``'deferred'`` keep clips, see
            :class:`sbp_tad.sbp.SBPConfig`; ``'token'`` keeps tokens, see
            :class:`sbp_tad.sbp.TokenSBPConfig`. The others are what
            stochastic backpropagation is compared with.
        options: of the strategy's class, beside the arguments named here.
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
                 memory_budget: str | int | None = None, options: dict[str, Any] | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.memory_budget = check_budget(mode, keep_ratio, memory_budget)
        if self.memory_budget is not None:
            keep_ratio = 1.0  # until the first batch
        self.strategy = build_strategy(
            mode, options, keep_ratio=keep_ratio, clips_at_once=clips_at_once, sampler=sampler,
            rescale=rescale, token=token, token_blocks=token_blocks)
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
        self.strategy.attach(self)
        # Backbones of mmaction freeze stages when put into training mode: do
        # it before an optimizer, DDP or EMA looks at the parameters.
        self.train()

    @property
    def config(self) -> SBPConfig | TokenSBPConfig | StrategyConfig:
        """The strategy's choices."""
        return self.strategy.config

    @config.setter
    def config(self, config: SBPConfig | TokenSBPConfig | StrategyConfig) -> None:
        self.strategy.config = config

    @property
    def mode(self) -> str:
        """Name of the strategy."""
        return self.strategy.mode

    def train(self, mode: bool = True) -> SBPBackbone:
        """Set the mode; frozen batch normalization stays in evaluation mode."""
        super().train(mode)
        if mode and self.norm_eval:
            freeze_batch_norm(self.backbone)
        if mode:
            self.strategy.on_train(self)
        return self

    def set_keep_ratio(self, keep_ratio: float) -> None:
        """Keep this share of the clips or tokens from the next forward on."""
        self.memory_budget = None
        self.strategy.set_keep_ratio(keep_ratio)

    def forward(self, inputs: Tensor, windows: Sequence[Window] | None = None) -> Features:
        """Encode a video (B, C, T, H, W) to (B, C', T'), or a batch of clips as it comes.

        Args:
            inputs: frames.
            windows: B, which part of which video they are; for strategies that
                remember videos.
        """
        self.strategy.windows = windows
        if self.memory_budget is not None and self.training and torch.is_grad_enabled():
            from sbp_tad.planning.auto_keep_ratio import \
                agree_on_keep_ratio  # plans with this class
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
        batch = len(groups) if self.mode == TOKEN_MODE else 1
        features = self._encode(partial(encode_together, self._run_backbone), groups, batch)
        return map_tensors(lambda rows: rows.flatten(0, 1), features)

    def _run_backbone(self, inputs: Tensor) -> Features:
        return self._run(self.backbone, inputs)

    def _encode(self, encoder: Encoder, clips: Tensor, batch: int) -> Features:
        if not (self.training and torch.is_grad_enabled()):
            return self.strategy.encode_without_grad(encoder, clips, batch)
        return self.strategy.encode(encoder, clips, self._sampling_keys(batch))

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
        # Within a backward pass it is checkpointing that repeats the last forward.
        repeats = torch._C._current_graph_task_id() != -1
        if iteration != self._last_iteration:
            self._last_iteration, self._repeat = iteration, 0
        elif not repeats:
            self._repeat += 1
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
        if not hasattr(self.backbone, BANK_NAME):  # features of training: not amiss elsewhere
            state_dict.pop(f'{inner}{BANK_NAME}._extra_state', None)
        super()._load_from_state_dict(state_dict, prefix, *args)
