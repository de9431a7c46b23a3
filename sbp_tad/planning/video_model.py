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
from sbp_tad.planning.clip_cost import (EncodingCost, StepBytes, deferred_bytes, direct_bytes,
                                        measure_encoding)
from sbp_tad.sbp import SBPConfig, keep_count
from sbp_tad.sbp.nested_tensors import Features


@dataclass(frozen=True)
class Setting:
    """What decides on memory and can be chosen.

    Args:
        mode: one of ``PLANNED_MODES``.
        keep_ratio: of clips or tokens.
        batch_size: windows, or clips of a recognizer.
        num_frames: of a (working) window, or of a clip.
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
        optimizer: its states, and averaged weights.
        saved: activations for backward, what :class:`sbp_tad.sbp.SavedMemory` counts.
        transients: the most above that, frames included.
    """

    parameters: int
    gradients: int
    optimizer: int
    saved: int
    transients: int

    @property
    def total(self) -> int:
        """All together."""
        return self.parameters + self.gradients + self.optimizer + self.saved + self.transients


@dataclass(frozen=True)
class WeightCopies:
    """Copies of the weights: ``states`` of each trained one, ``averages`` of all."""

    states: float = 2.0  # AdamW's
    averages: int = 0


@dataclass
class VideoModel:
    """A model without numbers in its backbone, and how its step is made up.

    Args:
        model: all of it.
        backbone: the part that is encoded clip by clip.
        encode: number of clips to features with gradient.
        clip_shape: (C, L, H, W), of what a clip's frames take.
        clips: frames of a sample to its clips with gradient and those that never have one.
        head: frames of a sample to what comes on top of its features.
        frames_step: windows may be any multiple of it; None: they are fixed.
        amp: in mixed precision.
        copies: of the weights.
        device: where the backbone claims to be.
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
        """Forms of SBP that the model's config leaves a choice of."""
        if not isinstance(self.backbone, SBPBackbone):
            return ('direct', )
        mode = self.backbone.mode
        alone = (mode, ) if mode in (TOKEN_MODE, *FIXED_MODES) else ()
        return alone if mode in (TOKEN_MODE, 'frozen') else (*alone, 'direct', 'deferred')

    def cost(self, keep_ratio: float) -> EncodingCost:
        """Of kept clips; of tokens, those of a keep ratio."""
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
        """Bytes of a training step with this setting."""
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
        frames = (num_clips + num_dropped) * clip_bytes  # as the data preprocessor gives them
        return replace(step, transients=step.transients + frames)

    def _kept(self, setting: Setting, per_sample: int) -> int:
        """Clips are drawn from each window; of clips that come alone, from the batch."""
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
    """The setting that a config asks for."""
    backbone = video_model.backbone
    if not isinstance(backbone, SBPBackbone):
        return Setting('direct', 1.0, batch_size, num_frames)
    at_once = getattr(backbone.config, 'clips_at_once', None)
    if backbone.mode == 'frozen':
        at_once = backbone.strategy.clips_without_grad
    return Setting(backbone.mode, backbone.config.keep_ratio, batch_size, num_frames, at_once)
