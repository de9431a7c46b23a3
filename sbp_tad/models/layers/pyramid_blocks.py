"""Blocks of a temporal pyramid over masked sequences: local attention, convolution, pooling."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sbp_tad.models.errors import ModelError
from sbp_tad.models.layers.global_batch import DropPath
from sbp_tad.models.layers.masked_layers import (
    ChannelLayerNorm,
    ConvNorm,
    ConvNormReLU,
    MaskedConv1d,
    zero_padding,
)


def masked_max_pool(x: Tensor, mask: Tensor, stride: int, leaks: bool = False) -> Tensor:
    """Take the largest value of the ``stride + 1`` around every ``stride``-th position.

    Only real values count, or with ``leaks`` those in padding as well.
    """
    if stride == 1:
        return zero_padding(x, mask)
    x = x if leaks else x.masked_fill(~mask[:, None], float('-inf'))
    pooled = F.max_pool1d(x, 2 * (stride // 2) + 1, stride, stride // 2)
    return zero_padding(pooled, mask[:, ::stride])


def local_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor,
                    window: int) -> Tensor:
    """Attend from each position to the real positions within ``window // 2``, exactly.

    Blocks of ``window`` queries attend to the keys of the block and
    ``window // 2`` on either side. So the scores take ``O(T * window)``
    memory instead of ``O(T * T)``. A padded query attends to itself (the
    softmax of an empty row is NaN).

    Args:
        query: (B, heads, T, D).
        key: (B, heads, T, D).
        value: (B, heads, T, D).
        mask: (B, T) bool, True = real.
        window: odd number of positions; 0 or less for all positions.

    Returns:
        (B, heads, T, D).
    """
    batch, _, length, _ = query.shape
    reach = length - 1 if window <= 0 else min(window // 2, length - 1)
    if reach == length - 1:
        itself = torch.eye(length, dtype=torch.bool, device=mask.device)
        allowed = mask[:, None, None] | itself  # (B, 1, T, T)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)

    extra = -length % window
    span = window + 2 * reach
    offset = torch.arange(span, device=mask.device) - reach
    offset = offset - torch.arange(window, device=mask.device)[:, None]  # key minus query
    real = F.pad(mask, (reach, reach + extra)).unfold(1, span, window)  # (B, blocks, span)
    allowed = real[:, :, None] & (offset.abs() <= reach) | (offset == 0)

    def blocks(x: Tensor, margin: int) -> Tensor:
        x = F.pad(x, (0, 0, margin, margin + extra))
        x = x.unfold(2, window + 2 * margin, window)  # (B, heads, blocks, D, window + 2 margin)
        return x.permute(0, 2, 1, 4, 3).flatten(0, 1)  # (B * blocks, heads, ..., D)

    x = F.scaled_dot_product_attention(blocks(query, 0), blocks(key, reach), blocks(value, reach),
                                       attn_mask=allowed.flatten(0, 1)[:, None])
    x = x.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2, 3)  # (B, heads, T + extra, D)
    return x[:, :, :length]


class MaskedLocalAttention(nn.Module):
    """Multi-head self-attention in a local window (Zhang et al., ActionFormer, ECCV 2022).

    Before their projections, queries, keys and values pass a depthwise
    convolution, which has the stride and encodes the position.

    Args:
        channels: C, in and out.
        num_heads: number of heads, a divisor of C.
        window: odd number of positions in a window; 0 or less for all positions.
        stride: stride of the depthwise convolutions.
        kernel_size: kernel size of the depthwise convolutions, odd.

    Raises:
        ModelError: channels that ``num_heads`` does not divide, or an even window.
    """

    def __init__(self, channels: int, num_heads: int, window: int, stride: int = 1,
                 kernel_size: int = 3) -> None:
        super().__init__()
        if channels % num_heads:
            raise ModelError(f'{channels} channels cannot be split into {num_heads} '
                             'heads: choose a divisor of the channels')
        if window > 0 and window % 2 == 0:
            raise ModelError(f'window must be odd, or 0 for full attention, got {window}')
        self.num_heads, self.window = num_heads, window
        self.convs = nn.ModuleList(
            MaskedConv1d(channels, channels, kernel_size, stride, groups=channels, bias=False)
            for _ in range(3))
        self.norms = nn.ModuleList(ChannelLayerNorm(channels) for _ in range(3))
        self.projections = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in range(3))
        self.out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(B, C, T), (B, T)`` to ``(B, C, ceil(T / stride))`` and its mask."""
        heads = []
        for conv, norm, project in zip(self.convs, self.norms, self.projections):
            y, out_mask = conv(x, mask)
            y = project(norm(y)).unflatten(1, (self.num_heads, -1))  # (B, heads, D, T')
            heads.append(y.transpose(2, 3))
        y = local_attention(*heads, out_mask, self.window)  # (B, heads, T', D)
        y = self.out(y.transpose(2, 3).flatten(1, 2))  # (B, C, T')
        return zero_padding(y, out_mask), out_mask


