"""Temporal action detector: backbone, neck and head from frames to segments in seconds."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn import functional as F

from sbp_tad.models.errors import ModelError
from sbp_tad.models.layers.masked_layers import check_batch
from sbp_tad.registry import MODELS
from sbp_tad.segments.merging import PostProcessing
from sbp_tad.segments.overlap import SegmentError
from sbp_tad.structures import TADDataSample


def step_masks(valid_frames: Tensor, frames_per_step: float, num_steps: int) -> Tensor:
    """Return masks (B, T') bool, True for feature steps that lie at least partly in the video.

    Args:
        valid_frames: (B,) number of sampled frames of each window inside the video.
        frames_per_step: sampled frames per feature step.
        num_steps: T'.
    """
    first_frames = torch.arange(num_steps, device=valid_frames.device) * frames_per_step
    return first_frames[None] < valid_frames[:, None]


@MODELS.register_module()
class TemporalDetector(BaseModel):
    """Temporal action detector, trained from frames or from features.

    Args:
        backbone: config; maps frames (B, C, T, H, W) to features (B, C', T').
            None takes pre-extracted features (B, C', T') as input.
        head: config; maps pyramid levels and masks to losses or segments.
        neck: config; maps features and masks to pyramid levels and masks.
            None gives the head a single level.
        num_steps: number of steps to which features are interpolated linearly
            along time before the neck; None keeps the backbone's.
        data_preprocessor: config, see :class:`TADDataPreprocessor`.
        init_cfg: config of the weight initialization.
        test_cfg: suppression and merging of overlapping windows, options of
            :class:`sbp_tad.segments.merging.PostProcessing`; its defaults for
            options left out. The rules travel to the metric with each data
            sample.

    Raises:
        ModelError: an unknown option in ``test_cfg``, or a value that cannot work.
    """

    def __init__(self, backbone: dict | None, head: dict, neck: dict | None = None,
                 num_steps: int | None = None, data_preprocessor: dict | None = None,
                 init_cfg: dict | list | None = None, test_cfg: dict | None = None) -> None:
        preprocessor = data_preprocessor or dict(type='TADDataPreprocessor')
        super().__init__(MODELS.build(preprocessor), init_cfg)
        self.backbone = nn.Identity() if backbone is None else MODELS.build(backbone)
        self.neck = None if neck is None else MODELS.build(neck)
        self.head = MODELS.build(head)
        self.num_steps = num_steps
        self.post_processing = post_processing_of(test_cfg)

    def forward(self, inputs: Tensor | None, data_samples: list[TADDataSample] | None = None,
                mode: str = 'tensor') -> dict[str, Tensor] | list[TADDataSample] | tuple:
        """Run one of mmengine's modes.

        Args:
            inputs: (B, C, T, H, W), or features (B, C', T') without a
                backbone, one row per readable sample; None if no sample is
                readable.
            data_samples: the samples of the batch, unreadable ones included.
            mode: ``'loss'`` (dict of losses), ``'predict'`` (the samples with
                ``pred_instances``) or ``'tensor'`` (pyramid levels and masks).
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            levels, masks, _ = self.extract(inputs, data_samples)
            return levels, masks
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}.")

    def extract(self, inputs: Tensor, data_samples: list[TADDataSample] | None
                ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], float]:
        """Return pyramid levels (B, C, T_l), masks (B, T_l) and the frames per level-0 step.

        Raises:
            ModelError: an empty batch.
        """
        check_batch(inputs)
        features = self.encode(inputs, data_samples)  # (B, C', T')
        if self.num_steps is not None:
            features = F.interpolate(features, size=self.num_steps, mode='linear',
                                     align_corners=False)
        num_frames, num_steps = inputs.shape[2], features.shape[2]
        valid = [num_frames] * len(inputs) if data_samples is None else \
            [sample.window.num_valid_frames for sample in data_samples]
        valid_frames = torch.tensor(valid, device=features.device)
        frames_per_step = num_frames / num_steps
        masks = step_masks(valid_frames, frames_per_step, num_steps)
        if self.neck is None:
            return (features, ), (masks, ), frames_per_step
        levels, level_masks = self.neck(features, masks)
        return levels, level_masks, frames_per_step

    def encode(self, inputs: Tensor, data_samples: list[TADDataSample] | None) -> Tensor:
        """Return features (B, C', T'); strategies with a memory bank also get the windows."""
        strategy = getattr(self.backbone, 'strategy', None)
        if data_samples is None or not getattr(strategy, 'needs_windows', False):
            return self.backbone(inputs)
        return self.backbone(inputs, windows=[sample.window for sample in data_samples])

    def loss(self, inputs: Tensor, data_samples: list[TADDataSample]) -> dict[str, Tensor]:
        """Return the losses of a training batch."""
        levels, masks, frames_per_step = self.extract(inputs, data_samples)
        segments_grid, labels = [], []
        for sample in data_samples:
            truth = sample.gt_instances
            grid = sample.window.seconds_to_grid(truth.segments_seconds, frames_per_step)
            segments_grid.append(grid.to(inputs.device, torch.float32))
            labels.append(truth.labels.to(inputs.device))
        return self.head.loss(levels, masks, segments_grid, labels)

    def predict(self, inputs: Tensor | None,
                data_samples: list[TADDataSample]) -> list[TADDataSample]:
        """Give each sample its segments before suppression, and the rules of suppression.

        Segments are in seconds of the video. Unreadable samples (``error`` is
        set) get none.
        """
        readable = [sample for sample in data_samples if sample.error is None]
        for sample in data_samples:
            sample.set_metainfo(dict(post_processing=self.post_processing))
            sample.pred_instances = empty_predictions()
        if inputs is None or not len(inputs):
            return data_samples
        levels, masks, frames_per_step = self.extract(inputs, readable)
        for sample, found in zip(readable, self.head.predict(levels, masks)):
            sample.pred_instances = to_seconds(found, sample, frames_per_step,
                                               getattr(self.head, 'clips_to_window', True))
        return data_samples


def post_processing_of(test_cfg: Mapping[str, Any] | None) -> PostProcessing:
    """Return the suppression rules that a detector's ``test_cfg`` states.

    Raises:
        ModelError: an unknown option, or a value that cannot work.
    """
    try:
        return PostProcessing().with_options(test_cfg or {})
    except SegmentError as error:
        raise ModelError(f'model.test_cfg: {error}') from error


def empty_predictions() -> InstanceData:
    """Return predictions without any segment."""
    return InstanceData(segments_seconds=torch.zeros(0, 2, dtype=torch.float64),
                        scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.int64))


def to_seconds(found: InstanceData, sample: TADDataSample, frames_per_step: float,
               clips_to_window: bool) -> InstanceData:
    """Convert a head's segments to seconds (float64), clipped to the seen part if wanted."""
    window = sample.window
    seconds = window.grid_to_seconds(found.segments_grid.double(), frames_per_step)
    if clips_to_window:
        seconds = seconds.clamp(*window.seen_seconds)
    return InstanceData(segments_seconds=seconds, scores=found.scores.float(),
                        labels=found.labels)
