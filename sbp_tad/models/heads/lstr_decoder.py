"""Transformer decoder over a masked history that can continue from kept keys and values."""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sbp_tad.models.errors import ModelError

KeysValues = tuple[Tensor, Tensor]  # (B, heads, n, D) each


def sinusoidal_encoding(positions: Tensor, channels: int) -> Tensor:
    """Encode integer positions as sines and cosines (Vaswani et al., NeurIPS 2017, sec. 3.5).

    Args:
        positions: (n,) integers, also negative ones.
        channels: C, even.

    Returns:
        (n, C) float32: ``sin(p / 10000^(2i/C))`` in channel 2i, its cosine in 2i + 1.
    """
    powers = torch.arange(0, channels, 2, device=positions.device) / channels
    angles = positions[:, None] * torch.exp(-math.log(10000.0) * powers)  # (n, C / 2)
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Return tokens (B, n, C) as (B, heads, n, D)."""
    return x.unflatten(2, (num_heads, -1)).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head attention with separate keys and values, so that a stream can keep them.

    Weights start as in ``torch.nn.MultiheadAttention``, which LSTR uses: query,
    key and value as one Xavier-uniform matrix (3C, C), all biases 0.

    Args:
        channels: C, in and out.
        num_heads: number of heads, a divisor of C.
        dropout: dropout of the attention weights.

    Raises:
        ModelError: channels that ``num_heads`` does not divide.
    """

    def __init__(self, channels: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        if channels % num_heads:
            raise ModelError(f'{channels} channels cannot be split into {num_heads} '
                             'heads: choose a divisor of the channels')
        self.num_heads, self.dropout = num_heads, dropout
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        for projection in (self.query, self.key, self.value):
            # Xavier for fan_in + fan_out = C + 3C in place of 2C
            nn.init.xavier_uniform_(projection.weight, gain=math.sqrt(0.5))
            nn.init.zeros_(projection.bias)
        nn.init.zeros_(self.out.bias)

    def keys_values(self, x: Tensor) -> KeysValues:
        """Return keys and values of the attended tokens (B, n, C)."""
        return (split_heads(self.key(x), self.num_heads),
                split_heads(self.value(x), self.num_heads))

    def forward(self, x: Tensor, keys_values: KeysValues, allowed: Tensor | None = None) -> Tensor:
        """Attend from queries (B, t, C) to keys and values; return (B, t, C).

        Args:
            x: (B, t, C) tokens that attend, or (1, t, C) the same for all items.
            keys_values: attended keys and values, see :meth:`keys_values`.
            allowed: bool, broadcasts to (B, heads, t, n), True = may be
                attended to. A row without any True reads zeros.
        """
        empty = None if allowed is None else ~allowed.any(dim=-1, keepdim=True)
        queries = split_heads(self.query(x), self.num_heads)
        found = F.scaled_dot_product_attention(
            queries.expand(len(keys_values[0]), -1, -1, -1), *keys_values,
            # the softmax of an empty row is NaN in some versions of torch
            attn_mask=None if empty is None else allowed | empty,
            dropout_p=self.dropout if self.training else 0.0)
        if empty is not None:
            found = found.masked_fill(empty, 0.0)
        return self.out(found.transpose(1, 2).flatten(2))


class DecoderLayer(nn.Module):
    """Self-attention, attention to the history and MLP, each with a post-norm shortcut.

    Args:
        channels: C.
        num_heads: number of heads, a divisor of C.
        feedforward_channels: hidden channels of the MLP.
        dropout: dropout of attention weights, hidden channels and branches.
        causal: self-attention sees no later token.
    """

    def __init__(self, channels: int, num_heads: int, feedforward_channels: int, dropout: float,
                 causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.self_attention = Attention(channels, num_heads, dropout)
        # attention to the history; checkpoints hold the name
        self.memory_attention = Attention(channels, num_heads, dropout)
        self.mlp = nn.Sequential(nn.Linear(channels, feedforward_channels), nn.ReLU(),
                                 nn.Dropout(dropout), nn.Linear(feedforward_channels, channels))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, history: KeysValues, history_mask: Tensor | None = None,
                past: KeysValues | None = None) -> tuple[Tensor, KeysValues]:
        """Return tokens (B, t, C) and the keys and values of self-attention, past ones first.

        Args:
            x: (B, t, C) tokens that follow the past ones.
            history: keys and values of ``memory_attention``.
            history_mask: broadcasts to (B, heads, t, n), True = real.
            past: keys and values of self-attention of the earlier tokens.
        """
        present = self.self_attention.keys_values(x)
        if past is not None:
            present = tuple(torch.cat(pair, dim=2) for pair in zip(past, present))
        allowed = causal_mask(x.shape[1], present[0].shape[2], x.device) if self.causal else None
        norm1, norm2, norm3 = self.norms
        x = norm1(x + self.dropout(self.self_attention(x, present, allowed)))
        x = norm2(x + self.dropout(self.memory_attention(x, history, history_mask)))
        return norm3(x + self.dropout(self.mlp(x))), present


def causal_mask(num_queries: int, num_keys: int, device: torch.device) -> Tensor:
    """Return (t, n) bool: each of the last t of n tokens sees itself and earlier tokens."""
    ones = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device)
    return ones.tril(num_keys - num_queries)


class HistoryDecoder(nn.Module):
    """Decoder layers and a final normalization.

    Args:
        num_layers: at least 1.
        channels, num_heads, feedforward_channels, dropout, causal: see
            :class:`DecoderLayer`.
    """

    def __init__(self, num_layers: int, channels: int, num_heads: int,
                 feedforward_channels: int, dropout: float, causal: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(channels, num_heads, feedforward_channels, dropout, causal)
            for _ in range(num_layers))
        self.norm = nn.LayerNorm(channels)

    def read(self, history: Tensor) -> list[KeysValues]:
        """Return the keys and values of a history (B, n, C) for each layer."""
        return [layer.memory_attention.keys_values(history) for layer in self.layers]

    def forward(self, x: Tensor, history: Sequence[KeysValues], history_mask: Tensor | None = None,
                past: Sequence[KeysValues | None] | None = None
                ) -> tuple[Tensor, list[KeysValues]]:
        """Return tokens (B, t, C) and the keys and values to pass as ``past`` next time.

        Args:
            x: (B, t, C) tokens that follow the past ones.
            history: result of :meth:`read`.
            history_mask: broadcasts to (B, heads, t, n), True = real.
            past: second result of the previous call; None at the start.
        """
        present = []
        for layer, of_layer, before in zip(self.layers, history, past or [None] * len(history)):
            x, kept = layer(x, of_layer, history_mask, before)
            present.append(kept)
        return self.norm(x), present

    def last_token(self, x: Tensor, history: Sequence[KeysValues]) -> Tensor:
        """Return the last of the tokens (B, t, C) of a causal decoder, (B, C).

        The last layer computes no other token.

        Args:
            x: (B, t, C) all tokens of a window.
            history: result of :meth:`read`.
        """
        *layers, last = self.layers
        for layer, of_layer in zip(layers, history):
            x, _ = layer(x, of_layer)
        past = last.self_attention.keys_values(x[:, :-1])
        token, _ = last(x[:, -1:], history[-1], past=past)
        return self.norm(token)[:, 0]