class ScaledBranch(nn.Module):
    """A learned scale for each channel of a residual branch, then stochastic depth.

    LayerScale, Touvron et al., ICCV 2021. A branch with a small scale starts
    close to the identity.

    Args:
        channels: C.
        start: first value of every scale.
        drop_path: probability that a sample skips the branch in training.
    """

    def __init__(self, channels: int, start: float, drop_path: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels, 1), float(start)))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Scale and maybe drop a branch ``(B, C, T)``; the shape stays."""
        return self.drop_path(self.scale * x)


class TransformerBlock(nn.Module):
    """Pre-norm transformer block; with a stride it also shortens the sequence.

    All biases start at zero, as in ActionFormer.

    Args:
        channels: C, in and out.
        num_heads: number of heads, a divisor of C.
        window: odd number of positions in a window; 0 or less for all positions.
        stride: 1, or 2 to halve the length.
        mlp_ratio: hidden channels of the MLP divided by C.
        drop_path: probability that a sample skips a branch in training.
        kernel_size: kernel size of the depthwise convolutions, odd.
        layer_scale: first value of the scales of both branches, see
            :class:`ScaledBranch`; None for branches without scales.
    """

    leaks = False  # see follow_padding

    def __init__(self, channels: int, num_heads: int = 4, window: int = 19, stride: int = 1,
                 mlp_ratio: float = 4.0, drop_path: float = 0.0, kernel_size: int = 3,
                 layer_scale: float | None = None) -> None:
        super().__init__()
        hidden = int(channels * mlp_ratio)
        self.stride = stride
        self.norm1 = ChannelLayerNorm(channels)
        self.attention = MaskedLocalAttention(channels, num_heads, window, stride, kernel_size)
        self.norm2 = ChannelLayerNorm(channels)
        self.mlp = nn.Sequential(nn.Conv1d(channels, hidden, 1), nn.GELU(),
                                 nn.Conv1d(hidden, channels, 1))
        self.branches = nn.ModuleList(
            DropPath(drop_path) if layer_scale is None else
            ScaledBranch(channels, layer_scale, drop_path) for _ in range(2))
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(B, C, T), (B, T)`` to ``(B, C, ceil(T / stride))`` and its mask."""
        add_attended, add_mlp = self.branches
        attended, out_mask = self.attention(self.norm1(x), mask)
        x = masked_max_pool(x, mask, self.stride, self.leaks) + add_attended(attended)
        x = x + add_mlp(self.mlp(self.norm2(x)))
        return zero_padding(x, out_mask), out_mask


class ConvBlock(nn.Module):
    """Residual convolution block, the light alternative to :class:`TransformerBlock`.

    Args:
        channels: C, in and out.
        stride: 1, or 2 to halve the length.
        drop_path: probability that a sample skips the branch in training.
        kernel_size: odd.
    """

    def __init__(self, channels: int, stride: int = 1, drop_path: float = 0.0,
                 kernel_size: int = 3) -> None:
        super().__init__()
        self.stride = stride
        self.branch = ConvNormReLU(channels, channels, kernel_size, stride)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(B, C, T), (B, T)`` to ``(B, C, ceil(T / stride))`` and its mask."""
        y, out_mask = self.branch(x, mask)
        return masked_max_pool(x, mask, self.stride) + self.drop_path(y), out_mask


def follow_padding(module: nn.Module, code: str) -> None:
    """Let the layers of a network read padding as a published code does.

    There the biases of normalizations stand in padding and pooling takes its
    zeros, so the last real positions depend on how long the padding is.

    Args:
        module: its layers are changed.
        code: ``'masked'`` changes nothing; ``'actionformer'`` and
            ``'opentad'`` follow those codes.

    Raises:
        ModelError: an unknown code.
    """
    if code not in LEAKING_LAYERS:
        raise ModelError(f'unknown padding {code!r}, choose one of {tuple(LEAKING_LAYERS)}')
    for layer in module.modules():
        if isinstance(layer, LEAKING_LAYERS[code]):
            layer.leaks = True


LEAKING_LAYERS: dict[str, tuple[type[nn.Module], ...]] = {
    'masked': (),
    'actionformer': (MaskedConv1d, ConvNorm, TransformerBlock),
    'opentad': (MaskedConv1d, TransformerBlock),  # it masks after its normalizations
}
