"""Cost of a training step of a recipe, beside full backpropagation of the same network."""
from __future__ import annotations

import copy
import platform
import warnings
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.nn import functional as F

from sbp_tad.apis.config_check import first_loader, frame_size
from sbp_tad.apis.launch import config_faults
from sbp_tad.comparison.models import without_pretrained
from sbp_tad.comparison.step_meter import (
    StepMeter,
    forward_bytes,
    step_ratios,
    take_turns_with_full,
)
from sbp_tad.errors import ConfigError
from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.models.detectors.temporal_detector import TemporalDetector
from sbp_tad.planning.detector_memory import expect_memory
from sbp_tad.planning.head_cost import one_action
from sbp_tad.planning.models_as_shapes import clip_frames
from sbp_tad.registry import MODELS

KEEP_RATIOS = (1.0, 0.5, 0.25, 0.125)
TOKEN_OPTIONS = ('mode', 'token', 'token_blocks')


@dataclass(frozen=True)
class RecipeSettings:
    """Settings of the measurement of a recipe.

    Args:
        clips: clips of the timed window, or clips or images of a recognizer's batch.
        size: height and width of the frames; None: as the pipeline gives them.
        repeats: timed steps of each kind; 0 measures no time.
    """

    clips: int = 4
    size: int | None = None
    repeats: int = 3

    def __post_init__(self) -> None:
        if self.clips < 1 or self.repeats < 0 or (self.size is not None and self.size < 1):
            raise ConfigError('--clips and --size must be at least 1, --repeats at least 0, got '
                              f'clips={self.clips}, size={self.size}, repeats={self.repeats}.')


@dataclass(frozen=True)
class RecipeMeasurement:
    """Figures of a recipe's training step in float32, for one window, clip or image.

    Args:
        keep_ratio: of the config; None for a backbone without SBP.
        saved_shape: input of ``saved_bytes``: (C, T, H, W), (C, H, W) or features (C, T).
        saved_bytes: keep ratio -> bytes saved for backward, neck and head included.
        full_saved_bytes: of a recognizer without SBP, because token-level SBP replaces blocks by
            ones that save less even at keep ratio 1; None for a detector, whose clips save the
            same at keep ratio 1.
        time_shape: of the timed batch, batch first; None: not timed.
        time_ratio: median of ``step_ratios``.
        step_ratios: for each pair of steps, the time of the recipe divided by that of full
            backpropagation with nothing frozen.
        device: its name.
    """

    keep_ratio: float | None
    saved_shape: tuple[int, ...]
    saved_bytes: dict[float, int]
    full_saved_bytes: int | None
    time_shape: tuple[int, ...] | None
    time_ratio: float | None
    step_ratios: list[float]
    device: str


def measure_recipe(cfg: Config, settings: RecipeSettings) -> RecipeMeasurement:
    """Measure a recipe on the CPU; neither data nor weights are needed.

    Raises:
        ConfigError: neither an offline detector nor a recognizer, or no frames to measure.
        PlanningError: the backbone encodes no videos.
    """
    # mmaction leaves the form of checkpointing to torch's default.
    warnings.filterwarnings('ignore', 'torch.utils.checkpoint: the use_reentrant')
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmaction')):
        model, full = build(cfg.model), build(full_twin(cfg.model))
        shape = input_shape(cfg, model, settings.size)
        time_shape = timed_shape(model, shape, settings.clips)
        if isinstance(model, TemporalDetector):
            saved, full_saved = _detector_bytes(model, shape), None
        else:
            saved = _recognizer_bytes(model, shape)
            full_saved = _saved_bytes(full, (1, *shape))
        ratios = time_ratios(model, full, time_shape, settings.repeats)
    backbone = model.backbone
    keep_ratio = backbone.config.keep_ratio if isinstance(backbone, SBPBackbone) else None
    return RecipeMeasurement(
        keep_ratio, shape, saved, full_saved, time_shape if ratios else None,
        median(ratios) if ratios else None, ratios, f'CPU ({platform.machine()})')


