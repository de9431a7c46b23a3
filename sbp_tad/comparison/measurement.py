"""What a step of each strategy saves and takes, all in one process on the same batch."""
from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from torch import Tensor, nn

from benchmarks.recipe_measurement import without_pretrained
from sbp_tad import compat
from sbp_tad.apis import launch
from sbp_tad.comparison.errors import ComparisonError
from sbp_tad.comparison.runs import config_digest, hold, read_json, write_json
from sbp_tad.comparison.specs import StrategyChoice, apply_strategy, parse_strategy
from sbp_tad.comparison.step_meter import StepSeconds, interleave, peak_bytes, time_step
from sbp_tad.datasets.item_draws import seeded_draws
from sbp_tad.planning.saved_memory import meter_saved_memory
from sbp_tad.registry import MODELS

FULL = 'full'


@dataclass(frozen=True)
class SavedBytes:
    """The most that is held for backward at one time of a training step.

    Args:
        backbone: by the backbone alone, when its features are backpropagated.
        model: by all of the model.
    """

    backbone: int
    model: int


@dataclass(frozen=True)
class StrategyMeasurement:
    """A training step of a whole batch, forward and backward; times are medians.

    Args:
        strategy: its name.
        digest: of what was measured.
        saved_backbone_bytes, saved_model_bytes: see :class:`SavedBytes`.
        step_peak_bytes: memory of a fresh process in its first step above that before; on CUDA
            the most that is allocated.
        step_seconds: CPU time on the CPU, wall time on CUDA.
        step_wall_seconds: wall time.
        step_time_ratio: to the step of full backpropagation of the same round.
        repeats: rounds.
    """

    strategy: str
    digest: str
    saved_backbone_bytes: int
    saved_model_bytes: int
    step_peak_bytes: int
    step_seconds: float
    step_wall_seconds: float
    step_time_ratio: float
    repeats: int


@dataclass
class TrainingStep:
    """Forward and backward of a whole batch, without an update.

    Args:
        model: in training mode.
        optim_wrapper: of the model; it says whether autocast is on.
        batches: preprocessed; several where gradients are accumulated.
    """

    model: nn.Module
    optim_wrapper: OptimWrapper
    batches: list[dict[str, Any]]

    def loss(self, batch: dict[str, Any]) -> Tensor:
        """The sum of the losses."""
        with self.optim_wrapper.optim_context(self.model):
            return self.model.parse_losses(self.model(**batch, mode='loss'))[0]

    def time(self) -> StepSeconds:
        """Seconds of one step."""
        device = next(self.model.parameters()).device
        parts = [time_step(self.model, lambda batch=batch: self.loss(batch), device)
                 for batch in self.batches]
        return StepSeconds(*(sum(getattr(part, name) for part in parts)
                             for name in ('forward', 'backward', 'wall')))

    def saved(self) -> SavedBytes:
        """Measure one batch.

        Forward and backward are measured, since some strategies encode again
        in the backward and hold memory only then. The backbone is called a
        second time with what the model handed to it.
        """
        calls: list[tuple[tuple, dict]] = []
        handle = self.model.backbone.register_forward_pre_hook(
            lambda module, inputs, options: calls.append((inputs, options)), with_kwargs=True)
        with meter_saved_memory(self.model) as whole:
            self.loss(self.batches[0]).backward()
        handle.remove()
        inputs, options = calls[-1]
        with meter_saved_memory(self.model.backbone) as alone:
            with self.optim_wrapper.optim_context(self.model):
                features = self.model.backbone(*inputs, **options)
            if features.requires_grad:
                features.sum().backward()
        self.model.zero_grad()
        return SavedBytes(alone.bytes, whole.bytes)


def build_step(cfg: Config, batch: dict[str, Any]) -> TrainingStep:
    """The step of a config on a batch, in parts where the config's own batches are smaller."""
    launch.use_cpu_amp_without_cuda(cfg)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmaction')), \
            launch.config_faults():
        model = MODELS.build(without_pretrained(cfg.model)).train()
        model.to('cuda' if torch.cuda.is_available() else 'cpu')
        optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    size = cfg.train_dataloader.batch_size
    parts = [{name: items[first:first + size] for name, items in batch.items()}
             for first in range(0, len(batch['inputs']), size)]
    return TrainingStep(model, optim_wrapper,
                        [model.data_preprocessor(part, training=True) for part in parts])


