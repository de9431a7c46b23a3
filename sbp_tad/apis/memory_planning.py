"""Plan of the training memory of a config, from its model, loader and optimizer."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, DefaultScope
from torch import nn

from sbp_tad.apis.config_check import first_loader, frame_size
from sbp_tad.apis.launch import config_faults
from sbp_tad.errors import ConfigError
from sbp_tad.planning.models_as_shapes import detector_as_shapes, recognizer_as_shapes
from sbp_tad.planning.proposals import propose, tabulate
from sbp_tad.planning.report import MemoryPlan
from sbp_tad.planning.video_model import Setting, VideoModel, WeightCopies, configured

DETECTORS = ('TemporalDetector', 'OnlineActionDetector')
AMP_TYPES = ('AmpOptimWrapper', 'CpuAmpOptimWrapper')
PROBE_SHAPE = (8, 8)


def plan_memory(cfg: Config, budget: int, amp: bool | None = None) -> MemoryPlan:
    """Predict the training memory of a config and propose settings that fit.

    The weights are never allocated.

    Args:
        cfg: config with model, train_dataloader and optim_wrapper.
        budget: memory of one device, in bytes.
        amp: plan for mixed precision; None takes the setting of the config.

    Raises:
        ConfigError: the model reads no video, or the pipeline decodes no frames.
        PlanningError: not even the smallest setting fits.
    """
    video_model, current = video_model_of(cfg, amp)
    return MemoryPlan(budget, current, tabulate(video_model, current),
                      propose(video_model, current, budget))


def video_model_of(cfg: Config, amp: bool | None = None) -> tuple[VideoModel, Setting]:
    """Build the model of a config as shapes, and read its setting.

    Raises:
        ConfigError: the model reads no video, or the pipeline decodes no frames.
    """
    if not cfg.model.get('backbone'):
        raise ConfigError('the model has no backbone: it trains on features and needs no memory '
                          'plan. Give a config that trains on frames.')
    batch_size, dataset = first_loader(cfg)
    pipeline = dataset.get('pipeline') or ()
    size = frame_size(pipeline)
    wrapper = cfg.get('optim_wrapper') or {}
    if amp is None:
        amp = _name(wrapper) in AMP_TYPES
    options = dict(amp=amp, copies=weight_copies(cfg))
    scope = cfg.get('default_scope', 'mmaction')
    with config_faults(), DefaultScope.overwrite_default_scope(scope):
        if _name(cfg.model) in DETECTORS:
            video_model = detector_as_shapes(cfg.model, size, **options)
            num_frames = dataset['num_frames']
        else:
            shape, num_clips, num_frames = item_shape(pipeline, size)
            video_model = recognizer_as_shapes(cfg.model, shape, num_clips, **options)
    return video_model, configured(video_model, batch_size, num_frames)


def _name(config: dict) -> str:
    return str(config.get('type')).rpartition('.')[2]


def item_shape(pipeline: Sequence[dict], size: tuple[int, int]
               ) -> tuple[tuple[int, ...], int, int]:
    """Read a recognizer's pipeline: shape of an item, items per sample, frames per sample.

    Raises:
        ConfigError: the pipeline samples no frames.
    """
    steps = {_name(step): step for step in pipeline}
    sample = next((step for name, step in steps.items() if name.endswith('SampleFrames')), None)
    if sample is None:
        raise ConfigError('SampleFrames(clip_len=..., num_clips=...) sets the frames of a clip, '
                          f'but the pipeline is {list(steps)}.')
    length, clips = sample['clip_len'], sample.get('num_clips', 1)
    if steps['FormatShape']['input_format'] == 'NCTHW':
        return (3, length, *size), clips, length * clips
    return (3, *size), length * clips, length * clips


def weight_copies(cfg: Config) -> WeightCopies:
    """Count optimizer states per weight, measured on one step, and weight averages (EMA)."""
    weight = nn.Parameter(torch.zeros(PROBE_SHAPE))
    weight.grad = torch.ones(PROBE_SHAPE)
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or dict(type='AdamW')
    with config_faults():
        built = OPTIMIZERS.build(dict(optimizer, params=[weight]))
    built.step()
    states = [value for value in built.state[weight].values() if isinstance(value, torch.Tensor)]
    numbers = sum(state.numel() for state in states if state.numel() > 1)
    averages = sum(_name(hook).startswith('EMA') for hook in cfg.get('custom_hooks') or ())
    return WeightCopies(numbers / weight.numel(), averages)
