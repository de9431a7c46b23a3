"""Temporal feature pyramid of ActionFormer."""
from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from sbp_tad.models.errors import ModelError
from sbp_tad.models.layers.masked_layers import (
    ChannelLayerNorm,
    ConvNormReLU,
    check_sequence,
    zero_padding,
)
from sbp_tad.models.layers.pyramid_blocks import ConvBlock, TransformerBlock, follow_padding
from sbp_tad.registry import MODELS

BLOCKS = ('attention', 'conv')


@MODELS.register_module()
class ActionFormerNeck(BaseModule):
    """Turn features into a pyramid of levels, each half as long as the previous one.

    Embedding convolutions, stem blocks, then one stride-2 block per level
    (Zhang et al., ActionFormer, ECCV 2022). There is no position embedding;
    the "FPN" is a layer normalization of each level. Any length works: the
    features are padded to a multiple of the largest stride.

    Args:
        in_channels: channels of the backbone's features.
        embed_channels: C of every level.
        num_embed_convs: number of embedding convolutions.
        num_stem_blocks: number of blocks at full length.
        num_levels: number of levels, of strides 1, 2, ..., ``2 ** (num_levels - 1)``.
        num_heads: attention heads, a divisor of ``embed_channels``.
        window: odd number of positions of local attention; 0 for full attention.
        mlp_ratio: hidden channels of the MLP divided by C.
        drop_path: probability that a sample skips a branch in training.
        kernel_size: kernel size of all convolutions, odd.
        block: ``'attention'`` or the light ``'conv'``.
        layer_scale: first value of the learned scales of both branches of an
            attention block (1e-4 in the published code); None for none.
        pad_to: features are padded to at least this many steps.
        padding: ``'masked'``, or ``'actionformer'`` or ``'opentad'`` to
            reproduce those codes in padded windows, see
            :func:`sbp_tad.models.layers.pyramid_blocks.follow_padding`.
        norm_eps: eps of the normalizations of embedding and levels (1e-6 in
            OpenTAD).
        input_dropout: probability to drop a channel of the features in
            training (0.2 in OpenTAD's recipe for features).
        init_cfg: weight initialization of mmengine.

    Raises:
        ModelError: an unknown block, no level, or channels that do not match.
    """

    def __init__(self, in_channels: int, embed_channels: int = 512, num_embed_convs: int = 2,
                 num_stem_blocks: int = 2, num_levels: int = 6, num_heads: int = 4,
                 window: int = 19, mlp_ratio: float = 4.0, drop_path: float = 0.1,
                 kernel_size: int = 3, block: str = 'attention',
                 layer_scale: float | None = 1e-4, pad_to: int = 0, padding: str = 'masked',
                 norm_eps: float = 1e-5, input_dropout: float = 0.0,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if block not in BLOCKS:
            raise ModelError(f'unknown block {block!r}, choose one of {BLOCKS}')
        if num_levels < 1:
            raise ModelError(f'num_levels must be at least 1, got {num_levels}')
        make = partial(ConvBlock, embed_channels, drop_path=drop_path, kernel_size=kernel_size)
        if block == 'attention':
            make = partial(TransformerBlock, embed_channels, num_heads, window,
                           mlp_ratio=mlp_ratio, drop_path=drop_path, kernel_size=kernel_size,
                           layer_scale=layer_scale)
        widths = [in_channels] + [embed_channels] * num_embed_convs
        if num_embed_convs < 1 and in_channels != embed_channels:
            raise ModelError(
                f'without embedding convolutions embed_channels ({embed_channels}) must be '
                f'in_channels ({in_channels}); set num_embed_convs to 1 or more')
        self.in_channels = in_channels
        self.strides = tuple(2 ** level for level in range(num_levels))
        self.embed = nn.ModuleList(ConvNormReLU(before, after, kernel_size, eps=norm_eps)
                                   for before, after in zip(widths, widths[1:]))
        self.stem = nn.ModuleList(make(stride=1) for _ in range(num_stem_blocks))
        self.downsample = nn.ModuleList(make(stride=2) for _ in range(num_levels - 1))
        self.norms = nn.ModuleList(ChannelLayerNorm(embed_channels, eps=norm_eps)
                                   for _ in range(num_levels))
        self.input_dropout = nn.Dropout1d(input_dropout)
        self.pad_to, self.padding = pad_to, padding
        follow_padding(self, padding)

    def forward(self, features: Tensor, masks: Tensor
                ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return all levels, the longest first.

        Args:
            features: (B, in_channels, T').
            masks: (B, T') bool, True = real.

        Returns:
            Features (B, C, T_l) and masks (B, T_l) of the levels. ``T_l`` is
            T', padded to a multiple of the largest stride, divided by the
            stride of level l.

        Raises:
            ModelError: other shapes.
        """
        check_sequence(features, masks, self.in_channels)
        length = features.shape[2]
        wanted = max(length, self.pad_to)
        extra = wanted + -wanted % self.strides[-1] - length
        x, mask = F.pad(self.input_dropout(features), (0, extra)), F.pad(masks, (0, extra))
        for layer in (*self.embed, *self.stem):
            x, mask = layer(x, mask)
        levels, level_masks = [x], [mask]
        for layer in self.downsample:
            x, mask = layer(x, mask)
            levels.append(x)
            level_masks.append(mask)
        normed = [norm(x) for norm, x in zip(self.norms, levels)]
        if self.padding == 'masked':
            normed = [zero_padding(x, mask) for x, mask in zip(normed, level_masks)]
        return tuple(normed), tuple(level_masks)
