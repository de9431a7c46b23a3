"""Transformer decoder that reads a masked memory and may continue where it stopped."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Optional

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sbp_tad.models.errors import ModelError

KeysValues = tuple[Tensor, Tensor]  # (B, heads, n, D) each


def sinusoidal_encoding(positions: Tensor, channels: int) -> Tensor:
    """Sines and cosines of whole positions (Vaswani et al., NeurIPS 2017, sec. 3.5).

    Args:
        positions: (n,), negative ones too.
        channels: C, even.

    Returns:
        (n, C) float32: ``sin(p / 10000^(2i/C))`` in channel 2i, its cosine in 2i + 1.
    """
    powers = torch.arange(0, channels, 2, device=positions.device) / channels
    angles = positions[:, None] * torch.exp(-math.log(10000.0) * powers)  # (n, C / 2)
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)


class Attention(nn.Module):
    """Multi-head attention whose keys and values can be kept.

    Args:
        channels: C, in and out.
        num_heads: divides C.
        dropout: of the attention weights.

    Raises:
        ModelError: channels that cannot be split.
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

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, n, D)

    def keys_values(self, x: Tensor) -> KeysValues:
        """Of what is attended to, (B, n, C)."""
        return self._split(self.key(x)), self._split(self.value(x))

    def forward(self, x: Tensor, keys_values: KeysValues, allowed: Tensor | None = None) -> Tensor:
        """(B, t, C) to the same.

        Args:
            x: who attends.
            keys_values: of whom, see :meth:`keys_values`.
            allowed: (t, n) bool or what broadcasts to (B, heads, t, n); where
                a row allows nothing, nothing is read: the values count as 0.
        """
        empty = None if allowed is None else ~allowed.any(dim=-1, keepdim=True)
        found = F.scaled_dot_product_attention(
            self._split(self.query(x)), *keys_values,
            # an empty softmax is NaN in some versions of torch
            attn_mask=None if empty is None else allowed | empty,
            dropout_p=self.dropout if self.training else 0.0)
        if empty is not None:
            found = found.masked_fill(empty, 0.0)
        return self.out(found.transpose(1, 2).flatten(2))


class DecoderLayer(nn.Module):
    """Self-attention, attention to a memory, MLP; each added, then normalized (post-norm).

    Args:
        channels: C.
        num_heads: divides C.
        feedforward_channels: hidden ones of the MLP.
        dropout: of attention weights, of hidden channels and of every branch.
        causal: self-attention looks back only.
    """

    def __init__(self, channels: int, num_heads: int, feedforward_channels: int, dropout: float,
                 causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.self_attention = Attention(channels, num_heads, dropout)
        self.memory_attention = Attention(channels, num_heads, dropout)
        self.mlp = nn.Sequential(nn.Linear(channels, feedforward_channels), nn.ReLU(),
                                 nn.Dropout(dropout), nn.Linear(feedforward_channels, channels))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: KeysValues, memory_mask: Tensor | None = None,
                past: KeysValues | None = None) -> tuple[Tensor, KeysValues]:
        """(B, t, C) to the same, and the keys and values of self-attention, past ones first.

        Args:
            x: the tokens after the past ones.
            memory: keys and values of ``memory_attention``.
            memory_mask: broadcasts to (B, heads, t, n), True = real.
            past: keys and values of self-attention of the tokens before.
        """
        present = self.self_attention.keys_values(x)
        if past is not None:
            present = tuple(torch.cat(pair, dim=2) for pair in zip(past, present))
        allowed = causal_mask(x.shape[1], present[0].shape[2], x.device) if self.causal else None
        norm1, norm2, norm3 = self.norms
        x = norm1(x + self.dropout(self.self_attention(x, present, allowed)))
        x = norm2(x + self.dropout(self.memory_attention(x, memory, memory_mask)))
        return norm3(x + self.dropout(self.mlp(x))), present


def causal_mask(num_queries: int, num_keys: int, device: torch.device) -> Tensor:
    """(t, n) bool: the last t of n tokens, each allowed itself and those before."""
    ones = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device)
    return ones.tril(num_keys - num_queries)


class MemoryDecoder(nn.Module):
    """Decoder layers and a last normalization; arguments of :class:`DecoderLayer`.

    Args:
        num_layers: at least 1.
    """

    def __init__(self, num_layers: int, channels: int, num_heads: int,
                 feedforward_channels: int, dropout: float, causal: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(channels, num_heads, feedforward_channels, dropout, causal)
            for _ in range(num_layers))
        self.norm = nn.LayerNorm(channels)

    def read(self, memory: Tensor) -> list[KeysValues]:
        """A memory (B, n, C) as the layers attend to it."""
        return [layer.memory_attention.keys_values(memory) for layer in self.layers]

    def forward(self, x: Tensor, memory: Sequence[KeysValues], memory_mask: Tensor | None = None,
                past: Sequence[Optional[KeysValues]] | None = None
                ) -> tuple[Tensor, list[KeysValues]]:
        """(B, t, C) to the same, and what to hand on as ``past`` with the next tokens.

        Args:
            x: the tokens after the past ones.
            memory: of :meth:`read`.
            memory_mask: broadcasts to (B, heads, t, n), True = real.
            past: of the call before; None at the start.
        """
        present = []
        for layer, of_memory, before in zip(self.layers, memory, past or [None] * len(memory)):
            x, kept = layer(x, of_memory, memory_mask, before)
            present.append(kept)
        return self.norm(x), present