def build(model: Config) -> nn.Module:
    """Build a model in training mode, without the weights of its config.

    Raises:
        ConfigError: neither an offline detector nor a recognizer.
    """
    model = without_pretrained(model)
    with config_faults():
        built = MODELS.build(model).train()
    if not isinstance(built, TemporalDetector) and not hasattr(built, 'extract_feat'):
        raise ConfigError('only a TemporalDetector or a recognizer of mmaction can be measured, '
                          f'but model is a {type(built).__name__}.')
    return built


def full_twin(model: Config) -> Config:
    """Return a copy of a model's config without SBP and without frozen stages."""
    model = copy.deepcopy(model)
    backbone = model.get('backbone') or {}
    if 'keep_ratio' in backbone:
        for name in TOKEN_OPTIONS:
            backbone.pop(name, None)
        backbone.update(keep_ratio=1.0)
    if 'frozen_stages' in (backbone.get('backbone') or {}):
        backbone['backbone']['frozen_stages'] = -1
    return model


def input_shape(cfg: Config, model: nn.Module, size: int | None) -> tuple[int, ...]:
    """Return the shape of the window, clip or image of a recipe, at ``size`` if given."""
    _, dataset = first_loader(cfg)
    if isinstance(model.backbone, nn.Identity):
        return cfg.model.neck.in_channels, dataset['num_frames']
    pipeline = dataset.get('pipeline') or ()
    pixels = (size, size) if size else frame_size(pipeline)
    if isinstance(model, TemporalDetector):
        return 3, dataset['num_frames'], *pixels
    steps = {step['type'].rpartition('.')[2]: step for step in pipeline}
    is_clip = steps['FormatShape']['input_format'] == 'NCTHW'
    return (3, steps['SampleFrames']['clip_len'], *pixels) if is_clip else (3, *pixels)


def timed_shape(model: nn.Module, shape: tuple[int, ...], clips: int) -> tuple[int, ...]:
    """Return the shape of a window of ``clips`` clips, or of a recognizer's batch of that size."""
    if not isinstance(model, TemporalDetector):
        return clips, *shape
    if isinstance(model.backbone, nn.Identity):
        return 1, *shape
    return 1, 3, min(shape[1], clips * clip_frames(model)), *shape[2:]


def _detector_bytes(model: TemporalDetector, shape: tuple[int, ...]) -> dict[float, int]:
    if isinstance(model.backbone, nn.Identity):
        return {1.0: _saved_bytes(model, (1, *shape))}
    return expect_memory(model, shape[1], shape[2:], keep_ratios=KEEP_RATIOS).saved


def _recognizer_bytes(model: nn.Module, shape: tuple[int, ...]) -> dict[float, int]:
    if not isinstance(model.backbone, SBPBackbone):
        return {1.0: _saved_bytes(model, (1, *shape))}
    configured, saved = model.backbone.config.keep_ratio, {}
    for keep_ratio in sorted({*KEEP_RATIOS, configured}, reverse=True):
        model.backbone.set_keep_ratio(keep_ratio)
        saved[keep_ratio] = _saved_bytes(model, (1, *shape))
    model.backbone.set_keep_ratio(configured)
    return saved


def _saved_bytes(model: nn.Module, shape: tuple[int, ...]) -> int:
    return forward_bytes(model, lambda: training_loss(model, torch.randn(shape)))


def training_loss(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return a detector's loss for one action per window, or a recognizer's for class 0."""
    if isinstance(model, TemporalDetector):
        samples = [one_action(inputs.shape[2]) for _ in inputs]
        return model.parse_losses(model.loss(inputs, samples))[0]
    scores, _ = model.extract_feat(inputs[:, None], stage='head')  # one clip or image per sample
    return F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64))


def time_ratios(model: nn.Module, full: nn.Module, shape: tuple[int, ...], repeats: int
                ) -> list[float]:
    """Return the CPU time of steps of ``model`` divided by that of ``full``, taken in turns."""
    if not repeats:
        return []
    inputs = torch.randn(shape)
    for network in (model, full):
        if getattr(network, 'num_steps', None):  # one step per frame, as in the recipe
            network.num_steps = shape[2]
    meters = [StepMeter(network, [partial(training_loss, network, inputs)])
              for network in (model, full)]
    return step_ratios(*take_turns_with_full(*meters, repeats))
