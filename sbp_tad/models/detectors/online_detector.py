"""Frames in, class scores of every frame out, without a look ahead: backbone, memory, head."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from sbp_tad.models.errors import ModelError
from sbp_tad.models.heads.online_head import StreamState
from sbp_tad.registry import MODELS
from sbp_tad.structures import OnlineDataSample


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Evaluate within the block; every layer then has its own mode back.

    Modes are put back layer by layer: ``train()`` of a backbone would also
    freeze stages, and does not return frozen layers to what they were.
    """
    modes = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training


@MODELS.register_module()
class OnlineActionDetector(BaseModel):
    """Online action detection: what is on in a frame, told from it and what came before.

    The input holds M memory frames, then T working frames. Working frames are
    encoded end to end; memory frames as in a stream, where their features were
    kept when they came: in evaluation mode and without gradient, only those
    that exist.

    Args:
        backbone: config; frames (B, C, T, H, W) to features (B, C', T), one a
            frame and each of its own frame alone, as ``SBPBackbone`` with
            ``clip_len=1`` gives. None takes features (B, C', M + T) as input.
        head: config of an :class:`sbp_tad.models.heads.online_head.OnlineHead`.
        memory_backprop: encode the memory together with the working frames,
            with gradient, so that SBP keeps its share of all M + T frames.
            The published code of SBP does; here it is off by default, as a
            stream has no gradient to hand back.
        data_preprocessor: config, see :class:`TADDataPreprocessor`.
        init_cfg: config of the weight initialization.
    """

    def __init__(self, backbone: dict | None, head: dict, memory_backprop: bool = False,
                 data_preprocessor: dict | None = None,
                 init_cfg: dict | list | None = None) -> None:
        preprocessor = data_preprocessor or dict(type='TADDataPreprocessor')
        super().__init__(MODELS.build(preprocessor), init_cfg)
        self.backbone = nn.Identity() if backbone is None else MODELS.build(backbone)
        self.head = MODELS.build(head)
        self.memory_backprop = memory_backprop

    def forward(self, inputs: Tensor | None, data_samples: list[OnlineDataSample] | None = None,
                mode: str = 'tensor') -> dict[str, Tensor] | list[OnlineDataSample] | Tensor:
        """Run one of mmengine's modes.

        Args:
            inputs: (B, C, M + T, H, W), or features (B, C', M + T) without a
                backbone, one row for each readable sample; None if there is
                none.
            data_samples: the samples of the batch, unreadable ones included.
                None, in mode ``'tensor'``: all memory is real and T is the
                ``num_frames`` of the head.
            mode: ``'loss'`` (dict of losses), ``'predict'`` (the samples with
                ``pred_scores``) or ``'tensor'`` (logits (B, T, 1 + classes)).
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.head(*self.extract(inputs, data_samples))
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}.")

    def extract(self, inputs: Tensor, data_samples: list[OnlineDataSample] | None
                ) -> tuple[Tensor, Tensor, Tensor]:
        """Features of the memory (B, C', M), its mask (B, M), features of the window (B, C', T).

        Raises:
            ModelError: fewer frames than memory, or features that are not one a frame.
        """
        mask = self._memory_masks(inputs, data_samples)
        num_memory = mask.shape[1]
        if inputs.shape[2] <= num_memory:
            raise ModelError(
                f'inputs must hold {num_memory} memory frames and then those of the working '
                f'window, got {inputs.shape[2]} in all')
        if self.memory_backprop:
            features = self._encode(inputs)
            return features[:, :, :num_memory], mask, features[:, :, num_memory:]
        # Before the memory: a weight cast without gradient under autocast would cut this one's.
        working = self._encode(inputs[:, :, num_memory:])
        return self._encode_memory(inputs[:, :, :num_memory], mask, working), mask, working

    def _memory_masks(self, inputs: Tensor, data_samples: list[OnlineDataSample] | None) -> Tensor:
        if data_samples is not None:
            masks = torch.stack([sample.memory_mask for sample in data_samples])
            return masks.to(inputs.device)
        num_memory = max(0, inputs.shape[2] - self.head.num_frames)
        return inputs.new_ones(len(inputs), num_memory, dtype=torch.bool)

    def _encode(self, frames: Tensor) -> Tensor:
        """(B, C, n, H, W) to (B, C', n)."""
        features = self.backbone(frames)
        if features.shape[2] != frames.shape[2]:
            raise ModelError(
                f'online detection needs one feature a frame, got {features.shape[2]} for '
                f'{frames.shape[2]} frames: set clip_len=1 and take a backbone of images')
        return features

    @torch.no_grad()
    def _encode_memory(self, frames: Tensor, mask: Tensor, working: Tensor) -> Tensor:
        """Features of the real ones of frames (B, C, M, H, W); 0 elsewhere: (B, C', M)."""
        memory = working.new_zeros(*mask.shape, working.shape[1])  # (B, M, C')
        if mask.any():
            real = frames.transpose(1, 2)[mask].movedim(0, 1)[None]  # (1, C, n, H, W)
            with evaluation_mode(self.backbone):
                memory[mask] = self._encode(real)[0].T.to(memory.dtype)
        return memory.transpose(1, 2)

    def loss(self, inputs: Tensor, data_samples: list[OnlineDataSample]) -> dict[str, Tensor]:
        """Losses of a training batch."""
        targets = torch.stack([sample.frame_targets for sample in data_samples])
        valid = torch.stack([sample.frame_valid for sample in data_samples])
        return self.head.loss(*self.extract(inputs, data_samples), targets.to(inputs.device),
                              valid.to(inputs.device))

    def predict(self, inputs: Tensor | None,
                data_samples: list[OnlineDataSample]) -> list[OnlineDataSample]:
        """Give each readable sample its ``pred_scores`` (T, 1 + classes) float32."""
        readable = [sample for sample in data_samples if sample.error is None]
        if inputs is not None:
            scores = self.head.predict(*self.extract(inputs, readable))
            for sample, of_sample in zip(readable, scores):
                sample.pred_scores = of_sample
        return data_samples

    def init_state(self) -> StreamState:
        """The state before the first frame of a stream."""
        return self.head.init_state()

    @torch.no_grad()
    def step(self, state: StreamState, frame: Tensor) -> tuple[Tensor, StreamState]:
        """Scores (1 + classes,) of the next frame of a stream and the state with it.

        Args:
            state: of the stream so far; it is not changed.
            frame: (C, H, W) normalized as the data preprocessor does, or the
                feature (C',) without a backbone.
        """
        feature = self._encode(frame[None, :, None])[0, :, 0]  # (C',)
        return self.head.step(state, feature)
