"""Long short-term transformer (LSTR): compressed long memory and causal decoder."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sbp_tad.models.errors import ModelError
from sbp_tad.models.heads.lstr_decoder import HistoryDecoder, KeysValues, sinusoidal_encoding
from sbp_tad.models.heads.lstr_sliding import SlidingFrames
from sbp_tad.models.heads.online_head import OnlineHead, StreamState, check_choice, to_scores
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
        num_classes, in_channels, num_frames: see :class:`OnlineHead`.
        memory_frames, memory_stride, history_from, init_cfg: see :class:`OnlineHead`.
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
        windows: working windows of :meth:`step` and :meth:`score_video`.
            ``'tiles'`` follow each other. ``'sliding'`` windows move by one
            frame, and a frame after the first window is scored as the last of
            its own, as published: it sees more, and costs about eight times as
            much.

    Raises:
        ModelError: ``num_queries`` and ``num_encoder_layers`` of different
            lengths, channels that the heads do not divide, or an unknown choice.
    """

    def __init__(self, num_classes: int, in_channels: int, channels: int = 1024,
                 num_heads: int = 16, feedforward_channels: int = 1024, dropout: float = 0.2,
                 num_queries: Sequence[int] = (16, 32), num_encoder_layers: Sequence[int] = (1, 2),
                 num_decoder_layers: int = 2, positions_from: str = 'history',
                 empty_history: str = 'first_frame', has_ambiguous_class: bool = False,
                 windows: str = 'tiles', num_frames: int = 32, memory_frames: int = 128,
                 memory_stride: int = 4, history_from: str = 'working',
                 init_cfg: dict | None = None) -> None:
        super().__init__(num_classes, in_channels, num_frames, memory_frames, memory_stride,
                         history_from, init_cfg)
        check_stages(num_queries, num_encoder_layers, num_decoder_layers)
        check_choice('positions_from', positions_from, ('history', 'working'))
        check_choice('empty_history', empty_history, ('first_frame', 'nothing'))
        check_choice('windows', windows, ('tiles', 'sliding'))
        self.slides = windows == 'sliding'
        if self.slides and not memory_frames:
            raise ModelError("windows='sliding' needs memory_frames of at least 1, got 0: set "
                             "windows='tiles' for a head without history")
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

    def _positions(self, first: int, tokens: Tensor) -> Tensor:
        """Encode the positions (n, C) of tokens (..., n, C), the first one at ``first``."""
        first = first + self.first_position
        positions = torch.arange(first, first + tokens.shape[-2], device=tokens.device)
        return sinusoidal_encoding(positions, tokens.shape[-1]).to(tokens.dtype)

    def _add_positions(self, tokens: Tensor, first: int) -> Tensor:
        return self.position_dropout(tokens + self._positions(first, tokens))

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
        return self._compress(self.stages[0].read(tokens), history_mask)

    def _compress(self, history: list[KeysValues], history_mask: Tensor) -> LSTRContext:
        """Run the encoder on a history of which the first stage has the keys and values."""
        allowed = history_mask[:, None, None]  # (B, 1, 1, M)
        readers = (*self.stages[1:], self.decoder)
        for queries, stage, reader in zip(self.queries, self.stages, readers):
            # without dropout they attend to each other in all items alike
            size = len(history_mask) if self.training else 1
            tokens, _ = stage(queries.expand(size, -1, -1), history, allowed)  # (B, n, C)
            history, allowed = reader.read(tokens), None  # no padding from here on
        return LSTRContext(history)

    def read_frames(self, frames: Tensor, context: LSTRContext) -> tuple[Tensor, LSTRContext]:
        """Score the next frames; see :meth:`OnlineHead.read_frames`."""
        tokens = self.working_projection(frames.transpose(1, 2))  # (B, t, C)
        tokens = self._add_positions(tokens, context.num_past)
        tokens, past = self.decoder(tokens, context.long_memory, past=context.past)
        return self.classifier(tokens), LSTRContext(context.long_memory, past,
                                                    context.num_past + frames.shape[2])

    @torch.no_grad()
    def score_video(self, features: Tensor) -> Tensor:
        """Score a video; see :meth:`OnlineHead.score_video` and ``windows``."""
        if not self.slides:
            return super().score_video(features)
        first = min(self.num_frames, features.shape[1])
        history, mask = self._history_of(0)
        scores = [self.predict(features[None, :, history], mask[None],
                               features[None, :, :first])[0]]
        frames, step = self.encode_frames(features.T), self.windows_at_once
        for end in range(first + 1, features.shape[1] + 1, step):
            ends = range(end, min(end + step, features.shape[1] + 1))
            scores.append(self.score_last(frames, ends, 0))
        return torch.cat(scores)

    @torch.no_grad()
    def step(self, state: StreamState, feature: Tensor) -> tuple[Tensor, StreamState]:
        """Score the next frame of a stream; see :meth:`OnlineHead.step` and ``windows``.

        Sliding windows keep keys, values and tokens of each frame, so that
        nothing of the frames before is encoded again.
        """
        if not self.slides:
            return super().step(state, feature)
        self.check_step(feature)
        frames = self.encode_frames(feature[None], state.context)
        seen = state.num_seen + 1
        scores = self.score_last(frames, [seen], seen - len(frames))[0]
        return scores, StreamState(seen, state.kept_features, frames)

    def encode_frames(self, features: Tensor, before: SlidingFrames | None = None
                      ) -> SlidingFrames:
        """Encode frames (n, C') for sliding windows, behind those of a stream if given."""
        tokens = self.memory_projection(features)
        history = [layer.memory_attention for layer in self.stages[0].layers]
        if before is None:
            empty = tokens.new_zeros(self.memory_frames, tokens.shape[1])
            encoding = self._positions(-self.memory_frames, empty)
            return SlidingFrames.encode(history, tokens, self.working_projection(features),
                                        encoding)
        return before.append(history, tokens, self.working_projection(features), self.limit,
                             self.num_frames)

    def score_last(self, frames: SlidingFrames, ends: Sequence[int], offset: int) -> Tensor:
        """Return scores (B, 1 + classes) of the last frames of windows of equal length.

        Args:
            frames: frames of a video from frame ``offset`` on.
            ends: for each window, the frame of the video after its last one.
            offset: number of earlier frames of the video.
        """
        starts = [max(0, end - self.num_frames) for end in ends]
        history, mask = map(torch.stack, zip(*map(self._sliding_history, starts)))  # (B, M)
        context = self._compress(frames.histories(history - offset), mask)
        window = torch.arange(max(ends) - max(starts), device=history.device)
        first = torch.tensor(starts, device=history.device)[:, None] - offset
        tokens = self._add_positions(frames.windows(first + window), 0)  # (B, T, C)
        logits = self.classifier(self.decoder.last_token(tokens, context.long_memory))
        return self.named_columns(to_scores(logits))

    def _sliding_history(self, start: int) -> tuple[Tensor, Tensor]:
        """Return frames and mask of a history; its window's first frame stands for an empty one."""
        frames, mask = self._history_of(start)
        if self.repeats_first_frame and not mask.any():
            frames[-1], mask[-1] = start, True
        return frames, mask

    @property
    def limit(self) -> int:
        """Number of frames that a window and its history cover, which a stream keeps."""
        return self.memory_frames * self.memory_stride + self.num_frames

    @property
    def windows_at_once(self) -> int:
        """Number of windows of a video that are scored together; it bounds their memory."""
        size = max(1, self.memory_frames) * self.classifier.in_features
        return max(1, 2 ** 23 // size)


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
