"""Models built as shapes: a detector or recognizer whose backbone has no numbers."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.models.backbones.strategies.modes import PLANNED_MODES
from sbp_tad.models.detectors.online_detector import OnlineActionDetector
from sbp_tad.models.detectors.temporal_detector import TemporalDetector
from sbp_tad.planning.clip_cost import StepBytes
from sbp_tad.planning.errors import PlanningError
from sbp_tad.planning.fake_tensors import build_shapes, empty_shape, shape_twin
from sbp_tad.planning.head_cost import FeatureShape, neck_head_bytes
from sbp_tad.planning.video_model import VideoModel
from sbp_tad.registry import MODELS

PLAIN_UNIT_FRAMES = 16  # of a backbone without clips


def check_planned(mode: str) -> None:
    """Check that a strategy's memory is linear in the number of kept clips.

    Args:
        mode: of SBPBackbone.

    Raises:
        PlanningError: it is not; the message says what to do instead.
    """
    if mode not in PLANNED_MODES:
        raise PlanningError(
            f'memory is predicted for the modes {list(PLANNED_MODES)}, but the backbone has mode '
            f'{mode!r}; measure a training step with tools/compare_strategies.py, or plan '
            'for another mode with --cfg-options model.backbone.mode=full.')


def clip_frames(detector: nn.Module) -> int:
    """Return the frames per clip; for a backbone without clips, a number that suits most.

    Raises:
        PlanningError: an SBPBackbone without ``clip_len``.
    """
    backbone = detector.backbone
    if not isinstance(backbone, SBPBackbone):
        return PLAIN_UNIT_FRAMES
    if backbone.clip_len is None:
        raise PlanningError('the memory of a detector is measured clip by clip, but its '
                            'SBPBackbone has no clip_len; set clip_len.')
    return backbone.clip_len


def frames_per_step(detector: TemporalDetector, frame_size: tuple[int, int]) -> float:
    """Return the sampled frames per feature step of the backbone, from the shape of one clip.

    Raises:
        PlanningError: the backbone encodes no videos.
    """
    shape = feature_shape(shape_twin(detector.backbone), clip_frames(detector), frame_size)
    return shape.frames / shape.steps


def check_config(config: dict) -> None:
    """Check, before anything is built, that the mode of a model's backbone is predicted.

    Raises:
        PlanningError: it is not; the message says what to do instead.
    """
    backbone = config['backbone']
    if str(backbone['type']).rpartition('.')[2] == SBPBackbone.__name__:
        check_planned(backbone.get('mode', 'direct'))


def detector_as_shapes(config: dict, frame_size: tuple[int, int], **options: object) -> VideoModel:
    """Build a detector, offline or online, whose backbone has no numbers.

    Args:
        config: of the model.
        frame_size: (height, width).
        options: ``amp`` and ``copies`` of :class:`VideoModel`.

    Raises:
        PlanningError: the backbone encodes no videos, or its mode is not predicted.
    """
    check_config(config)
    detector = MODELS.build({**config, 'backbone': None})
    detector.backbone = build_shapes(lambda: MODELS.build(config['backbone']))
    return detector_video_model(detector.train(), frame_size, **options)


def detector_video_model(detector: TemporalDetector | OnlineActionDetector,
                         frame_size: tuple[int, int], **options: object) -> VideoModel:
    """Describe a detector's training step; a twin without numbers takes its backbone's part.

    Args:
        detector: in training mode.
        frame_size, options: see :func:`detector_as_shapes`.

    Raises:
        PlanningError: the backbone encodes no videos.
    """
    backbone, unit = shape_twin(detector.backbone), clip_frames(detector)
    if isinstance(backbone, SBPBackbone):
        backbone.planner = None  # it is planned here

    def encode(num_clips: int) -> Tensor:
        return backbone(empty_shape((1, 3, num_clips * unit, *frame_size)))

    def clips(num_frames: int) -> tuple[int, int]:
        history = 0
        if isinstance(detector, OnlineActionDetector):
            history = detector.head.memory_frames
            if detector.memory_backprop:
                return num_frames + history, 0
        return -(-num_frames // unit), history

    shape = feature_shape(backbone, unit, frame_size)
    measure = partial(neck_head_bytes, detector, shape=shape, amp=bool(options.get('amp')))
    fixed = isinstance(detector, OnlineActionDetector)
    head = head_of_frames(measure, proportional=not getattr(detector, 'num_steps', None))
    return VideoModel(detector, backbone, encode, (3, unit, *frame_size), clips, head,
                      None if fixed else unit, **options)


def feature_shape(backbone: nn.Module, unit: int, frame_size: tuple[int, int]) -> FeatureShape:
    """Encode one clip of fake frames.

    Args:
        backbone: without numbers.
        unit: frames per clip.
        frame_size: (height, width).

    Raises:
        PlanningError: the backbone gives something else than (B, C', T').
    """
    with torch.no_grad():
        features = backbone(empty_shape((1, 3, unit, *frame_size)))
    if not isinstance(features, Tensor) or features.ndim != 3:
        raise PlanningError(
            'memory is planned for frames (B, 3, T, H, W) that a backbone encodes to (B, C, T), '
            f'but {type(backbone).__name__} gave '
            f'{getattr(features, "shape", type(features).__name__)}.')
    trained = any(parameter.requires_grad for parameter in backbone.parameters())
    return FeatureShape(features.shape[1], unit, features.shape[2], trained)


def head_of_frames(measure: Callable[[int], StepBytes], proportional: bool
                   ) -> Callable[[int], StepBytes]:
    """Measure the first number of frames that is asked for, and scale it to others.

    Other window lengths are only asked for to find the longest window that
    fits, where neck and head are a small part.

    Args:
        measure: frames per window to bytes.
        proportional: scale with the frames; else the same for all.
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
    """Build a recognizer of mmaction whose weights have no numbers.

    Args:
        config: of the model.
        item_shape: (C, L, H, W) of a clip, or (C, H, W) of a frame.
        num_clips: items per sample.
        options: ``amp`` and ``copies`` of :class:`VideoModel`.

    Raises:
        PlanningError: the mode of the backbone is not predicted.
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
