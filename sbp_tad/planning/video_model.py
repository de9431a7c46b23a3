"""Training memory of a video model, predicted from shapes.

The backbone runs on fake tensors (:mod:`sbp_tad.planning.fake_tensors`) with
one clip and with two; a line through both gives any number of clips. Neck and
head of a detector run for real on random features
(:mod:`sbp_tad.planning.head_cost`). The head of a recognizer is among the fake
tensors. :mod:`sbp_tad.planning.models_as_shapes` builds the models.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from torch import nn

from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.models.backbones.strategies.modes import FIXED_MODES, TOKEN_MODE
from sbp_tad.planning.clip_cost import (
    EncodingCost,
    StepBytes,
    deferred_bytes,
    direct_bytes,
    measure_encoding,
)
from sbp_tad.sbp import SBPConfig, keep_count
from sbp_tad.sbp.nested_tensors import Features


@dataclass(frozen=True)
class Setting:
    """Choices that determine the memory of a step.

    Args:
        mode: one of ``PLANNED_MODES``.
        keep_ratio: of clips or tokens.
        batch_size: windows, or clips of a recognizer.
        num_frames: per (working) window, or per clip.
        clips_at_once: see :class:`sbp_tad.sbp.SBPConfig`.
    """

    mode: str
    keep_ratio: float
    batch_size: int
    num_frames: int
    clips_at_once: int | None = None


@dataclass(frozen=True)
class StepMemory:
    """Bytes of a training step.

    Args:
        parameters: and buffers.
        gradients: of the trained parameters.
        optimizer: states of the optimizer, and averaged weights.
        saved: activations for backward, as :class:`sbp_tad.sbp.SavedMemory` counts them.
        transients: peak above these, frames included.
    """

    parameters: int
    gradients: int
    optimizer: int
    saved: int
    transients: int

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return self.parameters + self.gradients + self.optimizer + self.saved + self.transients


@dataclass(frozen=True)
class WeightCopies:
    """Copies of the weights: ``states`` per trained weight, ``averages`` of all weights."""

    states: float = 2.0  # AdamW's
    averages: int = 0


@dataclass
class VideoModel:
    """A model whose backbone has no numbers, and the parts of its training step.

    Args:
        model: the whole model, for the bytes of its weights.
        backbone: the part that encodes clips, without numbers.
        encode: number of clips to features with gradient.
        clip_shape: (C, L, H, W) of a clip's frames.
        clips: frames per sample to its clips with gradient, and its clips that never have one.
        head: frames per sample to the bytes of neck, head and losses.
        frames_step: windows may be any multiple of it; None: their length is fixed.
        amp: mixed precision.
        copies: of the weights.
        device: device type of the backbone.
    """

    model: nn.Module
    backbone: nn.Module
    encode: Callable[[int], Features]
    clip_shape: tuple[int, ...]
    clips: Callable[[int], tuple[int, int]]
    head: Callable[[int], StepBytes]
    frames_step: int | None = None
    amp: bool = False
    copies: WeightCopies = WeightCopies()
    device: str = 'cpu'
    _costs: dict[float, EncodingCost] = field(default_factory=dict)

    @property
    def modes(self) -> tuple[str, ...]:
        """Modes that the model can be planned for."""
        if not isinstance(self.backbone, SBPBackbone):
            return ('direct', )
        mode = self.backbone.mode
        alone = (mode, ) if mode in (TOKEN_MODE, *FIXED_MODES) else ()
        return alone if mode in (TOKEN_MODE, 'frozen') else (*alone, 'direct', 'deferred')

    def cost(self, keep_ratio: float) -> EncodingCost:
        """Measure, once, the cost of kept clips; with tokens, once per keep ratio."""
        key = keep_ratio if TOKEN_MODE in self.modes else 1.0
        if key not in self._costs:
            measure = partial(measure_encoding, self.backbone, self.encode, self.device, self.amp)
            if isinstance(self.backbone, SBPBackbone):
                with full_clips(self.backbone, keep_ratio):
                    self._costs[key] = measure()
            else:
                self._costs[key] = measure()
        return self._costs[key]

    def predict(self, setting: Setting) -> StepMemory:
        """Predict the bytes of a training step with this setting."""
        parameters = sum(p.nbytes for p in self.model.parameters())
        trained = sum(p.nbytes for p in self.model.parameters() if p.requires_grad)
        buffers = sum(b.nbytes for b in self.model.buffers())
        step = self._step(setting)
        return StepMemory(parameters + buffers, trained,
                          round(self.copies.states * trained) + self.copies.averages
                          * (parameters + buffers), step.saved, step.transients)

    def _step(self, setting: Setting) -> StepBytes:
        per_sample, without_grad = self.clips(setting.num_frames)
        num_clips = setting.batch_size * per_sample
        num_dropped = setting.batch_size * without_grad
        head = self.head(setting.num_frames).times(setting.batch_size)
        cost, clip_bytes = self.cost(setting.keep_ratio), 4 * math.prod(self.clip_shape)
        kept = self._kept(setting, per_sample)
        passes = SBPConfig(clips_at_once=setting.clips_at_once)
        if setting.mode == 'deferred':
            step = deferred_bytes(cost, kept, num_clips, (
                passes.clips_with_grad, passes.clips_without_grad), clip_bytes, head)
        else:
            step = direct_bytes(cost, kept, num_clips - kept + num_dropped,
                                passes.clips_without_grad, head)
        frames = (num_clips + num_dropped) * clip_bytes  # of the data preprocessor
        return replace(step, transients=step.transients + frames)

    def _kept(self, setting: Setting, per_sample: int) -> int:
        """Count the kept clips: drawn per window, or from the batch where clips come alone."""
        if setting.mode == 'frozen' and self.backbone.strategy.is_whole:
            return 0
        if setting.mode in (TOKEN_MODE, *FIXED_MODES):
            return setting.batch_size * per_sample
        if getattr(self.backbone, 'clip_len', 1) is None:
            return keep_count(setting.keep_ratio, setting.batch_size * per_sample)
        return setting.batch_size * keep_count(setting.keep_ratio, per_sample)


@contextmanager
def full_clips(backbone: SBPBackbone, keep_ratio: float) -> Iterator[None]:
    """Backpropagate every clip directly within the block; of tokens, the share ``keep_ratio``."""
    before = backbone.config
    if backbone.mode != TOKEN_MODE:
        backbone.config = SBPConfig(keep_ratio=1.0)
    else:
        backbone.set_keep_ratio(keep_ratio)
    try:
        yield
    finally:
        backbone.config = before


def configured(video_model: VideoModel, batch_size: int, num_frames: int) -> Setting:
    """Return the setting that a config asks for."""
    backbone = video_model.backbone
    if not isinstance(backbone, SBPBackbone):
        return Setting('direct', 1.0, batch_size, num_frames)
    at_once = getattr(backbone.config, 'clips_at_once', None)
    if backbone.mode == 'frozen':
        at_once = backbone.strategy.clips_without_grad
    return Setting(backbone.mode, backbone.config.keep_ratio, batch_size, num_frames, at_once)
