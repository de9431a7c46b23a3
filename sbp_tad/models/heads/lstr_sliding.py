"""Frames of LSTR as windows that slide by one frame read them, each encoded once.

Positions count from the start of a window, so they change with every frame.
Keys and values are linear in the token plus its position: ``W (x + p) + b = (W x
+ b) + W p``. The first part belongs to a frame and is kept, the second to a
position and is computed once (Xu et al., NeurIPS 2021, sec. 3.6).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from sbp_tad.models.heads.lstr_decoder import Attention, KeysValues, split_heads

Pair = tuple[Tensor, Tensor]  # keys and values (n, C), heads not separated


@dataclass(frozen=True)
class SlidingFrames:
    """Consecutive frames of a video without their positions.

    Args:
        history: keys and values (n, C) of the frames as history, one pair per
            layer of the first encoder stage.
        working: (m, C) tokens of the last m frames as working frames.
        positions: keys and values (M, C) of the positions of a history.
        num_heads: heads of the attention to the history.
    """

    history: list[Pair]
    working: Tensor
    positions: list[Pair]
    num_heads: int

    @classmethod
    def encode(cls, attentions: Sequence[Attention], memory: Tensor, working: Tensor,
               encoding: Tensor) -> SlidingFrames:
        """Encode the first frames of a video.

        Args:
            attentions: attention to the history of each layer of the first stage.
            memory: (n, C) tokens of the frames as history.
            working: (n, C) tokens of the frames as working frames.
            encoding: (M, C) encoded positions of a history.
        """
        positions = [(F.linear(encoding, each.key.weight), F.linear(encoding, each.value.weight))
                     for each in attentions]
        return cls(_keys_values(attentions, memory), working, positions, attentions[0].num_heads)

    def append(self, attentions: Sequence[Attention], memory: Tensor, working: Tensor,
               limit: int, num_frames: int) -> SlidingFrames:
        """Return the last frames after new ones were added; see :meth:`encode`.

        Args:
            attentions, memory, working: of the new frames.
            limit: frames to keep as history.
            num_frames: frames to keep as working frames.
        """
        history = [(_join(keys, new_keys, limit), _join(values, new_values, limit))
                   for (keys, values), (new_keys, new_values)
                   in zip(self.history, _keys_values(attentions, memory))]
        return replace(self, history=history, working=_join(self.working, working, num_frames))

    def __len__(self) -> int:
        return len(self.history[0][0])

    def windows(self, frames: Tensor) -> Tensor:
        """Return tokens (B, T, C) of working windows of these frames (B, T)."""
        return self.working[frames - (len(self) - len(self.working))]

    def histories(self, frames: Tensor) -> list[KeysValues]:
        """Return keys and values (B, heads, M, D) per layer of histories (B, M) of these frames."""
        frames = frames.clamp(min=0)  # masked ones
        return [(split_heads(keys[frames] + of_keys, self.num_heads),
                 split_heads(values[frames] + of_values, self.num_heads))
                for (keys, values), (of_keys, of_values) in zip(self.history, self.positions)]


def _join(before: Tensor, after: Tensor, limit: int) -> Tensor:
    return torch.cat((before[max(0, len(before) + len(after) - limit):], after))


def _keys_values(attentions: Sequence[Attention], tokens: Tensor) -> list[Pair]:
    return [(each.key(tokens), each.value(tokens)) for each in attentions]
