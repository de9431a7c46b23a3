"""Base of the heads of online action detection: loss, prediction and streaming."""
from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional as F

from sbp_tad.models.errors import ModelError
from sbp_tad.models.layers.masked_layers import check_finite, check_sequence
from sbp_tad.models.losses import frame_cross_entropy
from sbp_tad.structures import history_indices


@dataclass(frozen=True)
class StreamState:
    """State of a head in a stream; its size is bounded however long the stream is.

    Args:
        num_seen: number of frames so far.
        kept_features: (n, C') features that a later window may read as its
            history, oldest first.
        context: state of the head after its history and the frames of the
            current working window.
    """

    num_seen: int
    kept_features: Tensor
    context: Any = None


class OnlineHead(BaseModule, metaclass=ABCMeta):
    """Class scores of every frame of a working window, from the window and its history.

    A head reads the history, then the working frames in order. Its state
    after that is called ``context``. A subclass defines two methods,
    :meth:`read_history` and :meth:`read_frames`. Testing reads a window at
    once and a stream reads it frame by frame, both by these two methods.

    A window has the history of :func:`sbp_tad.structures.history_indices`;
    frames before the start of the video are masked. In a stream, windows of
    ``num_frames`` follow each other from the first frame on, as in testing, so
    the scores are the same.

    Args:
        num_classes: number of actions; scores have 1 + num_classes columns,
            column 0 background.
        in_channels: channels of the features.
        num_frames: T, frames of a working window in a stream.
        memory_frames: M, frames of history (the long memory of LSTR).
        memory_stride: distance of two history frames, in frames.
        history_from: rule of a history that is not full, ``'working'`` or
            ``'oldest'`` of :func:`sbp_tad.structures.history_indices`.
        init_cfg: weight initialization of mmengine.

    Raises:
        ModelError: a length that cannot work, or an unknown rule.
    """

    def __init__(self, num_classes: int, in_channels: int, num_frames: int = 32,
                 memory_frames: int = 128, memory_stride: int = 4,
                 history_from: str = 'working', init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        check_choice('history_from', history_from, ('working', 'oldest'))
        if min(num_frames, memory_stride) < 1 or memory_frames < 0:
            raise ModelError(
                'an online head needs num_frames and memory_stride of at least 1 and memory_frames '
                f'of at least 0, got {num_frames}, {memory_stride} and {memory_frames}')
        self.num_classes, self.in_channels = num_classes, in_channels
        self.num_frames = num_frames
        self.memory_frames, self.memory_stride = memory_frames, memory_stride
        self.history_from = history_from

    @abstractmethod
    def read_history(self, history: Tensor, history_mask: Tensor) -> Any:
        """Return the context before the first working frame.

        Args:
            history: (B, C', M) features, M at least 1, oldest first.
            history_mask: (B, M) bool, True = real; values elsewhere are ignored.
        """

    @abstractmethod
    def read_frames(self, frames: Tensor, context: Any) -> tuple[Tensor, Any]:
        """Return logits (B, t, 1 + classes) of the next frames (B, C', t) and the new context."""

    def forward(self, history: Tensor, history_mask: Tensor, working: Tensor) -> Tensor:
        """Return logits (B, T, 1 + classes) from the history and the frames up to each frame.

        Args:
            history: (B, C', M) features, oldest first; M may be 0.
            history_mask: (B, M) bool, True = real; all may be False.
            working: (B, C', T) features.
        """
        check_sequence(history, history_mask, self.in_channels)
        check_sequence(working, torch.ones_like(working[:, 0]), self.in_channels)
        logits, _ = self.read_frames(
            working, self._open_window(history, history_mask, working[..., :1]))
        return logits

    def open_window(self, history: Tensor, history_mask: Tensor, first_frame: Tensor) -> Any:
        """Return the context before the first working frame (B, C', 1).

        Args:
            history, history_mask: see :meth:`read_history`.
            first_frame: feature that comes next; not part of the context.
        """
        return self.read_history(history, history_mask)

    def _open_window(self, history: Tensor, history_mask: Tensor, first_frame: Tensor) -> Any:
        if history.shape[2] == 0:  # read_history needs a frame: one that is masked
            history, history_mask = F.pad(history, (1, 0)), F.pad(history_mask, (1, 0), value=False)
        return self.open_window(history, history_mask, first_frame)

    def loss(self, history: Tensor, history_mask: Tensor, working: Tensor, targets: Tensor,
             valid: Tensor) -> dict[str, Tensor]:
        """Return the :func:`frame_cross_entropy` of the working frames.

        Args:
            history, history_mask, working: see :meth:`forward`.
            targets: (B, T, 1 + classes) multi-hot, column 0 background.
            valid: (B, T) bool, False for ambiguous frames and those past the end.
        """
        logits = self.named_columns(self(history, history_mask, working))
        if targets.shape != logits.shape:
            raise ModelError(
                f'frame_targets must have shape {tuple(logits.shape)}, background and '
                f'num_classes={self.num_classes} actions for every frame, got '
                f"{tuple(targets.shape)}: set num_classes to the dataset's number of classes")
        return {'loss_cls': frame_cross_entropy(logits, targets, valid)}

    @torch.no_grad()
    def predict(self, history: Tensor, history_mask: Tensor, working: Tensor) -> Tensor:
        """Return scores (B, T, 1 + classes), one distribution per frame; see :meth:`forward`."""
        return self.named_columns(to_scores(self(history, history_mask, working)))

    @torch.no_grad()
    def score_video(self, features: Tensor) -> Tensor:
        """Return the scores (n, 1 + classes) of all frames of a video, those of a stream.

        Args:
            features: (C', n), from the first frame of the video on.
        """
        scores = []
        for start in range(0, features.shape[1], self.num_frames):
            frames, mask = self._history_of(start)
            window = features[None, :, start:start + self.num_frames]
            scores.append(self.predict(features[None, :, frames], mask[None], window)[0])
        return torch.cat(scores)

    def _history_of(self, start: int) -> tuple[Tensor, Tensor]:
        """Return the history (M,) of a window as frames of the video, and its mask (M,)."""
        frames, mask = history_indices(start, self.memory_frames, self.memory_stride,
                                       self.history_from)
        device = next(self.parameters()).device
        return (torch.from_numpy(frames.clip(min=0)).to(device),
                torch.from_numpy(mask).to(device))

    def named_columns(self, columns: Tensor) -> Tensor:
        """Return background and the actions among columns (..., 1 + classes + ignored)."""
        return columns[..., :1 + self.num_classes]

    def init_state(self) -> StreamState:
        """Return the state before the first frame of a stream."""
        parameter = next(self.parameters())
        return StreamState(0, parameter.new_zeros(0, self.in_channels))

    @torch.no_grad()
    def step(self, state: StreamState, feature: Tensor) -> tuple[Tensor, StreamState]:
        """Return the scores of the next frame of a stream.

        They equal those of :meth:`predict` to rounding.

        Args:
            state: state of the stream so far; it is not changed.
            feature: (C',) feature of the next frame.

        Returns:
            Scores (1 + classes,) and the state after this frame.

        Raises:
            ModelError: a head in training mode, or a feature of another shape.
        """
        self.check_step(feature)
        context, frame = state.context, feature[None, :, None]
        if state.num_seen % self.num_frames == 0:
            context = self._open_window(*self._recall(state.kept_features), frame)
        logits, context = self.read_frames(frame, context)
        kept = self._keep(state, feature)
        scores = self.named_columns(to_scores(logits))[0, 0]
        return scores, StreamState(state.num_seen + 1, kept, context)

    def check_step(self, feature: Tensor) -> None:
        """Check mode and feature of :meth:`step`.

        Raises:
            ModelError: see there.
        """
        if self.training:
            raise ModelError('a stream is scored in evaluation mode, as dropout would '
                             'change the scores: call eval() first')
        if feature.shape != (self.in_channels, ):
            raise ModelError(f'step takes the feature of one frame, ({self.in_channels},), '
                             f'got {tuple(feature.shape)}')

    @property
    def _keep_stride(self) -> int:
        """Distance in frames of features that may become history, as windows tile the stream."""
        return gcd(self.memory_stride, self.num_frames)

    def _keep(self, state: StreamState, feature: Tensor) -> Tensor:
        """Return the features to keep after this frame."""
        if state.num_seen % self._keep_stride:
            return state.kept_features
        limit = self.memory_frames * self.memory_stride // self._keep_stride
        kept = torch.cat((state.kept_features, feature[None]))
        return kept[max(0, len(kept) - limit):]

    def _recall(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return the history (1, C', M) and its mask (1, M) of a window that begins now."""
        stride = self.memory_stride // self._keep_stride
        if self.history_from == 'oldest':
            found = kept[::stride]  # (m, C')
        else:
            found = kept.flip(0)[stride - 1::stride][:self.memory_frames].flip(0)
        missing = self.memory_frames - len(found)
        mask = torch.arange(self.memory_frames, device=kept.device) >= missing
        return F.pad(found.T, (missing, 0))[None], mask[None]


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Check an option of a head.

    Raises:
        ModelError: the value is not among the choices.
    """
    if value not in choices:
        raise ModelError(f'{name} must be one of {tuple(choices)}, got {value!r}')


def to_scores(logits: Tensor) -> Tensor:
    """Turn logits into distributions over the classes, float32 or wider.

    Raises:
        ModelError: an infinite value or NaN.
    """
    check_finite(logits)
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return logits.softmax(dim=-1, dtype=dtype)
