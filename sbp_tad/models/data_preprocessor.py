"""Frames or features of a batch of windows: stacked, normalized, on the model's device."""
from __future__ import annotations

from mmaction.models.data_preprocessors import ActionDataPreprocessor
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sbp_tad.registry import MODELS
from sbp_tad.structures import TADDataSample


@MODELS.register_module()
class TADDataPreprocessor(ActionDataPreprocessor):
    """mmaction's preprocessor for windows (C, T, H, W), some of which may be unreadable.

    Windows without input (``inputs`` is None, the reason in their data
    sample's ``error``) are left out of the stacked batch, which then has one
    row for each readable sample, in order; with none, ``inputs`` is None.
    Pre-extracted features (C, T) are not normalized, and padded with zeros to
    the longest of the batch.

    Args:
        mean, std: of the pixels a channel, as in mmaction.
        to_rgb: swap the channels first.
    """

    def __init__(self, mean: list[float] | None = None, std: list[float] | None = None,
                 to_rgb: bool = False) -> None:
        super().__init__(mean=mean, std=std, to_rgb=to_rgb, format_shape='NCTHW')

    def preprocess(self, inputs: list[Tensor | None], data_samples: list[TADDataSample],
                   training: bool = False) -> tuple[Tensor | None, list[TADDataSample]]:
        """Stack and normalize: (B, C, T, H, W) or (B, C, T) float32, the samples as they came."""
        readable = [frames for frames in inputs if frames is not None]
        if not readable:
            return None, data_samples
        if readable[0].ndim == 2:
            steps_first = pad_sequence([steps.float().T for steps in readable], batch_first=True)
            return steps_first.transpose(1, 2), data_samples  # (B, C, T)
        return super().preprocess(readable, data_samples, training)
