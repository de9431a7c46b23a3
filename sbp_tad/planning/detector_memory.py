"""Bytes that a detector saves for backward at several keep ratios."""
from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.models.detectors.temporal_detector import TemporalDetector
from sbp_tad.planning.models_as_shapes import check_planned, detector_video_model
from sbp_tad.planning.video_model import configured

OPTIMIZER_COPIES = 4  # weight, gradient and AdamW's two moments


@dataclass(frozen=True)
class ExpectedMemory:
    """Bytes of a training step, float32.

    Args:
        saved: keep ratio -> bytes saved for backward by a batch.
        keep_ratio: of the config; None for a backbone without SBP.
        neck_head: the part of neck and head in ``saved``.
        weights: parameters with gradient and AdamW's two moments, by the
            formula 16 bytes per trained and 4 per frozen parameter.
        batch_size: windows per batch.
        frame_size: (height, width) of the frames.
    """

    saved: dict[float, int]
    keep_ratio: float | None
    neck_head: int
    weights: int
    batch_size: int
    frame_size: tuple[int, int]


def expect_memory(detector: TemporalDetector, num_frames: int, frame_size: tuple[int, int],
                  batch_size: int = 1, keep_ratios: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125)
                  ) -> ExpectedMemory:
    """Predict the bytes that a detector's training step saves for backward.

    Args:
        detector: in training mode; its weights do not matter.
        num_frames: frames per window.
        frame_size: (height, width) that the pipeline gives.
        batch_size: windows per batch.
        keep_ratios: to predict, besides the config's own.

    Raises:
        PlanningError: the backbone encodes no videos, or its mode is not predicted.
    """
    backbone = detector.backbone
    check_planned(getattr(backbone, 'mode', 'full'))
    video_model = detector_video_model(detector, frame_size)
    current = configured(video_model, batch_size, num_frames)
    own_ratio, ratios = None, [1.0]
    if isinstance(backbone, SBPBackbone):
        own_ratio = current.keep_ratio
        if current.mode != 'frozen':
            ratios = sorted({*keep_ratios, own_ratio}, reverse=True)
    if current.mode == 'full':  # other keep ratios are those of the direct form
        current = replace(current, mode='direct')
    saved = {ratio: video_model.predict(replace(current, keep_ratio=ratio)).saved
             for ratio in ratios}
    neck_head = batch_size * video_model.head(num_frames).saved
    return ExpectedMemory(saved, own_ratio, neck_head, weight_bytes(detector), batch_size,
                          frame_size)


def weight_bytes(model: nn.Module) -> int:
    """Bytes of parameters, their gradients and AdamW's two moments."""
    return sum(parameter.nbytes * (OPTIMIZER_COPIES if parameter.requires_grad else 1)
               for parameter in model.parameters())