def first_batch(cfg: Config) -> dict[str, Any]:
    """A batch of the training set, always the same."""
    loader = dict(cfg.train_dataloader, num_workers=0, persistent_workers=False)
    cfg = Config(dict(train_dataloader=loader))
    compat.use_plain_collate(cfg)
    with DefaultScope.overwrite_default_scope('sbp_tad'), launch.config_faults():
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    with seeded_draws(0):
        return next(iter(loader))


def step_digest(cfg: Config) -> str:
    """The same for configs whose steps are."""
    return config_digest(Config({name: cfg[name] for name in (
        'model', 'train_dataloader', 'optim_wrapper')}))


def measure_strategies(cfg: Config, choices: Sequence[StrategyChoice], repeats: int,
                       report: Callable[[str], None] = lambda line: None
                       ) -> list[StrategyMeasurement]:
    """Measure a step of each strategy; those that fail are reported and left out.

    The steps take turns, so that what else the machine does meets all of them.

    Args:
        cfg: that all strategies share.
        choices: full backpropagation among them.
        repeats: timed steps of each.
        report: called with a sentence on each strategy that fails.

    Raises:
        ComparisonError: less than one repeat, or full backpropagation fails.
    """
    if repeats < 1:
        raise ComparisonError(f'steps are timed at least once, got {repeats} repeats.')
    batch = first_batch(cfg)
    configs = {choice.name: apply_strategy(cfg, choice) for choice in choices}
    steps, peaks, saved = {}, {}, {}
    for name, own in configs.items():
        try:
            steps[name] = build_step(own, batch)
            steps[name].time()  # warms up, and fills what a strategy remembers
            saved[name] = steps[name].saved()
            peaks[name] = _in_process(own, cfg)
        except Exception as error:  # whatever it is, the other strategies are measured
            steps.pop(name, None)
            report(f'{name} cannot be measured: {type(error).__name__}: {error}')
    if FULL not in steps:
        raise ComparisonError('the steps of all strategies are compared with those of full '
                              'backpropagation, which failed.')
    times = dict(zip(steps, interleave([step.time for step in steps.values()], repeats)))
    return [StrategyMeasurement(
        name, step_digest(configs[name]), saved[name].backbone, saved[name].model, peaks[name],
        median(step.step for step in times[name]), median(step.wall for step in times[name]),
        median(own.step / full.step for own, full in zip(times[name], times[FULL])), repeats)
        for name in steps]


def update_measurement(path: Path, cfg: Config, choices: Sequence[StrategyChoice], repeats: int,
                       report: Callable[[str], None], again: bool = False) -> bool:
    """Measure steps into a JSON list, unless all are there; rows of other strategies stay.

    Args:
        path: of the list.
        cfg, choices, repeats, report: see :func:`measure_strategies`; full backpropagation is
            added.
        again: measure even so.

    Returns:
        Whether every strategy has been measured.

    Raises:
        RunHeldError: another process measures.
    """
    if FULL not in [choice.name for choice in choices]:
        choices = [parse_strategy(FULL), *choices]
    wanted = {choice.name: step_digest(apply_strategy(cfg, choice)) for choice in choices}
    with hold(path, 'measurement'):
        rows = {row['strategy']: row for row in read_json(path) or []}
        if again or wanted.items() - {(name, row['digest']) for name, row in rows.items()}:
            measured = measure_strategies(cfg, choices, repeats, report)
            rows = {name: row for name, row in rows.items() if name not in wanted}
            rows |= {row.strategy: asdict(row) for row in measured}
            write_json(path, list(rows.values()))
    return set(wanted) <= set(rows)


def _in_process(cfg: Config, shared: Config) -> int:
    """The peak of a step in a new process, whose memory nothing else has touched."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn')) as pool:
        return pool.submit(_peak_alone, cfg, shared).result()


def _peak_alone(cfg: Config, shared: Config) -> int:
    torch.set_num_threads(1)
    if cfg.get('custom_imports'):
        import_modules_from_strings(**cfg.custom_imports)
    step = build_step(cfg, first_batch(shared))
    return peak_bytes(step.time, next(step.model.parameters()).device)
