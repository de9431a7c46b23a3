"""Recurrent network over history and working frames, a light head of online detection."""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from sbp_tad.models.heads.online_head import OnlineHead
from sbp_tad.models.layers.masked_layers import zero_padding
from sbp_tad.registry import MODELS


@MODELS.register_module()
class GRUHead(OnlineHead):
    """Gated recurrent units (Cho et al., EMNLP 2014) over the history, then the window.

    The real frames of the history and the working frames have one projection
    each. One recurrent network reads both, so its hidden state stands for the
    history.

    Args:
        num_classes, in_channels, num_frames: see :class:`OnlineHead`.
        memory_frames, memory_stride, history_from, init_cfg: see :class:`OnlineHead`.
        channels: channels of the projections and of the hidden state.
        num_layers: layers of the recurrent network.
        dropout: dropout of the projected features and between layers.
    """

    def __init__(self, num_classes: int, in_channels: int, channels: int = 256,
                 num_layers: int = 1, dropout: float = 0.0, num_frames: int = 32,
                 memory_frames: int = 128, memory_stride: int = 4,
                 history_from: str = 'working', init_cfg: dict | None = None) -> None:
        super().__init__(num_classes, in_channels, num_frames, memory_frames, memory_stride,
                         history_from, init_cfg)
        # "memory" as in LSTR: parameter names are kept, because checkpoints hold them
        self.memory_projection = nn.Sequential(nn.Linear(in_channels, channels), nn.ReLU(),
                                               nn.Dropout(dropout))
        self.working_projection = nn.Sequential(nn.Linear(in_channels, channels), nn.ReLU(),
                                                nn.Dropout(dropout))
        self.gru = nn.GRU(channels, channels, num_layers, batch_first=True,
                          dropout=dropout if num_layers > 1 else 0.0)
        self.classifier = nn.Linear(channels, 1 + num_classes)

    def read_history(self, history: Tensor, history_mask: Tensor) -> Tensor:
        """Return the hidden state (layers, B, C) after the real frames; 0 if there are none."""
        tokens = self.memory_projection(zero_padding(history, history_mask).transpose(1, 2))
        real_first = history_mask.int().argsort(dim=1, descending=True, stable=True)  # (B, M)
        tokens = tokens.gather(1, real_first[..., None].expand_as(tokens))  # (B, M, C)
        num_real = history_mask.sum(dim=1)
        with torch.autocast(tokens.device.type, enabled=False):  # rounding would accumulate
            packed = pack_padded_sequence(
                tokens.to(self.gru.weight_hh_l0.dtype), num_real.clamp(min=1).cpu(),
                batch_first=True, enforce_sorted=False)
            _, hidden = self.gru(packed)
        return hidden.masked_fill((num_real == 0)[:, None], 0.0)

    def read_frames(self, frames: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Score the next frames; the context is the hidden state (layers, B, C)."""
        tokens = self.working_projection(frames.transpose(1, 2))  # (B, t, C)
        with torch.autocast(tokens.device.type, enabled=False):
            outputs, hidden = self.gru(tokens.to(self.gru.weight_hh_l0.dtype), context)
        return self.classifier(outputs), hidden
