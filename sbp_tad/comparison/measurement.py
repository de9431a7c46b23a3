"""Saved bytes and time of a training step of each strategy, on the same batch in one process."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
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

from sbp_tad import compat
from sbp_tad.apis import launch
from sbp_tad.comparison.errors import ComparisonError
from sbp_tad.comparison.models import build_model
from sbp_tad.comparison.runs import config_digest, hold, read_json, write_json
from sbp_tad.comparison.specs import FULL, ComparedStrategy, parse_strategy
from sbp_tad.comparison.step_meter import (
    StepMeter,
    in_fresh_process,
    median_seconds,
    step_ratios,
    take_turns,
)
from sbp_tad.comparison.strategy_configs import apply_strategy
from sbp_tad.datasets.item_draws import seeded_draws
from sbp_tad.planning.saved_memory import meter_saved_memory


@dataclass(frozen=True)
class SavedBytes:
    """Most bytes that are held for backward at one time of a training step.

    Args:
        backbone: by the backbone alone, when its features are backpropagated.
        model: by the whole model.
    """

    backbone: int
    model: int


@dataclass(frozen=True)
class StrategyMeasurement:
    """One training step of a whole batch, forward and backward; times are medians.

    Args:
        strategy: its name.
        digest: of the configuration that was measured, see :func:`step_digest`.
        saved_backbone_bytes, saved_model_bytes: see :class:`SavedBytes`.
        step_peak_bytes: memory that the first step adds in a fresh process; on CUDA the most
            memory allocated.
        step_seconds: CPU time on the CPU, wall time on CUDA.
        step_wall_seconds: wall time.
        step_time_ratio: to the step of full backpropagation of the same round.
        repeats: number of rounds.
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
        optim_wrapper: of the model; it decides on autocast.
        batches: preprocessed; several where gradients are accumulated.
    """

    model: nn.Module
    optim_wrapper: OptimWrapper
    batches: list[dict[str, Any]]

    @property
    def meter(self) -> StepMeter:
        """Meter of this step."""
        return StepMeter(self.model, [partial(self.loss, batch) for batch in self.batches])

    def loss(self, batch: dict[str, Any]) -> Tensor:
        """Return the sum of the losses of a batch."""
        with self.optim_wrapper.optim_context(self.model):
            return self.model.parse_losses(self.model(**batch, mode='loss'))[0]

    def saved(self) -> SavedBytes:
        """Measure the first batch.

        The backbone is called a second time, with the inputs that the model gave it.
        """
        calls: list[tuple[tuple, dict]] = []
        handle = self.model.backbone.register_forward_pre_hook(
            lambda module, inputs, options: calls.append((inputs, options)), with_kwargs=True)
        model_bytes = self.meter.saved_bytes()
        handle.remove()
        inputs, options = calls[-1]
        with meter_saved_memory(self.model.backbone) as backbone:
            with self.optim_wrapper.optim_context(self.model):
                features = self.model.backbone(*inputs, **options)
            if features.requires_grad:
                features.sum().backward()
        self.model.zero_grad()
        return SavedBytes(backbone.bytes, model_bytes)


def build_step(cfg: Config, batch: dict[str, Any]) -> TrainingStep:
    """Build the step of a config on a batch.

    The batch is processed in parts where the batches of the config are smaller.
    """
    launch.use_cpu_amp_without_cuda(cfg)
    model = build_model(cfg).train()
    model.to('cuda' if torch.cuda.is_available() else 'cpu')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmaction')), \
            launch.config_faults():
        optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    size = cfg.train_dataloader.batch_size
    parts = [{name: items[first:first + size] for name, items in batch.items()}
             for first in range(0, len(batch['inputs']), size)]
    return TrainingStep(model, optim_wrapper,
                        [model.data_preprocessor(part, training=True) for part in parts])


def first_batch(cfg: Config) -> dict[str, Any]:
    """Return the first batch of the training set, the same in every call."""
    loader = dict(cfg.train_dataloader, num_workers=0, persistent_workers=False)
    cfg = Config(dict(train_dataloader=loader))
    compat.use_plain_collate(cfg)
    with DefaultScope.overwrite_default_scope('sbp_tad'), launch.config_faults():
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    with seeded_draws(0):
        return next(iter(loader))


def step_digest(cfg: Config) -> str:
    """Return a digest of the parts of a config that its training step depends on."""
    return config_digest(Config({name: cfg[name] for name in (
        'model', 'train_dataloader', 'optim_wrapper')}))


def measure_strategies(cfg: Config, strategies: Sequence[ComparedStrategy], repeats: int,
                       report: Callable[[str], None] = lambda line: None
                       ) -> list[StrategyMeasurement]:
    """Measure a step of each strategy; report those that fail and leave them out.

    The steps take turns, so that other work on the machine slows all of them alike.

    Args:
        cfg: shared by all strategies.
        strategies: full backpropagation among them.
        repeats: timed steps of each.
        report: called with a sentence on each strategy that fails.

    Raises:
        ComparisonError: less than one repeat, or full backpropagation fails.
    """
    if repeats < 1:
        raise ComparisonError(f'--repeats must be at least 1 timed step, got {repeats}.')
    batch = first_batch(cfg)
    configs = {strategy.name: apply_strategy(cfg, strategy) for strategy in strategies}
    steps, peaks, saved = {}, {}, {}
    for name, own in configs.items():
        try:
            steps[name] = build_step(own, batch)
            steps[name].meter.seconds()  # warms up, and fills the state that a strategy keeps
            saved[name] = steps[name].saved()
            peaks[name] = peak_in_fresh_process(own, cfg)
        except Exception as error:  # whatever it is, the other strategies are measured
            steps.pop(name, None)
            report(f'{name} cannot be measured: {type(error).__name__}: {error}')
    if FULL not in steps:
        raise ComparisonError('the step of full backpropagation failed, and every strategy is '
                              'compared with it. The message above says why; correct the config.')
    times = dict(zip(steps, take_turns([step.meter.seconds for step in steps.values()], repeats)))
    return [StrategyMeasurement(
        name, step_digest(configs[name]), saved[name].backbone, saved[name].model, peaks[name],
        median(step.step for step in times[name]), median_seconds(times[name]).wall,
        median(step_ratios(times[name], times[FULL])), repeats) for name in steps]


def update_measurement(path: Path, cfg: Config, strategies: Sequence[ComparedStrategy],
                       repeats: int, report: Callable[[str], None], again: bool = False) -> bool:
    """Measure steps into a JSON list unless it holds all of them; keep rows of other strategies.

    Args:
        path: of the list.
        cfg, strategies, repeats, report: see :func:`measure_strategies`; full backpropagation
            is added.
        again: measure although the list holds them.

    Returns:
        Whether every strategy has been measured.

    Raises:
        RunHeldError: another process measures.
    """
    if FULL not in [strategy.name for strategy in strategies]:
        strategies = [parse_strategy(FULL), *strategies]
    wanted = {strategy.name: step_digest(apply_strategy(cfg, strategy)) for strategy in strategies}
    with hold(path, 'measurement'):
        rows = {row['strategy']: row for row in read_json(path) or []}
        if again or wanted.items() - {(name, row['digest']) for name, row in rows.items()}:
            measured = measure_strategies(cfg, strategies, repeats, report)
            rows = {name: row for name, row in rows.items() if name not in wanted}
            rows |= {row.strategy: asdict(row) for row in measured}
            write_json(path, list(rows.values()))
    return set(wanted) <= set(rows)


def peak_in_fresh_process(cfg: Config, shared: Config) -> int:
    """Return the peak bytes of a step of ``cfg`` on the first batch of ``shared``."""
    return in_fresh_process(_peak, cfg, shared)


def _peak(cfg: Config, shared: Config) -> int:
    torch.set_num_threads(1)
    if cfg.get('custom_imports'):
        import_modules_from_strings(**cfg.custom_imports)
    return build_step(cfg, first_batch(shared)).meter.peak_bytes()
