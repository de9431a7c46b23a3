"""Training memory of a video model, predicted from shapes.

The backbone is encoded as fake tensors (:mod:`sbp_tad.planning.fake_tensors`),
one clip and two, whose line says what any number takes. Neck and head of a
detector run for real on random features (:mod:`sbp_tad.planning.head_cost`).
A recognizer has its head among the fake tensors.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.models.backbones.strategies.stochastic import TOKEN_MODE
from sbp_tad.models.detectors.online_detector import OnlineActionDetector
from sbp_tad.planning.clip_cost import (EncodingCost, StepBytes, deferred_bytes, direct_bytes,
                                        measure_encoding)
from sbp_tad.planning.errors import PlanningError
from sbp_tad.planning.expected_memory import check_planned, clip_frames, full_clips
from sbp_tad.planning.fake_tensors import build_shapes, empty_shape
from sbp_tad.planning.head_cost import FeatureShape, neck_head_bytes
from sbp_tad.registry import MODELS
from sbp_tad.sbp import SBPConfig, keep_count
from sbp_tad.sbp.nested_tensors import Features

WITHOUT_RATIO = ('full', 'frozen')


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
        alone = (mode, ) if mode in (TOKEN_MODE, *WITHOUT_RATIO) else ()
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
        if setting.mode in (TOKEN_MODE, *WITHOUT_RATIO):
            return setting.batch_size * per_sample
        if getattr(self.backbone, 'clip_len', 1) is None:
            return keep_count(setting.keep_ratio, setting.batch_size * per_sample)
        return setting.batch_size * keep_count(setting.keep_ratio, per_sample)


def check_config(config: dict) -> None:
    """Refuse a mode that is not predicted before anything is built.

    Raises:
        PlanningError: with what to do instead.
    """
    backbone = config['backbone']
    if str(backbone['type']).rpartition('.')[2] == SBPBackbone.__name__:
        check_planned(backbone.get('mode', 'direct'))


def detector_as_shapes(config: dict, frame_size: tuple[int, int], **options: object) -> VideoModel:
    """A detector, offline or online, whose backbone has no numbers.

    Args:
        config: of the model.
        frame_size: (height, width).
        options: ``amp`` and ``copies`` of :class:`VideoModel`.

    Raises:
        PlanningError: the backbone encodes no videos, or in a mode
            that is not predicted.
    """
    check_config(config)
    detector = MODELS.build({**config, 'backbone': None})
    detector.backbone = build_shapes(lambda: MODELS.build(config['backbone']))
    detector.train()
    unit = clip_frames(detector)

    def encode(num_clips: int) -> Tensor:
        return detector.backbone(empty_shape((1, 3, num_clips * unit, *frame_size)))

    def clips(num_frames: int) -> tuple[int, int]:
        memory = 0
        if isinstance(detector, OnlineActionDetector):
            memory = detector.head.memory_frames
            if detector.memory_backprop:
                return num_frames + memory, 0
        return -(-num_frames // unit), memory

    shape = _feature_shape(detector, encode, unit)
    measure = partial(neck_head_bytes, detector, shape=shape, amp=bool(options.get('amp')))
    fixed = isinstance(detector, OnlineActionDetector)
    head = head_of_frames(measure, proportional=not getattr(detector, 'num_steps', None))
    return VideoModel(detector, detector.backbone, encode, (3, unit, *frame_size), clips, head,
                      None if fixed else unit, **options)


def _feature_shape(detector: nn.Module, encode: Callable[[int], Tensor], unit: int
                   ) -> FeatureShape:
    """Of one clip.

    Raises:
        PlanningError: the backbone gives something else than (B, C', T').
    """
    with torch.no_grad():
        features = encode(1)
    if not isinstance(features, Tensor) or features.ndim != 3:
        raise PlanningError(
            'memory is planned for frames (B, 3, T, H, W) that a backbone encodes to (B, C, T), '
            f'but {type(detector.backbone).__name__} gave '
            f'{getattr(features, "shape", type(features).__name__)}.')
    trained = any(parameter.requires_grad for parameter in detector.backbone.parameters())
    return FeatureShape(features.shape[1], unit, features.shape[2], trained)


def head_of_frames(measure: Callable[[int], StepBytes], proportional: bool
                   ) -> Callable[[int], StepBytes]:
    """Measured for the frames that are asked for first; others are told from these.

    Windows of another length are only asked for to find the longest that
    fits, where neck and head are a small part.

    Args:
        measure: frames of a window to its bytes.
        proportional: to the frames; else the same for all.
    """
    measured: dict[int, StepBytes] = {}

    def head(num_frames: int) -> StepBytes:
        if not measured:
            measured[num_frames] = measure(num_frames)
        (known, held), = measured.items()
        return held.times(num_frames / known if proportional else 1)
    return head


def recognizer_as_shapes(config: dict, item_shape: tuple[int, ...], num_clips: int = 1,
                         **options: object) -> VideoModel:
    """A recognizer of mmaction, none of whose weights has numbers.

    Args:
        config: of the model.
        item_shape: (C, L, H, W) of a clip, or (C, H, W) of a frame.
        num_clips: items of a sample.
        options: ``amp`` and ``copies`` of :class:`VideoModel`.

    Raises:
        PlanningError: a backbone in a mode that is not predicted.
    """
    check_config(config)
    model = build_shapes(lambda: MODELS.build(config)).train()
    together = getattr(model.backbone, 'num_segments', None) or 1

    def encode(num_groups: int) -> Tensor:
        scores, _ = model.extract_feat(empty_shape((num_groups, together, *item_shape)),
                                       stage='head')
        return scores

    return VideoModel(model, model.backbone, encode, (together, *item_shape),
                      lambda _: (-(-num_clips // together), 0), lambda _: StepBytes(0, 0),
                      **options)


def configured(video_model: VideoModel, batch_size: int, num_frames: int) -> Setting:
    """The setting that a config asks for."""
    backbone = video_model.backbone
    if not isinstance(backbone, SBPBackbone):
        return Setting('direct', 1.0, batch_size, num_frames)
    at_once = getattr(backbone.config, 'clips_at_once', None)
    if backbone.mode == 'frozen':
        at_once = backbone.strategy.clips_without_grad
    return Setting(backbone.mode, backbone.config.keep_ratio, batch_size, num_frames, at_once)
