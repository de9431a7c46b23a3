"""From a config to the model whose memory is planned, and the plan as a table and as JSON."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TextIO

import torch
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, DefaultScope
from rich.console import Console
from rich.table import Table
from torch import nn

from sbp_tad.apis.dataset_check import first_loader, frame_size
from sbp_tad.apis.launch import config_faults
from sbp_tad.errors import ConfigError
from sbp_tad.planning.budget import format_bytes
from sbp_tad.planning.proposals import Planned, propose, tabulate
from sbp_tad.planning.video_model import (Setting, StepMemory, VideoModel, WeightCopies, configured,
                                          detector_as_shapes, recognizer_as_shapes)

DETECTORS = ('TemporalDetector', 'OnlineActionDetector')
AMP_TYPES = ('AmpOptimWrapper', 'CpuAmpOptimWrapper')
PROBE_SHAPE = (8, 8)


@dataclass(frozen=True)
class MemoryPlan:
    """What was planned.

    Args:
        budget: bytes.
        current: of the config.
        table: every form and keep ratio.
        proposals: settings that fit, by what they change.
    """

    budget: int
    current: Setting
    table: list[Planned]
    proposals: dict[str, Planned]


def plan_memory(cfg: Config, budget: int, amp: bool | None = None) -> MemoryPlan:
    """Predict the training memory of a config and propose what fits, without weights in memory.

    Args:
        cfg: with model, train_dataloader and optim_wrapper.
        budget: bytes.
        amp: in mixed precision; None: as the config says.

    Raises:
        ConfigError: no video model, or a pipeline without frames.
        PlanningError: not even the smallest setting fits.
    """
    video_model, current = video_model_of(cfg, amp)
    return MemoryPlan(budget, current, tabulate(video_model, current),
                      propose(video_model, current, budget))


def video_model_of(cfg: Config, amp: bool | None = None) -> tuple[VideoModel, Setting]:
    """The model of a config as shapes, and its setting.

    Raises:
        ConfigError: no video model, or a pipeline without frames.
    """
    if not cfg.model.get('backbone'):
        raise ConfigError('the model has no backbone (it trains on features), so there is no '
                          'memory of video to plan; give a config that trains from frames.')
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
    """Of a recognizer's pipeline: shape of an item, items of a sample, frames of a sample.

    Raises:
        ConfigError: it samples no frames.
    """
    steps = {_name(step): step for step in pipeline}
    sample = next((step for name, step in steps.items() if name.endswith('SampleFrames')), None)
    if sample is None:
        raise ConfigError('the frames of a clip follow from SampleFrames(clip_len=..., '
                          f'num_clips=...), but the pipeline is {list(steps)}.')
    length, clips = sample['clip_len'], sample.get('num_clips', 1)
    if steps['FormatShape']['input_format'] == 'NCTHW':
        return (3, length, *size), clips, length * clips
    return (3, *size), length * clips, length * clips


def weight_copies(cfg: Config) -> WeightCopies:
    """What the optimizer keeps for each number it trains, found by a step of its own, and EMA."""
    weight = nn.Parameter(torch.zeros(PROBE_SHAPE))
    weight.grad = torch.ones(PROBE_SHAPE)
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or dict(type='AdamW')
    with config_faults():
        built = OPTIMIZERS.build(dict(optimizer, params=[weight]))
    built.step()
    states = [value for value in built.state[weight].values() if isinstance(value, torch.Tensor)]
    numbers = sum(state.numel() for state in states if state.numel() > 1)
    averages = sum(_name(hook) == 'EMAHook' for hook in cfg.get('custom_hooks') or ())
    return WeightCopies(numbers / weight.numel(), averages)


def plan_to_json(plan: MemoryPlan) -> dict[str, Any]:
    """Bytes and settings, by their names."""
    def row(planned: Planned) -> dict[str, Any]:
        setting, memory = planned
        return dict(**asdict(setting), **asdict(memory), total=memory.total,
                    fits=memory.total <= plan.budget)

    return dict(budget=plan.budget, configured=asdict(plan.current),
                table=[row(planned) for planned in plan.table],
                proposals={name: row(planned) for name, planned in plan.proposals.items()})


def print_plan(plan: MemoryPlan, file: TextIO | None = None) -> None:
    """Print the table of forms and the proposals.

    Args:
        plan: what was planned.
        file: stdout if not given.
    """
    console = Console(file=file or sys.stdout)
    if not console.is_terminal:  # a file or a pipe has no width: keep every row on one line
        console.width = 10_000
    current = plan.current
    table = Table(title=f'Training memory: batch {current.batch_size}, {current.num_frames} frames',
                  title_justify='left')
    for name in ('form', 'keep ratio', 'weights', 'gradients', 'optimizer', 'saved', 'transients',
                 'total', f'fits {format_bytes(plan.budget)}'):
        table.add_column(name, justify='left' if name == 'form' else 'right')
    for setting, memory in plan.table:
        chosen = (setting.mode, setting.keep_ratio) == (current.mode, current.keep_ratio)
        table.add_row(setting.mode, f'{setting.keep_ratio:g}', *_cells(memory),
                      'yes' if memory.total <= plan.budget else 'no',
                      style='bold' if chosen else None)
    console.print(table)
    console.print(_proposals(plan))


def _cells(memory: StepMemory) -> list[str]:
    return [format_bytes(size) for size in (*asdict(memory).values(), memory.total)]


def _proposals(plan: MemoryPlan) -> Table:
    table = Table(title=f'What fits {format_bytes(plan.budget)}', title_justify='left')
    for name in ('proposal', 'form', 'keep ratio', 'clips at once', 'batch', 'frames', 'total'):
        table.add_column(name, justify='left' if name in ('proposal', 'form') else 'right')
    for name, (setting, memory) in plan.proposals.items():
        table.add_row(name, setting.mode, f'{setting.keep_ratio:g}',
                      str(setting.clips_at_once or 'default'), str(setting.batch_size),
                      str(setting.num_frames), format_bytes(memory.total))
    return table
