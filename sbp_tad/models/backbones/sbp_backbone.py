"""Wrapper that trains any mmaction backbone in limited memory, by SBP or one of its rivals."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import MessageHub
from torch import Tensor

from sbp_tad.models.backbones.clip_features import (
    cut_context,
    encode_together,
    pool_space,
    split_clips,
)
from sbp_tad.models.backbones.clip_layout import ClipLayout
from sbp_tad.models.backbones.strategies import StrategyConfig, build_strategy
from sbp_tad.models.backbones.strategies.memory_bank import BANK_NAME
from sbp_tad.models.backbones.strategies.modes import STOCHASTIC_MODES, TOKEN_MODE
from sbp_tad.models.backbones.transparent_wrapper import TransparentWrapper
from sbp_tad.models.backbones.wrapped_network import build_network, fold_network
from sbp_tad.models.layers.batch_norm import freeze_batch_norm
from sbp_tad.registry import MODELS, TASK_UTILS
from sbp_tad.sbp import SBPConfig, SBPError, TokenSBPConfig, prefer_onednn
from sbp_tad.sbp.nested_tensors import Encoder, Features, map_tensors
from sbp_tad.structures import Window


def check_budget(mode: str, keep_ratio: float | str, memory_budget: str | int | None) -> None:
    """Check that a memory budget and ``keep_ratio='auto'`` come together, in a mode that plans.

    Raises:
        SBPError: one of the two without the other, or a mode that is not planned.
    """
    if memory_budget is not None and mode not in STOCHASTIC_MODES:
        raise SBPError(f'memory_budget is planned for the modes {list(STOCHASTIC_MODES)}, got '
                       f'{mode!r}; leave memory_budget out and give a keep_ratio.')
    if (keep_ratio == 'auto') != (memory_budget is not None):
        raise SBPError("keep_ratio='auto' and memory_budget (such as '8GiB') go together, got "
                       f'keep_ratio={keep_ratio!r} and memory_budget={memory_budget!r}.')


@MODELS.register_module()
class SBPBackbone(TransparentWrapper):
    """Stochastic backpropagation (SBP) around any backbone of mmaction, or one of its rivals.

    The forward of every clip is exact. In training only a random part of the
    clips of each sample is backpropagated; the activations of the other clips
    are never saved. With ``mode='token'`` the random part is taken from the
    tokens of every clip, in the blocks of a transformer. Evaluation and
    forwards without gradient encode ``clips_at_once`` clips at a time and are
    otherwise unchanged. The other modes are other ways to fit a backbone into
    memory, see :mod:`sbp_tad.models.backbones.strategies`.

    A detector sets ``clip_len``: a video (B, C, T, H, W) is cut into K clips of
    ``clip_len`` frames (1 = frame by frame). Each clip is encoded on its own
    and averaged over space: (B, C', T'). A recognizer leaves ``clip_len`` out:
    the items of the batch are the clips, and the output is the backbone's own.
    Networks that exchange features among ``num_segments`` frames (TSM, TANet)
    keep these frames together: with ``clip_len`` they are one clip, without it
    they are ``num_segments`` successive items.

    ``state_dict()`` and ``named_parameters()`` have the names of the wrapped
    backbone without a prefix, so checkpoints of mmaction load unchanged, in
    both directions.

    The kept part depends only on (seed, iteration, position in the global
    batch). The iteration is that of the running mmengine Runner, so a resumed
    run continues exactly. Clip level without ``clip_len`` draws from the batch
    of one process, so its position is the rank of that process.

    Args:
        backbone: config of the wrapped backbone; ``type`` may also name a
            model of timm, torchvision or mmpretrain, as in mmaction's
            recognizers, see :func:`build_network`.
        keep_ratio, sampler, rescale, clips_at_once: see
            :class:`sbp_tad.sbp.SBPConfig`; None takes the default there.
            ``keep_ratio='auto'`` takes the largest that fits ``memory_budget``,
            planned once, from the shape of the first batch.
        clip_len: frames per clip; None for a batch of clips.
        input_format: ``'NCTHW'`` hands clips (n, C, L, H, W) to the backbone,
            ``'NCHW'`` frames (n * L, C, H, W). By default ``'NCHW'`` for
            ``clip_len=1`` and networks of images, ``'NCTHW'`` otherwise.
        context_frames: with ``clip_len``, frames of the neighbouring clips that
            are encoded with a clip, on each side; their features are cut
            away. A convolution over time then sees the video beyond the clip
            instead of zeros. Encoding costs ``1 + 2 context_frames / clip_len``
            times as much time and memory. Must be a multiple of the temporal
            stride. At the ends of the window the first and last frames repeat.
        norm_eval: freeze the statistics of batch normalization, which SBP
            needs; with False, ``keep_ratio`` must be 1.
        seed: of the sampling; None takes the seed of the run.
        fold_bn: in training, compute frozen batch normalization within the
            convolution before it, see :func:`sbp_tad.sbp.fold_frozen_norm`.
            It halves the memory of a ResNet.
        mode: the strategy, a name of :data:`sbp_tad.models.backbones.strategies.STRATEGIES`.
            ``'direct'`` and ``'deferred'`` keep clips, see
            :class:`sbp_tad.sbp.SBPConfig`; ``'token'`` keeps tokens, see
            :class:`sbp_tad.sbp.TokenSBPConfig`. The others are the rivals
            that SBP is compared with.
        options: further arguments of the strategy's class.
        token: with ``'token'``, any of ``mask``, ``kv`` and ``shortcut``.
        token_blocks: with ``'token'``, names or regular expressions of the
            covered blocks, see :func:`sbp_tad.sbp.blocks_named`; None: all.
            The paper's recipe for Kinetics is
            ``['layers.[01]', r'layers.2.blocks.[0-3]']`` of Video Swin-T and
            ``['layers.[01]', r'layers.2.blocks.([0-9]|1[0-3])']`` of Swin-B.
        memory_budget: with ``keep_ratio='auto'``, memory such as ``'8GiB'``
            for this backbone's weights, gradients, AdamW's states, activations
            and frames; neck and head come on top.

    Raises:
        SBPError: unknown choices, choices that exclude each other, a wrapped
            SBPBackbone, or unknown blocks.
        PlanningError: a memory budget that is no amount of memory.
    """

    def __init__(self, backbone: dict, keep_ratio: float | str = 0.25, sampler: str | None = None,
                 rescale: bool | None = None, clips_at_once: int | None = None,
                 clip_len: int | None = None, input_format: str | None = None,
                 norm_eval: bool = True, seed: int | None = None, mode: str = 'direct',
                 fold_bn: bool = True, token: dict[str, str] | None = None,
                 token_blocks: Sequence[str] | None = None, context_frames: int = 0,
                 memory_budget: str | int | None = None, options: dict[str, Any] | None = None,
                 init_cfg: dict | None = None) -> None:
        check_budget(mode, keep_ratio, memory_budget)
        strategy = build_strategy(
            mode, options, keep_ratio=1.0 if keep_ratio == 'auto' else keep_ratio,
            clips_at_once=clips_at_once, sampler=sampler, rescale=rescale, token=token,
            token_blocks=token_blocks)
        # The planner imports the models, so a registry finds it by name. None: nothing to plan.
        planner = None if memory_budget is None else TASK_UTILS.build(
            dict(type='sbp_tad.KeepRatioPlanner', memory_budget=memory_budget))
        layout = ClipLayout(clip_len, context_frames, input_format)
        network, run, takes_frames = build_network(backbone)
        if isinstance(network, SBPBackbone):
            raise SBPError('an SBPBackbone wraps an SBPBackbone; wrap the backbone once, and set '
                           'keep_ratio there.')
        super().__init__(network, init_cfg)
        self._run, self.strategy, self.planner = run, strategy, planner
        self.norm_eval = norm_eval
        self.seed = seed
        self._last_iteration, self._repeat = -1, 0
        layout.check_num_segments(self.num_segments)
        default_format = 'NCHW' if takes_frames or clip_len == 1 else 'NCTHW'
        self.layout = replace(layout, input_format=input_format or default_format)
        if fold_bn:
            fold_network(self.wrapped_network)
        prefer_onednn(self.wrapped_network)
        self.strategy.attach(self.wrapped_network, self.layout)
        # Backbones of mmaction freeze stages when put into training mode: do
        # it before an optimizer, DDP or EMA looks at the parameters.
        self.train()

    @property
    def clip_len(self) -> int | None:
        """Frames per clip; None for a batch of clips."""
        return self.layout.clip_len

    @property
    def context_frames(self) -> int:
        """Frames of the neighbouring clips on both sides of a clip."""
        return self.layout.context_frames

    @property
    def input_format(self) -> str:
        """``'NCTHW'`` where the network takes clips, ``'NCHW'`` where it takes frames."""
        return self.layout.input_format

    @property
    def config(self) -> SBPConfig | TokenSBPConfig | StrategyConfig:
        """Configuration of the strategy."""
        return self.strategy.config

    @config.setter
    def config(self, config: SBPConfig | TokenSBPConfig | StrategyConfig) -> None:
        """Set the configuration, as a schedule of the keep ratio does."""
        self.strategy.config = config

    @property
    def mode(self) -> str:
        """Name of the strategy."""
        return self.strategy.mode

    def train(self, mode: bool = True) -> SBPBackbone:
        """Set the mode; frozen batch normalization stays in evaluation mode."""
        super().train(mode)
        if mode and self.norm_eval:
            freeze_batch_norm(self.wrapped_network)
        if mode:
            self.strategy.on_train(self.wrapped_network)
        return self

    def set_keep_ratio(self, keep_ratio: float) -> None:
        """Keep this share of the clips or tokens from the next forward on."""
        self.planner = None
        self.strategy.set_keep_ratio(keep_ratio)

    def forward(self, inputs: Tensor, windows: Sequence[Window] | None = None) -> Features:
        """Encode a video (B, C, T, H, W) to (B, C', T'), or a batch of clips as the network does.

        Args:
            inputs: frames.
            windows: B, the part of a video that each sample is; for strategies
                that store features of videos.

        Raises:
            SBPError: inputs of another shape, or an empty batch.
            PlanningError: no keep ratio fits the memory budget.
        """
        if not len(inputs):
            raise SBPError(f'the batch is empty, got inputs of shape {tuple(inputs.shape)}; '
                           'give at least one sample.')
        self.strategy.windows = windows
        if self.planner is not None and self.training and torch.is_grad_enabled():
            self.set_keep_ratio(self.planner.plan(self, inputs))
        if self.clip_len is None:
            return self._encode_batch(inputs)
        clips = split_clips(inputs, self.clip_len, self.context_frames)  # (B * K, C, L, H, W)
        features = self._encode(self._encode_clips, clips, batch=len(inputs))  # (B * K, C', t)
        return features.unflatten(0, (len(inputs), -1)).transpose(1, 2).flatten(2)

    def _encode_batch(self, items: Tensor) -> Features:
        """Encode a batch of items of any shape to the backbone's own output."""
        together = self.num_segments or 1
        if len(items) % together:
            raise SBPError(f'{type(self.wrapped_network).__name__} takes num_segments={together} '
                           f'frames at a time, got {len(items)}; sample that many frames per video '
                           f'(num_clips={together}) or set num_segments.')
        groups = items.unflatten(0, (-1, together))  # (n, S, ...)
        # Clips are drawn from the whole batch, tokens from each of its items.
        batch = len(groups) if self.mode == TOKEN_MODE else 1
        features = self._encode(partial(encode_together, self._run_backbone), groups, batch)
        return map_tensors(lambda rows: rows.flatten(0, 1), features)

    def _run_backbone(self, inputs: Tensor) -> Features:
        return self._run(self.wrapped_network, inputs)

    def _encode(self, encoder: Encoder, clips: Tensor, batch: int) -> Features:
        if not (self.training and torch.is_grad_enabled()):
            return self.strategy.encode_without_grad(encoder, clips, batch)
        return self.strategy.encode(encoder, clips, self._sampling_keys(batch))

    def _encode_clips(self, clips: Tensor) -> Tensor:
        """Encode clips (n, C, L, H, W) with their context to features (n, C', t) without it."""
        inputs = clips
        if self.input_format == 'NCHW':
            inputs = clips.transpose(1, 2).flatten(0, 1)  # (n * L, C, H, W)
        features = pool_space(self._run_backbone(inputs), len(clips))
        return cut_context(features, self.clip_len, self.context_frames)

    @property
    def num_segments(self) -> int | None:
        """Frames among which the backbone exchanges features; None where it exchanges none."""
        return getattr(self.wrapped_network, 'num_segments', None)

    @torch.no_grad()
    def temporal_stride(self, size: int = 224) -> float:
        """Return the frames per feature step, counted on one clip.

        Args:
            size: height and width of the clip.

        Raises:
            SBPError: the backbone has no ``clip_len``.
        """
        if self.clip_len is None:
            raise SBPError("without clip_len the output is the backbone's own, with no temporal "
                           'stride; set clip_len.')
        was_training = self.training
        self.eval()
        blank = next(self.wrapped_network.parameters()).new_zeros(1, 3, self.clip_len, size, size)
        steps = self(blank).shape[2]
        self.train(was_training)
        return self.clip_len / steps

    def _sampling_keys(self, batch: int) -> list[tuple[int, ...]]:
        """Return a key per sample: (seed, iteration, forward in it, position in the global batch).

        The position interleaves ranks as mmengine's samplers do, so two
        processes with one sample each keep what one process with both keeps.
        """
        iteration = MessageHub.get_current_instance().get_info('iter', 0)
        # A forward within a backward pass is checkpointing, which repeats the last forward.
        repeats = torch._C._current_graph_task_id() != -1
        if iteration != self._last_iteration:
            self._last_iteration, self._repeat = iteration, 0
        elif not repeats:
            self._repeat += 1
        seed = torch.initial_seed() if self.seed is None else self.seed
        rank, world = get_rank(), get_world_size()
        return [(seed, iteration, self._repeat, sample * world + rank) for sample in range(batch)]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if not hasattr(self.wrapped_network, BANK_NAME):  # needed in training with the bank only
            state_dict.pop(f'{prefix}{BANK_NAME}._extra_state', None)
        super()._load_from_state_dict(state_dict, prefix, *args)
