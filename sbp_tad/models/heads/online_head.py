"""What heads of online action detection share: their seat, loss and streaming."""
from __future__ import annotations

from abc import ABCMeta, abstractmethod
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


@dataclass(frozen=True)
class StreamState:
    """What a head keeps of a stream; its size does not grow with the stream.

    Args:
        num_seen: frames of the stream so far.
        history: (n, C') features of frames that may come to be memory, oldest first.
        context: what the head has read of its memory and its working window.
    """

    num_seen: int
    history: Tensor
    context: Any = None


class OnlineHead(BaseModule, metaclass=ABCMeta):
    """Class scores of every frame of a working window, from it and its memory.

    A head reads the memory, then the working frames one after another; what
    it has read is a ``context``. Offline a window is read in one go, in a
    stream frame by frame, both by the same two methods, which a head defines:
    :meth:`read_memory` and :meth:`read_frames`.

    A window that begins at frame ``s`` has the memory frames ``s -
    memory_stride * k``, k = M...1; those before the video's start are masked.
    In a stream windows of ``num_frames`` follow each other from the first
    frame on, as they do in testing: the scores are the same.

    Args:
        num_classes: actions, background not counted: scores have 1 + num_classes columns.
        in_channels: of the features.
        num_frames: frames of a working window in a stream.
        memory_frames: M, frames of memory in a stream.
        memory_stride: frames from one of the memory to the next.
        init_cfg: of mmengine.

    Raises:
        ModelError: a length that is none.
    """

    def __init__(self, num_classes: int, in_channels: int, num_frames: int = 32,
                 memory_frames: int = 128, memory_stride: int = 4,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if min(num_frames, memory_stride) < 1 or memory_frames < 0:
            raise ModelError(
                'a head needs num_frames and memory_stride of at least 1 and memory_frames of at '
                f'least 0, got {num_frames}, {memory_stride} and {memory_frames}')
        self.num_classes, self.in_channels = num_classes, in_channels
        self.num_frames = num_frames
        self.memory_frames, self.memory_stride = memory_frames, memory_stride

    @abstractmethod
    def read_memory(self, memory: Tensor, memory_mask: Tensor) -> Any:
        """The context before the first working frame.

        Args:
            memory: (B, C', M), M at least 1, oldest first.
            memory_mask: (B, M) bool, True = real; what stands elsewhere counts for nothing.
        """

    @abstractmethod
    def read_frames(self, frames: Tensor, context: Any) -> tuple[Tensor, Any]:
        """Logits (B, t, 1 + classes) of the next frames (B, C', t) and the context behind them."""

    def forward(self, memory: Tensor, memory_mask: Tensor, working: Tensor) -> Tensor:
        """Logits (B, T, 1 + classes); a frame's depend on the memory and on frames up to it.

        Args:
            memory: (B, C', M) features, oldest first; M may be 0.
            memory_mask: (B, M) bool, True = real; all may be False.
            working: (B, C', T) features.
        """
        check_sequence(memory, memory_mask, self.in_channels)
        check_sequence(working, torch.ones_like(working[:, 0]), self.in_channels)
        logits, _ = self.read_frames(working, self._open_window(memory, memory_mask))
        return logits

    def _open_window(self, memory: Tensor, memory_mask: Tensor) -> Any:
        if memory.shape[2] == 0:  # no frame is one that is missing
            memory, memory_mask = F.pad(memory, (1, 0)), F.pad(memory_mask, (1, 0), value=False)
        return self.read_memory(memory, memory_mask)

    def loss(self, memory: Tensor, memory_mask: Tensor, working: Tensor, targets: Tensor,
             valid: Tensor) -> dict[str, Tensor]:
        """:func:`frame_cross_entropy` of the working frames.

        Args:
            memory, memory_mask, working: see :meth:`forward`.
            targets: (B, T, 1 + classes) multi-hot, column 0 background.
            valid: (B, T) bool, False for ambiguous frames and those past the end.
        """
        logits = self(memory, memory_mask, working)
        if targets.shape != logits.shape:
            raise ModelError(
                f'frame_targets must have shape {tuple(logits.shape)}, background and '
                f'num_classes={self.num_classes} actions for every frame, got '
                f'{tuple(targets.shape)}: set num_classes to those of the dataset')
        return {'loss_cls': frame_cross_entropy(logits, targets, valid)}

    @torch.no_grad()
    def predict(self, memory: Tensor, memory_mask: Tensor, working: Tensor) -> Tensor:
        """Scores (B, T, 1 + classes), a distribution a frame; arguments of :meth:`forward`."""
        return to_scores(self(memory, memory_mask, working))

    def init_state(self) -> StreamState:
        """The state before the first frame of a stream."""
        parameter = next(self.parameters())
        return StreamState(0, parameter.new_zeros(0, self.in_channels))

    @torch.no_grad()
    def step(self, state: StreamState, feature: Tensor) -> tuple[Tensor, StreamState]:
        """Scores of the next frame of a stream, equal to :meth:`predict`'s to rounding.

        Args:
            state: of the stream so far; it is not changed.
            feature: (C',) of the next frame.

        Returns:
            Scores (1 + classes,) and the state with this frame in it.

        Raises:
            ModelError: a head in training mode, a feature of another shape.
        """
        if self.training:
            raise ModelError('a stream is scored in evaluation mode, as dropout would '
                             'change the scores: call eval() first')
        if feature.shape != (self.in_channels, ):
            raise ModelError(f'step takes the feature of one frame, ({self.in_channels},)'
                             f', got {tuple(feature.shape)}')
        context = state.context
        if state.num_seen % self.num_frames == 0:
            context = self._open_window(*self._recall(state.history))
        logits, context = self.read_frames(feature[None, :, None], context)
        history = self._remember(state, feature)
        return to_scores(logits)[0, 0], StreamState(state.num_seen + 1, history, context)

    @property
    def _keep_stride(self) -> int:
        """Every how many frames one may come to be memory, as windows tile the stream."""
        return gcd(self.memory_stride, self.num_frames)

    def _remember(self, state: StreamState, feature: Tensor) -> Tensor:
        if state.num_seen % self._keep_stride:
            return state.history
        limit = self.memory_frames * self.memory_stride // self._keep_stride
        history = torch.cat((state.history, feature[None]))
        return history[max(0, len(history) - limit):]

    def _recall(self, history: Tensor) -> tuple[Tensor, Tensor]:
        """Memory (1, C', M) and mask (1, M) of a window that begins now."""
        stride = self.memory_stride // self._keep_stride
        found = history.flip(0)[stride - 1::stride][:self.memory_frames].flip(0)  # (m, C')
        missing = self.memory_frames - len(found)
        mask = torch.arange(self.memory_frames, device=history.device) >= missing
        return F.pad(found.T, (missing, 0))[None], mask[None]


def to_scores(logits: Tensor) -> Tensor:
    """Logits to distributions over the classes, float32 at least.

    Raises:
        ModelError: an infinite value or NaN.
    """
    check_finite(logits)
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return logits.softmax(dim=-1, dtype=dtype)
