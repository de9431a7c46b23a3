"""Memory of a detector's neck, head and losses, measured on random features.

Losses select steps by their values, so they cannot run on shapes. They are
small compared with a backbone, and one window is computed for real.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from sbp_tad.models.detectors.online_detector import OnlineActionDetector
from sbp_tad.models.detectors.temporal_detector import TemporalDetector
from sbp_tad.planning.clip_cost import StepBytes
from sbp_tad.planning.fake_tensors import LiveMemory
from sbp_tad.planning.saved_memory import meter_saved_memory
from sbp_tad.structures import OnlineDataSample, TADDataSample, Window


@dataclass(frozen=True)
class FeatureShape:
    """Features (``channels``, ``steps``) of ``frames`` frames, of a trained or frozen network."""

    channels: int
    frames: int
    steps: int
    trained: bool


class _RandomFeatures(nn.Module):
    """Stand-in for a backbone: random features, with gradient if the backbone is trained."""

    def __init__(self, shape: FeatureShape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features (1, C', T')."""
        steps = -(-inputs.shape[2] * self.shape.steps // self.shape.frames)
        needs = self.shape.trained and torch.is_grad_enabled()
        return torch.randn(1, self.shape.channels, steps).requires_grad_(needs)


@contextmanager
def random_features(detector: nn.Module, shape: FeatureShape) -> Iterator[None]:
    """Replace the backbone by random features within the block."""
    backbone = detector.backbone
    try:
        detector.backbone = _RandomFeatures(shape)
        yield
    finally:
        detector.backbone = backbone


def one_action(num_frames: int) -> TADDataSample:
    """Make a window with one action in its middle."""
    window = Window('', 0.0, num_frames, 1.0, 1.0, num_frames)
    sample = TADDataSample(metainfo=dict(window=window, video_id='', error=None))
    middle = torch.tensor([[0.4, 0.6]], dtype=torch.float64) * num_frames
    sample.gt_instances = InstanceData(segments_seconds=middle, labels=torch.tensor([0]))
    return sample


def one_online_window(num_history: int, num_frames: int, num_classes: int) -> OnlineDataSample:
    """Make a working window of background with a full history."""
    window = Window('', 0.0, num_frames, 1.0, 1.0, num_frames)
    sample = OnlineDataSample(metainfo=dict(window=window, video_id='', error=None))
    sample.memory_mask = torch.ones(num_history, dtype=torch.bool)
    sample.frame_targets = torch.eye(1 + num_classes)[[0] * num_frames]
    sample.frame_valid = torch.ones(num_frames, dtype=torch.bool)
    return sample


def neck_head_bytes(detector: TemporalDetector | OnlineActionDetector, num_frames: int,
                    shape: FeatureShape, amp: bool = False) -> StepBytes:
    """Measure forward, losses and backward of one window, from the backbone's features on.

    Args:
        detector: with real neck and head.
        num_frames: of the (working) window.
        shape: of the backbone's features.
        amp: mixed precision.
    """
    num_inputs, sample = num_frames, None
    if isinstance(detector, OnlineActionDetector):
        num_inputs += detector.head.memory_frames
        sample = one_online_window(detector.head.memory_frames, num_frames,
                                   detector.head.num_classes)
    inputs = torch.empty(1, 3, num_inputs, 1, 1)
    with random_features(detector, shape), LiveMemory(detector) as live, \
            meter_saved_memory(detector) as saved:
        with torch.autocast('cpu', torch.bfloat16, enabled=amp):
            losses = detector.loss(inputs, [sample or one_action(num_frames)])
        total, _ = detector.parse_losses(losses)
        total.backward()
    held = StepBytes(saved.bytes, max(0, live.peak_bytes - saved.bytes))
    detector.zero_grad()
    return held
