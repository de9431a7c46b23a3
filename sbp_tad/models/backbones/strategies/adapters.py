"""Temporal adapters: the network is frozen, small modules after its blocks are trained.

Shapes: B windows of K clips each, n clips in a pass, T token steps a clip, C channels.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

import sbp_tad.registry  # noqa: F401, cures what the imports below need

# isort: split
import torch
from mmaction.models.backbones import swin, vit_mae
from torch import Tensor, nn
from torch.nn import functional as F

from sbp_tad.models.backbones.clip_layout import ClipLayout
from sbp_tad.models.backbones.strategies.base import Keys, Strategy
from sbp_tad.sbp import SBPError
from sbp_tad.sbp.nested_tensors import Encoder, Features, encode_in_chunks


class TemporalAdapter(nn.Module):
    """Bottleneck with a depthwise convolution along time, with a residual connection.

    ``x + scale * up(h + point(depth(h)))`` with ``h = gelu(down(x))``.
    ``depth`` is a depthwise convolution along time at every position and
    ``point`` mixes its channels. ``up`` starts at zero, so the adapter starts
    as the identity.

    Args:
        channels: C.
        reduction: C divided by the channels of the bottleneck.
        kernel_size: steps that the convolution along time sees, odd.
    """

    def __init__(self, channels: int, reduction: int = 4, kernel_size: int = 3) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.down = nn.Linear(channels, hidden)
        self.depth = nn.Conv1d(hidden, hidden, kernel_size, padding=kernel_size // 2,
                               groups=hidden)
        self.point = nn.Conv1d(hidden, hidden, 1)
        self.up = nn.Linear(hidden, channels)
        self.scale = nn.Parameter(torch.ones(1))
        self.num_steps = 1  # T, of the next forward
        self.clips_together = 1  # clips whose steps are consecutive
        self.init_weights()

    def init_weights(self) -> None:
        """Initialize as the identity; the network initializes its blocks' layers before this."""
        nn.init.trunc_normal_(self.down.weight, std=0.02)
        for convolution in (self.depth, self.point):
            nn.init.kaiming_normal_(convolution.weight)
        nn.init.zeros_(self.up.weight)
        for layer in (self.down, self.depth, self.point, self.up):
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Adapt tokens (n, T, ..., C), the clips of a window side by side."""
        hidden = F.gelu(self.down(x))
        return x + self.scale * self.up(hidden + self._along_time(hidden))

    def _along_time(self, x: Tensor) -> Tensor:
        """Convolve x (n, T, ..., C) along time."""
        places = x.unflatten(0, (-1, self.clips_together)).flatten(1, 2)  # (B, K * T, ..., C)
        places = places.flatten(2, -2).permute(0, 2, 3, 1)  # (B, P, C, K * T)
        mixed = self.point(self.depth(places.flatten(0, 1))).unflatten(0, places.shape[:2])
        mixed = mixed.permute(0, 3, 1, 2)  # (B, K * T, P, C)
        return mixed.unflatten(1, (self.clips_together, -1)).reshape(x.shape)


def adapt_sequence(block: vit_mae.Block, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Adapt VideoMAE's tokens (n, T * P, C)."""
    return block.adapter(output.unflatten(1, (block.adapter.num_steps, -1))).flatten(1, 2)


def adapt_grid(block: swin.SwinTransformerBlock3D, inputs: tuple, output: Tensor) -> Tensor:
    """Adapt Video Swin's tokens (n, T, H, W, C)."""
    return block.adapter(output)


# Forward hook that adapts the output of each known type of block.
HOOKS = {vit_mae.Block: adapt_sequence, swin.SwinTransformerBlock3D: adapt_grid}


def tell_steps(network: vit_mae.VisionTransformer, inputs: tuple[Tensor]) -> None:
    """Forward pre-hook: pass the number of token steps of clips (n, C, L, H, W) to the adapters."""
    for adapter in list_adapters(network):
        adapter.num_steps = inputs[0].shape[2] // network.patch_embed.projection.stride[0]


def list_adapters(network: nn.Module) -> list[TemporalAdapter]:
    """List the adapters of a network, first block first."""
    return [module for module in network.modules() if isinstance(module, TemporalAdapter)]


