"""Image networks of the in-depth study of SBP, built from blocks of mmaction and torch.

Fang et al., "An In-depth Study of Stochastic Backpropagation", NeurIPS 2022.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmaction.models.backbones.vit_mae import VisionTransformer
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn

from sbp_tad.models.token_forms.videomae import TokenVideoMAE
from sbp_tad.registry import MODELS
from sbp_tad.sbp.handlers import register_rule


@MODELS.register_module()
class ImageViT(VisionTransformer):
    """Vision transformer for images (N, 3, H, W): the video transformer of mmaction on one frame.

    It averages the tokens and has no class token. A class token would be the
    only token of the last block that the loss sees, and SBP could drop it.

    Args:
        options: see :class:`mmaction.models.VisionTransformer`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(num_frames=1, tubelet_size=1, **options)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images (N, 3, H, W) to vectors (N, embed_dims)."""
        return super().forward(x[:, :, None])


class TokenImageViT(ImageViT, TokenVideoMAE):
    """ImageViT that passes the grid of the tokens to its blocks."""

    plain_type = ImageViT


@register_rule(ImageViT)
def image_vit(model: ImageViT) -> type[nn.Module]:
    """Return the token-level form of any ImageViT."""
    return TokenImageViT


class ChannelsFirstNorm(nn.LayerNorm):
    """Layer normalization over the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (N, C, H, W)."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, then an MLP at every position, with a residual connection.

    SBP covers ``mlp``: a Sequential of LayerNorm, Linear, GELU, Linear.
    """

    def __init__(self, channels: int, drop_path_rate: float, layer_scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.mlp = nn.Sequential(nn.LayerNorm(channels, eps=1e-6),
                                 nn.Linear(channels, 4 * channels), nn.GELU(),
                                 nn.Linear(4 * channels, channels))
        self.gamma = nn.Parameter(torch.full((channels, ), layer_scale))
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        places = self.depthwise(x).movedim(1, -1)[:, None]  # (N, 1, H, W, C): the grid of SBP
        branch = self.gamma * self.mlp(places)[:, 0]
        return x + self.drop_path(branch.movedim(-1, 1))


@MODELS.register_module()
class ConvNeXt(BaseModule):
    """ConvNeXt (Liu et al., "A ConvNet for the 2020s", CVPR 2022) for images (N, 3, H, W).

    Args:
        depths: blocks per stage.
        channels: of each stage.
        drop_path_rate: of the last block, growing linearly from 0.
        layer_scale: initial scale of each block's branch.
    """

    def __init__(self, depths: Sequence[int] = (3, 3, 9, 3),
                 channels: Sequence[int] = (96, 192, 384, 768), drop_path_rate: float = 0.0,
                 layer_scale: float = 1e-6, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg or dict(type='TruncNormal', layer=['Conv2d', 'Linear'],
                                          std=0.02, bias=0.0))
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths)).tolist())
        self.downsamplings = nn.ModuleList([nn.Sequential(
            nn.Conv2d(3, channels[0], 4, 4), ChannelsFirstNorm(channels[0], eps=1e-6))])
        for before, after in zip(channels, channels[1:]):
            self.downsamplings.append(nn.Sequential(
                ChannelsFirstNorm(before, eps=1e-6), nn.Conv2d(before, after, 2, 2)))
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNeXtBlock(width, next(rates), layer_scale) for _ in range(depth)))
            for depth, width in zip(depths, channels))
        self.norm = nn.LayerNorm(channels[-1], eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images (N, 3, H, W) to (N, C) of the last stage, averaged over positions."""
        for downsampling, stage in zip(self.downsamplings, self.stages):
            x = stage(downsampling(x))
        return self.norm(x.mean((2, 3)))
