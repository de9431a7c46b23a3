"""Temporal adapters: the network stays as it is, small modules after its blocks are trained.

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
    """Project tokens down, exchange them along time, project up, add.

    ``x + scale * up(h + point(depth(h)))`` with ``h = gelu(down(x))``, where
    ``depth`` is a depth-wise convolution along time at every place and
    ``point`` mixes its channels. ``up`` is zero at first, so nothing changes.

    Args:
        channels: C.
        reduction: C over the channels inside.
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
        self.num_steps = 1  # T, of the coming forward
        self.clips_together = 1  # clips whose steps follow each other
        self.init_weights()

    def init_weights(self) -> None:
        """The identity; a network's own initialization goes over its blocks' layers before."""
        nn.init.trunc_normal_(self.down.weight, std=0.02)
        for convolution in (self.depth, self.point):
            nn.init.kaiming_normal_(convolution.weight)
        nn.init.zeros_(self.up.weight)
        for layer in (self.down, self.depth, self.point, self.up):
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (n, T, ..., C), the clips of a window side by side."""
        hidden = F.gelu(self.down(x))
        return x + self.scale * self.up(hidden + self._along_time(hidden))

    def _along_time(self, x: Tensor) -> Tensor:
        """What the convolutions give for x (n, T, ..., C)."""
        places = x.unflatten(0, (-1, self.clips_together)).flatten(1, 2)  # (B, K * T, ..., C)
        places = places.flatten(2, -2).permute(0, 2, 3, 1)  # (B, P, C, K * T)
        mixed = self.point(self.depth(places.flatten(0, 1))).unflatten(0, places.shape[:2])
        mixed = mixed.permute(0, 3, 1, 2)  # (B, K * T, P, C)
        return mixed.unflatten(1, (self.clips_together, -1)).reshape(x.shape)


def adapt_sequence(block: vit_mae.Block, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """VideoMAE's tokens (n, T * P, C), adapted."""
    return block.adapter(output.unflatten(1, (block.adapter.num_steps, -1))).flatten(1, 2)


def adapt_grid(block: swin.SwinTransformerBlock3D, inputs: tuple, output: Tensor) -> Tensor:
    """Video Swin's tokens (n, T, H, W, C), adapted."""
    return block.adapter(output)


# Blocks of known kinds, and the forward hook that adapts what they return.
HOOKS = {vit_mae.Block: adapt_sequence, swin.SwinTransformerBlock3D: adapt_grid}


def tell_steps(network: vit_mae.VisionTransformer, inputs: tuple[Tensor]) -> None:
    """Forward pre-hook: how many steps in time the tokens of clips (n, C, L, H, W) have."""
    for adapter in list_adapters(network):
        adapter.num_steps = inputs[0].shape[2] // network.patch_embed.projection.stride[0]


def list_adapters(network: nn.Module) -> list[TemporalAdapter]:
    """The adapters of a network, first block first."""
    return [module for module in network.modules() if isinstance(module, TemporalAdapter)]


def add_adapters(network: nn.Module, reduction: int = 4, kernel_size: int = 3,
                 blocks: Sequence[str] | None = None) -> int:
    """Freeze a network and put an adapter after its blocks, in place; how many.

    Args:
        network: VideoMAE or Video Swin, whatever is around it.
        reduction, kernel_size: see :class:`TemporalAdapter`.
        blocks: regular expressions of the blocks' names; None: all of them.

    Raises:
        SBPError: it has no block of a known kind, or none with such a name.
    """
    known = {name: module for name, module in network.named_modules() if type(module) in HOOKS}
    chosen = {name: block for name, block in known.items()
              if blocks is None or any(re.fullmatch(pattern, name) for pattern in blocks)}
    if not chosen:
        raise SBPError(
            f"mode 'adapters' puts adapters after the blocks of VideoMAE (VisionTransformer) and "
            f'Video Swin (SwinTransformer3D), and found none in {type(network).__name__}'
            + (f' that fits {list(blocks)}, of {list(known)}.' if known else
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
    """A frozen transformer with a trained temporal adapter after each of its blocks.

    Liu et al., "End-to-End Temporal Action Detection with 1B Parameters Across
    1000 Frames" (AdaTAD), CVPR 2024: only adapters are updated, each a
    bottleneck with a depth-wise convolution along time
    (:class:`TemporalAdapter`), so a backbone of a billion parameters trains on
    1,536 frames: 75.4 % average mAP on THUMOS'14 with VideoMAEv2-giant (arXiv
    2311.17241, abstract). As in the published code
    (github.com/sming256/OpenTAD) channels are reduced to a quarter, kernels
    span three steps, the last projection starts at zero, and the convolution
    runs over the steps of the whole window, from clip to clip.

    The network is other than the wrapped one once it is trained. Its own
    parameters keep their names and values, so a checkpoint of it loads, and
    adapters are ``....adapter`` on top. Frozen parts behave as in evaluation.
    With ``across_clips`` evaluation encodes at least the clips of a whole
    window at a time.

    The gradient still passes through all blocks behind the first adapter, so
    what attention, norms and activations need of their inputs is kept; inputs
    of linear layers are not. On one CPU thread, 32 frames of 112 pixels, in
    parts of full backpropagation: 0.75 of the bytes and 0.72 of the time of
    VideoMAE-S, 0.68 and 0.66 of Video Swin-T.

    Args:
        keep_ratio: ignored.
        clips_at_once: clips in one pass without gradient.
        reduction, kernel_size, blocks: see :func:`add_adapters`.
        across_clips: let the convolutions see the neighbouring clips of a
            window; a batch of clips has no neighbours.

    Raises:
        SBPError: sizes that cannot be.
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
                           f'before as behind it, got {kernel_size}.')
        self.reduction, self.kernel_size, self.blocks = reduction, kernel_size, blocks
        self.across_clips = across_clips

    def attach(self, network: nn.Module, layout: ClipLayout) -> None:
        """Freeze the network and add the adapters.

        Raises:
            SBPError: no block takes one, or clips that overlap shall see each other.
        """
        if self.across_clips and layout.context_frames:
            raise SBPError(f'context_frames={layout.context_frames} make clips overlap, so their '
                           'steps do not follow each other; leave them out or set '
                           'options=dict(across_clips=False).')
        self.network = network
        self.is_video = layout.clip_len is not None
        add_adapters(self.network, self.reduction, self.kernel_size, self.blocks)

    def on_train(self, network: nn.Module) -> None:
        """Frozen parts behave as in evaluation; an adapter does not tell the two apart."""
        network.eval()

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        """Everything in one pass, gradient reaching down to the first adapter."""
        self._join_clips(len(clips) // len(keys))
        return encoder(clips)

    def encode_without_grad(self, encoder: Encoder, clips: Tensor, batch: int) -> Features:
        """The same, whole windows at a time."""
        together = self._join_clips(len(clips) // batch)
        windows = max(1, self.clips_without_grad // together)
        return encode_in_chunks(encoder, clips, windows * together)

    def _join_clips(self, num_clips: int) -> int:
        """Tell the adapters how many clips, side by side, follow each other."""
        together = num_clips if self.across_clips and self.is_video else 1
        for adapter in list_adapters(self.network):
            adapter.clips_together = together
        return together