def add_adapters(network: nn.Module, reduction: int = 4, kernel_size: int = 3,
                 blocks: Sequence[str] | None = None) -> int:
    """Freeze a network and put an adapter after its blocks, in place.

    Args:
        network: VideoMAE or Video Swin, or a module that contains one.
        reduction, kernel_size: see :class:`TemporalAdapter`.
        blocks: regular expressions of the blocks' names; None: all blocks.

    Returns:
        The number of adapters.

    Raises:
        SBPError: no block of a known type, or none whose name matches.
    """
    known = {name: module for name, module in network.named_modules() if type(module) in HOOKS}
    chosen = {name: block for name, block in known.items()
              if blocks is None or any(re.fullmatch(pattern, name) for pattern in blocks)}
    if not chosen:
        raise SBPError(
            f"mode 'adapters' puts adapters after the blocks of VideoMAE (VisionTransformer) and "
            f'Video Swin (SwinTransformer3D), and found none in {type(network).__name__}'
            + (f' that matches {list(blocks)}, of {list(known)}.' if known else
               '; take one of these or another mode.'))
    network.requires_grad_(False)
    for block in chosen.values():
        block.adapter = TemporalAdapter(block.norm1.weight.numel(), reduction, kernel_size)
        block.register_forward_hook(HOOKS[type(block)])
    for module in network.modules():
        if isinstance(module, vit_mae.VisionTransformer):
            module.register_forward_pre_hook(tell_steps)
    return len(chosen)


class AdaptersStrategy(Strategy):
    """Freeze a transformer and train a temporal adapter after each of its blocks.

    Liu et al., "End-to-End Temporal Action Detection with 1B Parameters Across
    1000 Frames" (AdaTAD), CVPR 2024. Only the adapters are updated, each a
    bottleneck with a depthwise convolution along time
    (:class:`TemporalAdapter`). A backbone of a billion parameters then trains
    on 1,536 frames: 75.4 % average mAP on THUMOS'14 with VideoMAEv2-giant
    (arXiv 2311.17241, abstract). The defaults are those of the published code
    (github.com/sming256/OpenTAD): channels are reduced to a quarter, kernels
    span three steps, the last projection starts at zero, and the convolution
    runs over the steps of the whole window, across clips.

    Saves the gradients and optimizer states of the frozen weights, and the
    inputs of their linear layers. The gradient still passes through all blocks
    after the first adapter, so the inputs of attention, norms and activation
    functions are saved. Relative to full backpropagation, on one CPU thread
    with 32 frames of 112 pixels: 0.75 of the bytes and 0.72 of the time for
    VideoMAE-S, 0.68 and 0.66 for Video Swin-T.

    Evaluation uses the adapters too, so the trained network differs from the
    wrapped one. The wrapped parameters keep their names and values, so a
    checkpoint of the wrapped network loads; the adapters add the names
    ``....adapter``. Frozen parts stay in evaluation mode. With
    ``across_clips`` evaluation encodes at least one whole window at a time.

    Args:
        keep_ratio: ignored.
        clips_at_once: clips in one pass without gradient.
        reduction, kernel_size, blocks: see :func:`add_adapters`.
        across_clips: let the convolutions see the neighbouring clips of a
            window; a batch of clips has no neighbours.

    Raises:
        SBPError: invalid sizes.
    """

    mode: ClassVar[str] = 'adapters'
    has_keep_ratio: ClassVar[bool] = False

    def __init__(self, keep_ratio: float = 0.25, clips_at_once: int | None = None,
                 reduction: int = 4, kernel_size: int = 3, blocks: Sequence[str] | None = None,
                 across_clips: bool = True) -> None:
        super().__init__(keep_ratio, clips_at_once)
        for name, value in dict(reduction=reduction, kernel_size=kernel_size).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SBPError(f'{name} of adapters must be a whole number of at least 1, '
                               f'got {value!r}.')
        if kernel_size % 2 == 0:
            raise SBPError('kernel_size of adapters must be odd, so that a step sees as many '
                           f'before as after it, got {kernel_size}.')
        self.reduction, self.kernel_size, self.blocks = reduction, kernel_size, blocks
        self.across_clips = across_clips

    def attach(self, network: nn.Module, layout: ClipLayout) -> None:
        """Freeze the network and add the adapters.

        Raises:
            SBPError: no block takes one, or the clips overlap and ``across_clips`` is set.
        """
        if self.across_clips and layout.context_frames:
            raise SBPError(f'context_frames={layout.context_frames} make clips overlap, so their '
                           'steps are not consecutive; leave them out or set '
                           'options=dict(across_clips=False).')
        self.network = network
        self.is_video = layout.clip_len is not None
        add_adapters(self.network, self.reduction, self.kernel_size, self.blocks)

    def on_train(self, network: nn.Module) -> None:
        """Put the frozen network into evaluation mode; adapters behave the same in both modes."""
        network.eval()

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        """Encode all clips in one pass; the gradient reaches down to the first adapter."""
        self._join_clips(len(clips) // len(keys))
        return encoder(clips)

    def encode_without_grad(self, encoder: Encoder, clips: Tensor, batch: int) -> Features:
        """Encode whole windows at a time."""
        together = self._join_clips(len(clips) // batch)
        windows = max(1, self.clips_without_grad // together)
        return encode_in_chunks(encoder, clips, windows * together)

    def _join_clips(self, num_clips: int) -> int:
        """Set, and return, the number of consecutive clips that the adapters join."""
        together = num_clips if self.across_clips and self.is_video else 1
        for adapter in list_adapters(self.network):
            adapter.clips_together = together
        return together
