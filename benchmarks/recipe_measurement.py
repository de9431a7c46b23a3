"""What a training step of a recipe costs, beside full backpropagation of the same network."""
from __future__ import annotations

import copy
import platform
import warnings
from dataclasses import dataclass
from statistics import median

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.nn import functional as F

from sbp_tad.apis.dataset_check import first_loader, frame_size
from sbp_tad.apis.launch import config_faults
from sbp_tad.comparison.step_meter import alternate, time_step
from sbp_tad.errors import ConfigError
from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.models.detectors.temporal_detector import TemporalDetector
from sbp_tad.planning.detector_memory import expect_memory
from sbp_tad.planning.head_cost import one_action
from sbp_tad.planning.models_as_shapes import clip_frames
from sbp_tad.planning.saved_memory import meter_saved_memory
from sbp_tad.registry import MODELS

KEEP_RATIOS = (1.0, 0.5, 0.25, 0.125)
TOKEN_OPTIONS = ('mode', 'token', 'token_blocks')


@dataclass(frozen=True)
class RecipeSettings:
    """How a recipe is measured.

    Args:
        clips: of the window that is timed, or clips or images of a recognizer's batch.
        size: height and width of the frames; None: as the pipeline gives them.
        repeats: timed steps of each kind; 0 times none.
    """

    clips: int = 4
    size: int | None = None
    repeats: int = 3

    def __post_init__(self) -> None:
        if self.clips < 1 or self.repeats < 0 or (self.size is not None and self.size < 1):
            raise ConfigError('a recipe is measured with at least 1 clip, 0 repeats and 1 pixel, '
                              f'got clips={self.clips}, repeats={self.repeats}, size={self.size}.')


@dataclass(frozen=True)
class RecipeMeasurement:
    """A recipe's training step in float32, one window, clip or image.

    Args:
        keep_ratio: of the config; None for a backbone without SBP.
        saved_shape: (C, T, H, W), (C, H, W) or features (C, T), whose bytes are told.
        saved_bytes: keep ratio -> bytes saved for backward, neck and head included.
        full_saved_bytes: of a recognizer without SBP, whose blocks are then not the leaner ones
            that choose tokens; None for a detector, whose clips are the same at keep ratio 1.
        time_shape: of the timed batch, batch first; None: not timed.
        time_ratio: median over pairs of steps, forward and backward, the recipe's to the one of
            full backpropagation with nothing frozen.
        step_ratios: of each pair.
        device: name of it.
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
    # mmaction leaves it to torch which form of checkpointing is the default.
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
        ratios = step_ratios(model, full, time_shape, settings.repeats)
    backbone = model.backbone
    keep_ratio = backbone.config.keep_ratio if isinstance(backbone, SBPBackbone) else None
    return RecipeMeasurement(
        keep_ratio, shape, saved, full_saved, time_shape if ratios else None,
        median(ratios) if ratios else None, ratios, f'CPU ({platform.machine()})')


def build(model: Config) -> nn.Module:
    """A model in training mode, without the weights of its config.

    Raises:
        ConfigError: neither an offline detector nor a recognizer.
    """
    model = without_pretrained(model)
    with config_faults():
        built = MODELS.build(model).train()
    if not isinstance(built, TemporalDetector) and not hasattr(built, 'extract_feat'):
        raise ConfigError('a recipe is measured for a TemporalDetector or a recognizer of '
                          f'mmaction, the model is a {type(built).__name__}.')
    return built


def without_pretrained(model: Config) -> Config:
    """A copy of a model's config that downloads nothing."""
    model = copy.deepcopy(model)
    backbone = model.get('backbone') or {}
    for part in (backbone, backbone.get('backbone') or {}):
        if part.get('pretrained'):
            part.update(pretrained=None)
            if part.get('type') == 'SwinTransformer3D':
                part.update(pretrained2d=False)
    return model


def full_twin(model: Config) -> Config:
    """A copy of a model's config that is backpropagated in full: no SBP, nothing frozen."""
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
    """Of the window, clip or image that a recipe trains on, at another ``size`` if given."""
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
    """A window of so many clips, or a batch of so many of a recognizer's clips or images."""
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
    with meter_saved_memory(model) as meter:
        training_loss(model, torch.randn(shape))
    return meter.bytes


def training_loss(model: nn.Module, inputs: Tensor) -> Tensor:
    """A detector's losses for one action a window, a recognizer's cross entropy for class 0."""
    if isinstance(model, TemporalDetector):
        samples = [one_action(inputs.shape[2]) for _ in inputs]
        return model.parse_losses(model.loss(inputs, samples))[0]
    scores, _ = model.extract_feat(inputs[:, None], stage='head')  # one clip or image a sample
    return F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64))


def step_ratios(model: nn.Module, full: nn.Module, shape: tuple[int, ...], repeats: int
                ) -> list[float]:
    """CPU time of steps of ``model`` to that of ``full``, in turns."""
    if not repeats:
        return []
    inputs = torch.randn(shape)
    for network in (model, full):
        if getattr(network, 'num_steps', None):  # as many for a frame as the recipe has
            network.num_steps = shape[2]
    steps, full_steps = alternate(
        lambda: time_step(model, lambda: training_loss(model, inputs), inputs.device),
        lambda: time_step(full, lambda: training_loss(full, inputs), inputs.device), repeats)
    return [step.step / full_step.step for step, full_step in zip(steps, full_steps)]
