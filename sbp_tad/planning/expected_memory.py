"""What a detector will save for backward, from steps that are much smaller than training's.

Clips are encoded one by one, so what the backbone saves is a line in the
number of clips: measured at one and two clips of the real shape, it says what
any number of them takes. Neck and head are measured on a whole window, for
which random features stand in.
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.models.detectors.temporal_detector import TemporalDetector
from sbp_tad.planning.clip_cost import ClipCost
from sbp_tad.planning.errors import PlanningError
from sbp_tad.planning.head_cost import FeatureShape, neck_head_bytes
from sbp_tad.planning.saved_memory import meter_saved_memory
from sbp_tad.sbp import SBPConfig, keep_count

PLANNED_MODES = ('direct', 'deferred', 'token', 'full', 'frozen')
PLAIN_UNIT_FRAMES = 16  # of a backbone without clips
OPTIMIZER_COPIES = 4  # weight, gradient and AdamW's two moments


@dataclass(frozen=True)
class ExpectedMemory:
    """Bytes of a training step, float32.

    Args:
        saved: keep ratio -> bytes saved for backward by a batch.
        keep_ratio: of the config; None for a backbone without SBP.
        neck_head: the part of neck and head in ``saved``.
        weights: parameters with gradient and AdamW's two moments, by the
            formula 16 bytes a trained and 4 a frozen parameter.
        batch_size: windows of the batch.
        frame_size: (height, width) of the frames.
    """

    saved: dict[float, int]
    keep_ratio: float | None
    neck_head: int
    weights: int
    batch_size: int
    frame_size: tuple[int, int]


def check_planned(mode: str) -> None:
    """Refuse a strategy whose memory is no line in the number of kept clips.

    Args:
        mode: of SBPBackbone.

    Raises:
        PlanningError: with what to do instead.
    """
    if mode not in PLANNED_MODES:
        raise PlanningError(
            f'memory is predicted for the modes {list(PLANNED_MODES)}, but the backbone has mode '
            f'{mode!r}; measure a training step with tools/compare_strategies.py, or plan '
            'for another mode with --cfg-options model.backbone.mode=full.')


def frames_per_step(detector: TemporalDetector, frame_size: tuple[int, int]) -> float:
    """Sampled frames of a step of the backbone's features, measured on one clip."""
    unit = clip_frames(detector)
    with torch.no_grad():
        return unit / _encode(detector, unit, frame_size).shape[2]


def clip_frames(detector: TemporalDetector) -> int:
    """Frames of a clip; of a backbone without clips, a number that fits most of them.

    Raises:
        PlanningError: the backbone encodes no videos.
    """
    backbone = detector.backbone
    if not isinstance(backbone, SBPBackbone):
        return PLAIN_UNIT_FRAMES
    if backbone.clip_len is None:
        raise PlanningError('the memory of a detector is measured clip by clip, but its '
                            'SBPBackbone has no clip_len; set clip_len.')
    return backbone.clip_len


def expect_memory(detector: TemporalDetector, num_frames: int, frame_size: tuple[int, int],
                  batch_size: int = 1, keep_ratios: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125)
                  ) -> ExpectedMemory:
    """Measure what a training step of a detector will save for backward.

    Args:
        detector: in training mode; its weights do not matter.
        num_frames: of a window.
        frame_size: (height, width) that the pipeline gives.
        batch_size: windows of a batch.
        keep_ratios: to tell the bytes for, besides the config's own.

    Raises:
        PlanningError: the backbone encodes no videos, or in a mode
            that is not predicted.
    """
    check_planned(getattr(detector.backbone, 'mode', 'full'))
    num_clips = -(-num_frames // clip_frames(detector))
    backbone = detector.backbone
    neck_head = batch_size * _neck_head_bytes(detector, num_frames, frame_size)
    ratio = backbone.config.keep_ratio if isinstance(backbone, SBPBackbone) else None
    if ratio is None or backbone.mode == 'frozen':
        saved = {1.0: neck_head + _clip_cost(detector, frame_size).bytes(batch_size * num_clips)}
    else:
        saved = {keep: _sbp_bytes(detector, keep, num_clips, batch_size, frame_size, neck_head)
                 for keep in sorted({*keep_ratios, ratio}, reverse=True)}
    return ExpectedMemory(saved, ratio, neck_head, _weight_bytes(detector), batch_size, frame_size)


def _sbp_bytes(detector: TemporalDetector, keep_ratio: float, num_clips: int, batch_size: int,
               frame_size: tuple[int, int], neck_head: int) -> int:
    """Neck, head and kept clips; or kept tokens of all clips; or, deferred, a few clips.

    Deferred clips are encoded again after neck and head let go of theirs, and
    the frames of the batch are held for it.
    """
    backbone: SBPBackbone = detector.backbone
    kept = batch_size * keep_count(keep_ratio, num_clips)
    with full_clips(backbone, keep_ratio):
        cost = _clip_cost(detector, frame_size)
    if backbone.mode == 'token':
        return neck_head + cost.bytes(batch_size * num_clips)
    if backbone.mode in ('direct', 'full'):
        return neck_head + cost.bytes(kept)
    frames = 4 * 3 * batch_size * num_clips * backbone.clip_len * math.prod(frame_size)
    return frames + max(neck_head, cost.bytes(min(kept, backbone.config.clips_with_grad)))


@contextmanager
def full_clips(backbone: SBPBackbone, keep_ratio: float) -> Iterator[None]:
    """Every clip is backpropagated directly; of the tokens, ``keep_ratio``."""
    before = backbone.config
    if backbone.mode != 'token':
        backbone.config = SBPConfig(keep_ratio=1.0)
    else:
        backbone.set_keep_ratio(keep_ratio)
    try:
        yield
    finally:
        backbone.config = before


def _clip_cost(detector: TemporalDetector, frame_size: tuple[int, int]) -> ClipCost:
    unit = clip_frames(detector)
    one, two = (_encoder_bytes(detector, clips * unit, frame_size) for clips in (1, 2))
    return ClipCost.through(one, two)


def _encoder_bytes(detector: TemporalDetector, num_frames: int, frame_size: tuple[int, int]
                   ) -> int:
    with meter_saved_memory(detector) as meter:
        _encode(detector, num_frames, frame_size)
    return meter.bytes


def _encode(detector: TemporalDetector, num_frames: int, frame_size: tuple[int, int]) -> Tensor:
    """Features (1, C', T') of random frames.

    Raises:
        PlanningError: the backbone gives something else.
    """
    features = detector.backbone(torch.randn(1, 3, num_frames, *frame_size))
    if not isinstance(features, Tensor) or features.ndim != 3:
        raise PlanningError(
            'the memory of a detector is measured on frames (B, 3, T, H, W) that its backbone '
            f'encodes to (B, C, T), but {type(detector.backbone).__name__} gave '
            f'{getattr(features, "shape", type(features).__name__)}.')
    return features


def _neck_head_bytes(detector: TemporalDetector, num_frames: int, frame_size: tuple[int, int]
                     ) -> int:
    """Saved by neck, head and losses for one window with one action in its middle."""
    unit = clip_frames(detector)
    with torch.no_grad():
        _, channels, steps = _encode(detector, unit, frame_size).shape
    trained = any(parameter.requires_grad for parameter in detector.backbone.parameters())
    shape = FeatureShape(channels, unit, steps, trained)
    return neck_head_bytes(detector, num_frames, shape).saved


def _weight_bytes(model: nn.Module) -> int:
    return sum(parameter.nbytes * (OPTIMIZER_COPIES if parameter.requires_grad else 1)
               for parameter in model.parameters())
