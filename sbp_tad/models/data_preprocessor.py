"""Stack and normalize the frames or features of a batch of windows on the model's device."""
from __future__ import annotations

from mmaction.models.data_preprocessors import ActionDataPreprocessor
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sbp_tad.registry import MODELS
from sbp_tad.structures import TADDataSample


@MODELS.register_module()
class TADDataPreprocessor(ActionDataPreprocessor):
    """Preprocessor of mmaction for windows (C, T, H, W), of which some may be unreadable.

    The batch has one row per readable sample, in order. Unreadable windows
    (``inputs`` is None; the ``error`` of their data sample says why) are left
    out. If no sample is readable, ``inputs`` is None. Pre-extracted features
    (C, T) are not normalized; zeros pad them to the longest of the batch.

    Args:
        mean: mean of the pixels per channel, as in mmaction.
        std: standard deviation of the pixels per channel, as in mmaction.
        to_rgb: swap the channels first.
    """

    def __init__(self, mean: list[float] | None = None, std: list[float] | None = None,
                 to_rgb: bool = False) -> None:
        super().__init__(mean=mean, std=std, to_rgb=to_rgb, format_shape='NCTHW')

    def preprocess(self, inputs: list[Tensor | None], data_samples: list[TADDataSample],
                   training: bool = False) -> tuple[Tensor | None, list[TADDataSample]]:
        """Return (B, C, T, H, W) or (B, C, T) float32 and the data samples, unchanged."""
        readable = [frames for frames in inputs if frames is not None]
        if not readable:
            return None, data_samples
        if readable[0].ndim == 2:
            steps_first = pad_sequence([steps.float().T for steps in readable], batch_first=True)
            return steps_first.transpose(1, 2), data_samples  # (B, C, T)
        return super().preprocess(readable, data_samples, training)
