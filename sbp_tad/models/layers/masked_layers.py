"""Layers over masked sequences ``(B, C, T)`` with masks ``(B, T)``, True = real.

Values in padding never influence real positions, and every layer leaves zeros
in padding. :func:`sbp_tad.models.layers.pyramid_blocks.follow_padding` gives
that up where a published network is to be reproduced.
"""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sbp_tad.models.errors import ModelError


def zero_padding(x: Tensor, mask: Tensor) -> Tensor:
    """Set ``x`` (B, C, T) to zero where ``mask`` (B, T) is False, also NaN."""
    return x.masked_fill(~mask[:, None], 0.0)


def check_batch(inputs: Tensor | None) -> None:
    """Check that a batch has a sample.

    Args:
        inputs: (B, ...), or None if no sample of the batch is readable.

    Raises:
        ModelError: it has none.
    """
    if inputs is None or not len(inputs):
        raise ModelError('the batch is empty: none of its samples is readable, or the data set '
                         'gave none. Only prediction takes such a batch')


def check_sequence(features: Tensor, masks: Tensor, in_channels: int) -> None:
    """Check the shapes of features (B, in_channels, T) and masks (B, T).

    Raises:
        ModelError: other shapes.
    """
    if features.ndim != 3 or features.shape[1] != in_channels:
        raise ModelError(
            f'features must have shape (B, in_channels={in_channels}, T), got '
            f'{tuple(features.shape)}: set in_channels to the channels of the features')
    if masks.shape != (features.shape[0], features.shape[2]):
        raise ModelError(f'masks of features {tuple(features.shape)} must have shape '
                         f'(B, T), got {tuple(masks.shape)}')


def check_finite(*predictions: Tensor) -> None:
    """Check that predictions are finite.

    Raises:
        ModelError: an infinite value or NaN.
    """
    if not all(tensor.isfinite().all() for tensor in predictions):
        raise ModelError('the head gives NaN or infinity: the input or the weights are not '
                         'finite. Check the training log and lower the learning rate')


class ChannelLayerNorm(nn.LayerNorm):
    """Layer normalization over the channels of ``(B, C, T)``, separately at each position."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``(B, C, T)``; the shape stays."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


NORMS = {'LN': ChannelLayerNorm, 'BN': nn.BatchNorm1d}


def batch_norm_real(norm: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    """Apply batch normalization with the statistics of the real positions; 0 elsewhere.

    Fewer than two real positions have no variance. Then the running
    statistics are used and not updated.
    """
    rows = x.transpose(1, 2)[mask]  # (P, C)
    if len(rows) < 2:
        normed = F.batch_norm(rows, norm.running_mean, norm.running_var, norm.weight, norm.bias,
                              training=False, eps=norm.eps)
    else:
        normed = norm(rows)
    out = normed.new_zeros(len(x), x.shape[2], x.shape[1])
    out[mask] = normed
    return out.transpose(1, 2)


class MaskedConv1d(nn.Conv1d):
    """Convolution with an odd kernel that keeps the length, or divides it by the stride.

    Output ``i`` is centred on input ``i * stride`` and real if that input is.
    A bias starts at zero.

    Raises:
        ModelError: an even kernel size.
    """

    leaks = False  # see follow_padding

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3,
                 stride: int = 1, groups: int = 1, bias: bool = True) -> None:
        if kernel_size % 2 == 0:
            raise ModelError(f'kernel_size must be odd, got {kernel_size}')
        super().__init__(in_channels, out_channels, kernel_size, stride,
                         padding=kernel_size // 2, groups=groups, bias=bias)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(B, C, T), (B, T)`` to ``(B, C', ceil(T / stride))`` and its mask."""
        out_mask = mask[:, ::self.stride[0]]
        x = x if self.leaks else zero_padding(x, mask)
        return zero_padding(super().forward(x), out_mask), out_mask


class ConvNorm(nn.Module):
    """Masked convolution and normalization.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size: odd.
        stride: stride of the convolution.
        norm: ``'LN'`` (each position separately) or ``'BN'`` (over the real
            positions of the batch).
        eps: of the normalization.

    Raises:
        ModelError: an unknown norm or an even kernel size.
    """

    leaks = False  # see follow_padding

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3,
                 stride: int = 1, norm: str = 'LN', eps: float = 1e-5) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ModelError(f'unknown norm {norm!r}, choose one of {tuple(NORMS)}')
        # the normalization has a bias
        self.conv = MaskedConv1d(in_channels, out_channels, kernel_size, stride, bias=False)
        self.norm = NORMS[norm](out_channels, eps=eps)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(B, C, T), (B, T)`` to ``(B, C', ceil(T / stride))`` and its mask."""
        x, mask = self.conv(x, mask)
        live = self.norm.training and isinstance(self.norm, nn.modules.batchnorm._BatchNorm)
        x = batch_norm_real(self.norm, x, mask) if live else self.norm(x)
        return x if self.leaks else zero_padding(x, mask), mask


class ConvNormReLU(ConvNorm):
    """Masked convolution, normalization and ReLU; arguments as of :class:`ConvNorm`."""

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(B, C, T), (B, T)`` to ``(B, C', ceil(T / stride))`` and its mask."""
        x, mask = super().forward(x, mask)
        return F.relu(x), mask


class ConvTower(nn.Module):
    """Convolutions and a predictor that all levels of a head share.

    Args:
        in_channels: C.
        channels: channels of the convolutions.
        out_channels: channels of the predictor.
        num_convs: convolutions before the predictor.
        kernel_size: odd.
        norm: see :class:`ConvNorm`.
        eps: of the normalizations.
    """

    def __init__(self, in_channels: int, channels: int, out_channels: int, num_convs: int,
                 kernel_size: int, norm: str = 'LN', eps: float = 1e-5) -> None:
        super().__init__()
        widths = [in_channels] + [channels] * num_convs
        self.convs = nn.ModuleList(ConvNormReLU(before, after, kernel_size, norm=norm, eps=eps)
                                   for before, after in zip(widths, widths[1:]))
        self.predictor = MaskedConv1d(widths[-1], out_channels, kernel_size)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map ``(B, C, T), (B, T)`` to ``(B, T, out_channels)``."""
        for conv in self.convs:
            x, mask = conv(x, mask)
        return self.predictor(x, mask)[0].transpose(1, 2)
