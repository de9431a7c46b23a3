"""Long short-term transformer (LSTR): compressed long memory and causal decoder."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sbp_tad.models.errors import ModelError
from sbp_tad.models.heads.lstr_decoder import HistoryDecoder, KeysValues, sinusoidal_encoding
from sbp_tad.models.heads.online_head import OnlineHead
from sbp_tad.models.layers.masked_layers import zero_padding
from sbp_tad.registry import MODELS


@dataclass(frozen=True)
class LSTRContext:
    """State of the decoder in a working window.

    Args:
        long_memory: keys and values of the compressed history, one pair per layer.
        past: keys and values of the working frames so far; None before the first.
        num_past: number of working frames so far.
    """

    long_memory: list[KeysValues]
    past: list[KeysValues] | None = None
    num_past: int = 0


@MODELS.register_module()
class LSTRHead(OnlineHead):
    """LSTR (Xu et al., "Long Short-Term Transformer for Online Action Detection", NeurIPS 2021).

    The encoder compresses the history (the long memory of the paper) in two
    stages. Learned queries attend to each other and to the history frames;
    the queries of the second stage attend to the output of the first. The
    decoder reads the working frames with causal self-attention and attends to
    the compressed history. All layers are post-norm with ReLU, and every
    stack ends with a normalization. History and working frames have separate
    projections.

    The defaults are the published settings for THUMOS'14, as in the authors'
    code (``configs/THUMOS/LSTR/lstr_long_512_work_8_kinetics_1x.yaml``; SBP's
    ``configs/thumos/sbp_e2e_lstr_128_32.yaml`` shortens the history from 512 s
    to 128 s).

    Args:
        num_classes, in_channels, num_frames, memory_frames, memory_stride, init_cfg:
            see :class:`OnlineHead`.
        channels: channels of every layer; even.
        num_heads: heads of every attention; a divisor of ``channels``.
        feedforward_channels: hidden channels of every MLP.
        dropout: dropout of attention weights, hidden channels, branches and
            encoded positions.
        num_queries: learned queries of each encoder stage.
        num_encoder_layers: layers of each encoder stage.
        num_decoder_layers: layers of the decoder.
        positions_from: ``'history'`` counts positions from the first history
            frame, as the published code does; ``'working'`` from the first
            working frame, negative in the history, so that the length of the
            history shifts no position.
        empty_history: ``'first_frame'`` lets the first working frame stand for
            a history without frames, as the published code does; ``'nothing'``
            reads no history then.
        has_ambiguous_class: the classifier has a last column for ambiguous
            frames, as published for THUMOS'14. It takes part in the softmax of
            the scores; no loss trains it and no score is returned for it.

    Raises:
        ModelError: ``num_queries`` and ``num_encoder_layers`` of different
            lengths, or channels that the heads do not divide.
    """

    def __init__(self, num_classes: int, in_channels: int, channels: int = 1024,
                 num_heads: int = 16, feedforward_channels: int = 1024, dropout: float = 0.2,
                 num_queries: Sequence[int] = (16, 32), num_encoder_layers: Sequence[int] = (1, 2),
                 num_decoder_layers: int = 2, positions_from: str = 'history',
                 empty_history: str = 'first_frame', has_ambiguous_class: bool = False,
                 num_frames: int = 32, memory_frames: int = 128, memory_stride: int = 4,
                 init_cfg: dict | None = None) -> None:
        super().__init__(num_classes, in_channels, num_frames, memory_frames, memory_stride,
                         init_cfg)
        check_stages(num_queries, num_encoder_layers, num_decoder_layers)
        check_choice('positions_from', positions_from, ('history', 'working'))
        check_choice('empty_history', empty_history, ('first_frame', 'nothing'))
        self.first_position = memory_frames if positions_from == 'history' else 0
        self.repeats_first_frame = empty_history == 'first_frame'
        self.num_ignored_columns = int(has_ambiguous_class)
        if channels % 2:
            raise ModelError('channels must be even, as a position is encoded in pairs of '
                             f'sine and cosine, got {channels}')
        layer = dict(channels=channels, num_heads=num_heads, dropout=dropout,
                     feedforward_channels=feedforward_channels)
        # parameter names are kept, because checkpoints hold them
        self.memory_projection = nn.Sequential(nn.Linear(in_channels, channels), nn.ReLU())
        self.working_projection = nn.Sequential(nn.Linear(in_channels, channels), nn.ReLU())
        self.position_dropout = nn.Dropout(dropout)
        self.queries = nn.ParameterList(nn.Parameter(torch.randn(number, channels))
                                        for number in num_queries)
        self.stages = nn.ModuleList(HistoryDecoder(number, **layer)
                                    for number in num_encoder_layers)
        self.decoder = HistoryDecoder(num_decoder_layers, causal=True, **layer)
        self.classifier = nn.Linear(channels, 1 + num_classes + self.num_ignored_columns)

    def _add_positions(self, tokens: Tensor, first: int) -> Tensor:
        first = first + self.first_position
        positions = torch.arange(first, first + tokens.shape[1], device=tokens.device)
        encoding = sinusoidal_encoding(positions, tokens.shape[2]).to(tokens.dtype)
        return self.position_dropout(tokens + encoding)

    def open_window(self, history: Tensor, history_mask: Tensor, first_frame: Tensor
                    ) -> LSTRContext:
        """Compress the history, or the first working frame in place of one without frames."""
        if self.repeats_first_frame:
            is_empty = ~history_mask.any(dim=1)
            last = torch.arange(history.shape[2], device=history.device) == history.shape[2] - 1
            replaced = is_empty[:, None] & last  # (B, M)
            history = torch.where(replaced[:, None], first_frame, history)
            history_mask = history_mask | replaced
        return self.read_history(history, history_mask)

    def read_history(self, history: Tensor, history_mask: Tensor) -> LSTRContext:
        """Compress the history; see :meth:`OnlineHead.read_history`."""
        history = zero_padding(history, history_mask).transpose(1, 2)  # (B, M, C')
        tokens = self._add_positions(self.memory_projection(history), -history.shape[1])
        allowed = history_mask[:, None, None]  # (B, 1, 1, M)
        for queries, stage in zip(self.queries, self.stages):
            batch_queries = queries.expand(len(history), -1, -1)  # (B, n, C)
            tokens, _ = stage(batch_queries, stage.read(tokens), allowed)
            allowed = None  # the compressed history has no padding
        return LSTRContext(self.decoder.read(tokens))

    def read_frames(self, frames: Tensor, context: LSTRContext) -> tuple[Tensor, LSTRContext]:
        """Score the next frames; see :meth:`OnlineHead.read_frames`."""
        tokens = self.working_projection(frames.transpose(1, 2))  # (B, t, C)
        tokens = self._add_positions(tokens, context.num_past)
        tokens, past = self.decoder(tokens, context.long_memory, past=context.past)
        return self.classifier(tokens), LSTRContext(context.long_memory, past,
                                                    context.num_past + frames.shape[2])


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Check an option of a head.

    Raises:
        ModelError: the value is not among the choices.
    """
    if value not in choices:
        raise ModelError(f'{name} must be one of {tuple(choices)}, got {value!r}')


def check_stages(num_queries: Sequence[int], num_encoder_layers: Sequence[int],
                 num_decoder_layers: int) -> None:
    """Refuse an encoder without stages, stages without a partner and stacks without layers.

    Raises:
        ModelError: one of these.
    """
    stages = (*num_queries, *num_encoder_layers)
    if len(num_queries) != len(num_encoder_layers) or not stages or \
            min(*stages, num_decoder_layers) < 1:
        raise ModelError(
            'num_queries and num_encoder_layers need a positive number for each stage, at least '
            'one, and num_decoder_layers one, got '
            f'{tuple(num_queries)}, {tuple(num_encoder_layers)} and {num_decoder_layers}')
