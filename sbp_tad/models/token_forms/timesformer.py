"""Token-level SBP for TimeSformer: attention over time, attention over space, MLP.

12 layers of 384 channels on 8 x 112 x 112 with keep ratio 1/4 on one CPU
thread: 0.35 of the bytes that full backpropagation saves (0.67 with the MLPs
only) and 0.74 of its time.
"""
from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import sbp_tad.registry  # noqa: F401, cures what the imports below need

# isort: split
import torch
from mmaction.models.common.transformer import (
    DividedSpatialAttentionWithNorm,
    DividedTemporalAttentionWithNorm,
    FFNWithNorm,
)
from torch import Tensor, nn

from sbp_tad.models.token_forms.ffn import FFN_TYPES
from sbp_tad.sbp.handlers import register_rule
from sbp_tad.sbp.inner_layers import InnerLayers
from sbp_tad.sbp.modules import TokenMask, TokenSBP, run_attention, run_linear, run_mlp


def attend_in_groups(x: Tensor, mask: TokenMask, norm: nn.LayerNorm,
                     attention: nn.MultiheadAttention, kv: str) -> Tensor:
    """Return ``attention(norm(x))`` within each group of x (G, L, C); the mask is (G, L)."""
    return run_attention(
        x, mask, norm, (attention.in_proj_weight, attention.in_proj_bias), attention.out_proj,
        num_heads=attention.num_heads, scale=math.sqrt(1 / attention.head_dim), form='queries',
        sequence_first=True, kv=kv, dropouts=(nn.Dropout(attention.dropout), nn.Identity()))


class TokenTemporalAttention(TokenSBP, DividedTemporalAttentionWithNorm):
    """Attention over time of TimeSformer that backpropagates a subset of tokens.

    The tokens (B, 1 + P * T) begin with a class token and frames vary
    fastest, so masks are drawn over a sequence without a grid.
    """

    plain_type = DividedTemporalAttentionWithNorm
    inner_layers = InnerLayers(called=('proj_drop', 'dropout_layer'))

    def forward(self, query: Tensor, key: None = None, value: None = None, residual: None = None,
                **options: Any) -> Tensor:
        """Return query (B, 1 + P * T, C) after the attention."""
        if not self.is_stochastic or residual is not None:
            return super().forward(query, key, value, residual, **options)
        mask = self.draw_sequence_mask(query)
        patches = replace(mask, kept=mask.kept[:, 1:].reshape(-1, self.num_frames))  # (B * P, T)
        x = query[:, 1:].reshape(*patches.kept.shape, -1)  # (B * P, T, C)
        # The last layer divides by the keep probability, so attention must not.
        branch = attend_in_groups(x, replace(patches, scale=1.0), self.norm, self.attn,
                                  self.token_sbp.model.config.kv)
        branch = self.dropout_layer(self.proj_drop(branch.contiguous()))
        branch = run_linear(branch, patches, self.temporal_fc).reshape(len(query), -1, x.shape[2])
        return mask.cut_shortcut(torch.cat([query[:, :1], query[:, 1:] + branch], 1))


class TokenSpatialAttention(TokenSBP, DividedSpatialAttentionWithNorm):
    """Attention over space of TimeSformer that backpropagates a subset of tokens.

    The class token is in every frame; it is kept in all frames or in none.
    """

    plain_type = DividedSpatialAttentionWithNorm
    inner_layers = InnerLayers(called=('proj_drop', 'dropout_layer'))

    def forward(self, query: Tensor, key: None = None, value: None = None, residual: None = None,
                **options: Any) -> Tensor:
        """Return query (B, 1 + P * T, C) after the attention."""
        if not self.is_stochastic or residual is not None:
            return super().forward(query, key, value, residual, **options)
        mask = self.draw_sequence_mask(query)
        frames = replace(mask, kept=self._to_frames(mask.kept[..., None]).squeeze(-1))
        branch = attend_in_groups(self._to_frames(query), frames, self.norm, self.attn,
                                  self.token_sbp.model.config.kv)
        branch = self.dropout_layer(self.proj_drop(branch.contiguous()))
        branch = branch.unflatten(0, (len(query), -1))  # (B, T, 1 + P, C)
        class_token = branch[:, :, 0].mean(1, True)
        patches = branch[:, :, 1:].transpose(1, 2).flatten(1, 2)  # (B, P * T, C)
        return mask.cut_shortcut(query + torch.cat([class_token, patches], 1))

    def _to_frames(self, x: Tensor) -> Tensor:
        """Arrange (B, 1 + P * T, C) as (B * T, 1 + P, C), the class token in every frame."""
        patches = x[:, 1:].unflatten(1, (-1, self.num_frames)).transpose(1, 2)  # (B, T, P, C)
        class_token = x[:, :1, None].expand(-1, self.num_frames, -1, -1)
        return torch.cat([class_token, patches], 2).flatten(0, 1)


@register_rule(DividedTemporalAttentionWithNorm, DividedSpatialAttentionWithNorm)
def divided_attention(block: nn.Module) -> type[nn.Module] | None:
    """Cover attention with layer normalization and one packed projection to q, k and v."""
    attention = block.attn
    fits = (isinstance(block.norm, nn.LayerNorm) and attention._qkv_same_embed_dim
            and not attention.batch_first and attention.bias_k is None
            and not attention.add_zero_attn)
    temporal = type(block) is DividedTemporalAttentionWithNorm
    return (TokenTemporalAttention if temporal else TokenSpatialAttention) if fits else None


class TokenFFNWithNorm(TokenSBP, FFNWithNorm):
    """MLP of TimeSformer with normalization and shortcut."""

    plain_type = FFNWithNorm
    inner_layers = InnerLayers(FFN_TYPES, called=('dropout_layer', ), activation='layers.0.1')

    def forward(self, x: Tensor, residual: None = None) -> Tensor:
        """Return x (B, N, C), class token included, after the MLP."""
        if not self.is_stochastic or residual is not None:
            return super().forward(x, residual)
        mask = self.draw_sequence_mask(x)
        (first, activation, dropout), second, last_dropout = self.layers
        branch = run_mlp(x, mask, self.norm, first, activation, second, (dropout, last_dropout))
        return mask.cut_shortcut(x + self.dropout_layer(branch))


@register_rule(FFNWithNorm)
def timesformer_mlp(mlp: FFNWithNorm) -> type[nn.Module] | None:
    """Cover MLPs of two layers with a shortcut and without layer scale."""
    fits = (isinstance(mlp.norm, nn.LayerNorm) and len(mlp.layers) == 3 and mlp.add_identity
            and isinstance(mlp.gamma2, nn.Identity))
    return TokenFFNWithNorm if fits else None
