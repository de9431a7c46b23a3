"""Temporal feature pyramid of DaoTAD: downsampling, then a top-down path."""
from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from sbp_tad.models.errors import ModelError
from sbp_tad.models.layers.batch_norm import freeze_batch_norm
from sbp_tad.models.layers.masked_layers import ConvNorm, ConvNormReLU, MaskedConv1d, check_sequence
from sbp_tad.registry import MODELS

Levels = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]  # features (B, C, T_l), masks (B, T_l)


class TemporalDownsampling(nn.Module):
    """Downsample features ``num_levels - 1`` times by 2 (the TDM of DaoTAD).

    Args:
        in_channels: channels of the features.
        channels: channels of the shorter levels.
        num_levels: number of levels, the features included.
        norm: see :class:`sbp_tad.models.layers.masked_layers.ConvNorm`.
    """

    def __init__(self, in_channels: int, channels: int, num_levels: int, norm: str) -> None:
        super().__init__()
        widths = [in_channels] + [channels] * (num_levels - 1)
        self.layers = nn.ModuleList(ConvNormReLU(before, after, stride=2, norm=norm)
                                    for before, after in zip(widths, widths[1:]))
        for layer in self.layers:  # frozen batch normalization does not correct the scale
            nn.init.kaiming_normal_(layer.conv.weight, mode='fan_out', nonlinearity='relu')

    def forward(self, x: Tensor, mask: Tensor) -> Levels:
        """Map ``(B, C, T), (B, T)`` to levels of ``T, ceil(T / 2), ...`` steps."""
        levels, masks = [x], [mask]
        for layer in self.layers:
            x, mask = layer(x, mask)
            levels.append(x)
            masks.append(mask)
        return tuple(levels), tuple(masks)


class TemporalFPN(nn.Module):
    """Lateral connections and a top-down path (Lin et al., CVPR 2017), in one dimension.

    Args:
        in_channels: channels of each level, the longest first; each level is
            half as long as the previous one.
        channels: output channels of all levels.
        norm: see :class:`sbp_tad.models.layers.masked_layers.ConvNorm`.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, norm: str) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(ConvNorm(width, channels, 1, norm=norm)
                                      for width in in_channels)
        self.outputs = nn.ModuleList(ConvNorm(channels, channels, norm=norm) for _ in in_channels)
        for layer in (*self.laterals, *self.outputs):
            nn.init.xavier_uniform_(layer.conv.weight)

    def forward(self, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> Levels:
        """Return all levels with ``channels`` channels, and their masks."""
        laterals = [layer(x, mask)[0] for layer, x, mask in zip(self.laterals, levels, masks)]
        for fine in range(len(laterals) - 2, -1, -1):
            above = laterals[fine + 1].repeat_interleave(2, dim=2)
            laterals[fine] = laterals[fine] + above[..., :laterals[fine].shape[2]]
        # each output convolution sets padding to zero first
        outputs = [layer(x, mask)[0] for layer, x, mask in zip(self.outputs, laterals, masks)]
        return tuple(outputs), tuple(masks)


@MODELS.register_module()
class DaoTADNeck(BaseModule):
    """Turn features into a pyramid with a top-down path from short to long levels.

    Wang et al., "RGB Stream Is Enough for Temporal Action Detection", 2021,
    without its first step, the spatial reduction (SRM). That is a mean over
    space, which :class:`sbp_tad.models.backbones.sbp_backbone.SBPBackbone` does.

    Args:
        in_channels: channels of the backbone's features.
        embed_channels: C of every level.
        downsample_channels: channels of all levels but the first, before the FPN.
        num_levels: number of levels, each half as long as the previous one.
        num_stem_convs: number of stride-2 convolutions to
            ``downsample_channels`` before the first level, for a backbone with
            a finer temporal stride.
        norm: normalization of downsampling and FPN, ``'BN'``, or ``'LN'`` for
            small batches.
        norm_eval: freeze the batch normalization of the downsampling, as the
            published code does.
        init_cfg: weight initialization of mmengine.

    Raises:
        ModelError: ``num_levels`` below 1, a negative ``num_stem_convs`` or an
            unknown ``norm``.
    """

    def __init__(self, in_channels: int, embed_channels: int = 256,
                 downsample_channels: int = 512, num_levels: int = 5, num_stem_convs: int = 0,
                 norm: str = 'BN', norm_eval: bool = True, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if num_levels < 1 or num_stem_convs < 0:
            raise ModelError('DaoTADNeck needs num_levels >= 1 and num_stem_convs >= 0, '
                             f'got {num_levels} and {num_stem_convs}')
        self.in_channels, self.norm_eval = in_channels, norm_eval
        widths = [in_channels] + [downsample_channels] * num_stem_convs
        self.stem = nn.ModuleList(MaskedConv1d(before, after, stride=2)
                                  for before, after in zip(widths, widths[1:]))
        self.downsampling = TemporalDownsampling(widths[-1], downsample_channels, num_levels, norm)
        self.fpn = TemporalFPN([widths[-1]] + [downsample_channels] * (num_levels - 1),
                               embed_channels, norm)
        self.train()

    def train(self, mode: bool = True) -> DaoTADNeck:
        """Set the mode; frozen batch normalization stays in evaluation mode."""
        super().train(mode)
        if mode and self.norm_eval:
            freeze_batch_norm(self.downsampling)
        return self

    def forward(self, features: Tensor, masks: Tensor) -> Levels:
        """Return all levels, the longest first.

        Args:
            features: (B, in_channels, T').
            masks: (B, T') bool, True = real.

        Returns:
            Features (B, C, T_l) and masks (B, T_l) of the levels. Every
            convolution of the stem and every further level halves the length,
            rounded up.

        Raises:
            ModelError: other shapes.
        """
        check_sequence(features, masks, self.in_channels)
        for number, conv in enumerate(self.stem):
            features, masks = conv(F.relu(features) if number else features, masks)
        return self.fpn(*self.downsampling(features, masks))
