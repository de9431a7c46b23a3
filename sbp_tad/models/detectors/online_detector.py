"""Online action detection: class scores of every frame from it and earlier frames."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from sbp_tad.models.errors import ModelError
from sbp_tad.models.heads.online_head import StreamState
from sbp_tad.models.layers.masked_layers import check_batch
from sbp_tad.registry import MODELS
from sbp_tad.structures import OnlineDataSample


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Set evaluation mode within the block and restore the mode of every layer after it.

    Modes are restored layer by layer: ``train()`` of a backbone also freezes
    stages and does not restore layers that were frozen otherwise.
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
    """Classify every frame from it and the frames before it (online action detection).

    The input holds M history frames, then T working frames. Working frames
    are encoded end to end. History frames are encoded as in a stream, which
    keeps their features: in evaluation mode, without gradient, and only the
    frames that exist.

    Args:
        backbone: config; maps frames (B, C, T, H, W) to features (B, C', T),
            one per frame and from that frame only, as ``SBPBackbone`` with
            ``clip_len=1`` does. None takes features (B, C', M + T) as input.
        head: config of an :class:`sbp_tad.models.heads.online_head.OnlineHead`.
        memory_backprop: encode the history together with the working frames,
            with gradient, so that SBP draws from all M + T frames. The
            published code of SBP does so. It is off by default, because a
            stream cannot backpropagate into frames that have passed.
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
                backbone, one row per readable sample; None if no sample is
                readable.
            data_samples: the samples of the batch, unreadable ones included.
                None, in mode ``'tensor'``, means that all history frames are
                real and that T is the ``num_frames`` of the head.
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
        """Return history features (B, C', M), their mask (B, M) and window features (B, C', T).

        Raises:
            ModelError: an empty batch, no working frame, or a backbone that does not
                give one feature per frame.
        """
        check_batch(inputs)
        mask = self._history_masks(inputs, data_samples)
        num_history = mask.shape[1]
        if inputs.shape[2] <= num_history:
            raise ModelError(
                f'inputs must hold {num_history} history frames and then the working frames, '
                f'got {inputs.shape[2]} in all')
        if self.memory_backprop:
            features = self._encode(inputs)
            return features[:, :, :num_history], mask, features[:, :, num_history:]
        # First the window: autocast caches weights that are cast without gradient, and with
        # the history first the window would reuse them and lose its gradient.
        working = self._encode(inputs[:, :, num_history:])
        return self._encode_history(inputs[:, :, :num_history], mask, working), mask, working

    def _history_masks(self, inputs: Tensor, data_samples: list[OnlineDataSample] | None) -> Tensor:
        if data_samples is not None:
            masks = torch.stack([sample.memory_mask for sample in data_samples])
            return masks.to(inputs.device)
        num_history = max(0, inputs.shape[2] - self.head.num_frames)
        return inputs.new_ones(len(inputs), num_history, dtype=torch.bool)

    def _encode(self, frames: Tensor) -> Tensor:
        """Encode frames (B, C, n, H, W) to features (B, C', n)."""
        features = self.backbone(frames)
        if features.shape[2] != frames.shape[2]:
            raise ModelError(
                f'online detection needs one feature per frame, got {features.shape[2]} for '
                f'{frames.shape[2]} frames: set clip_len=1 and take an image backbone')
        return features

    @torch.no_grad()
    def _encode_history(self, frames: Tensor, mask: Tensor, working: Tensor) -> Tensor:
        """Return features (B, C', M) of the real ones of frames (B, C, M, H, W), 0 elsewhere."""
        history = working.new_zeros(*mask.shape, working.shape[1])  # (B, M, C')
        if mask.any():
            real = frames.transpose(1, 2)[mask].movedim(0, 1)[None]  # (1, C, n, H, W)
            with evaluation_mode(self.backbone):
                history[mask] = self._encode(real)[0].T.to(history.dtype)
        return history.transpose(1, 2)

    def loss(self, inputs: Tensor, data_samples: list[OnlineDataSample]) -> dict[str, Tensor]:
        """Return the losses of a training batch."""
        check_batch(inputs)
        targets = torch.stack([sample.frame_targets for sample in data_samples])
        valid = torch.stack([sample.frame_valid for sample in data_samples])
        return self.head.loss(*self.extract(inputs, data_samples), targets.to(inputs.device),
                              valid.to(inputs.device))

    def predict(self, inputs: Tensor | None,
                data_samples: list[OnlineDataSample]) -> list[OnlineDataSample]:
        """Give each readable sample its ``pred_scores`` (T, 1 + classes) float32.

        Samples without ``memory_mask`` are whole videos, see
        :meth:`sbp_tad.models.heads.online_head.OnlineHead.score_video`.
        """
        readable = [sample for sample in data_samples if sample.error is None]
        if inputs is not None and len(inputs):
            scores = self._score_videos(inputs, readable) if 'memory_mask' not in readable[0] \
                else self.head.predict(*self.extract(inputs, readable))
            for sample, of_sample in zip(readable, scores):
                sample.pred_scores = of_sample
        return data_samples

    @torch.no_grad()
    def _score_videos(self, inputs: Tensor, samples: list[OnlineDataSample]) -> list[Tensor]:
        """Return the scores (n, 1 + classes) of each whole video (C, n, ...)."""
        check_batch(inputs)
        videos = [video[None, :, :sample.window.num_frames]
                  for video, sample in zip(inputs, samples)]
        return [self.head.score_video(self._encode(video)[0]) for video in videos]

    def init_state(self) -> StreamState:
        """Return the state before the first frame of a stream."""
        return self.head.init_state()

    @torch.no_grad()
    def step(self, state: StreamState, frame: Tensor) -> tuple[Tensor, StreamState]:
        """Return scores (1 + classes,) of the next frame of a stream and the state after it.

        Args:
            state: state of the stream so far; it is not changed.
            frame: (C, H, W) normalized as by the data preprocessor, or a
                feature (C',) without a backbone.
        """
        feature = self._encode(frame[None, :, None])[0, :, 0]  # (C',)
        return self.head.step(state, feature)
