"""Whole comparison: train every strategy with every seed, measure a step of each, report."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from rich.console import Console

from sbp_tad.apis import launch
from sbp_tad.comparison.errors import RunFailedError, RunHeldError
from sbp_tad.comparison.measurement import update_measurement
from sbp_tad.comparison.report import in_order, print_table, write_report
from sbp_tad.comparison.runs import StrategyRun, plan_runs, read_json
from sbp_tad.comparison.specs import ComparedStrategy
from sbp_tad.comparison.summary import read_results, shorten, summarize
from sbp_tad.comparison.training import check_runs, finish_run
from sbp_tad.provenance import add_provenance

MEASUREMENT = 'measurement.json'
Say = Callable[[str], None]


@dataclass(frozen=True)
class ComparisonSettings:
    """Settings of a comparison; see the options of ``tools/compare_strategies.py``.

    Args:
        config: path of the config that all strategies share.
        strategies: to compare; none reports all results of the work dir.
        work_dir: for all files.
        num_seeds: runs of each strategy.
        epochs, val_interval: in place of those of the config.
        cfg_options: changes of the config.
        target_map: mAP in (0, 1] of the column of samples to the target.
        repeats: timed steps of each strategy.
    """

    config: str
    strategies: Sequence[ComparedStrategy]
    work_dir: Path
    num_seeds: int = 3
    epochs: int | None = None
    val_interval: int | None = None
    cfg_options: dict[str, Any] = field(default_factory=dict)
    target_map: float | None = None
    repeats: int = 20

    @property
    def names(self) -> list[str]:
        """Names of the strategies."""
        return [strategy.name for strategy in self.strategies]


def compare(settings: ComparisonSettings, console: Console, measure_only: bool = False) -> int:
    """Train, measure and report.

    Args:
        settings: of the comparison.
        console: for the progress and the table.
        measure_only: measure the steps again, and train nothing.

    Returns:
        Exit status: 1 if a strategy failed.
    """
    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel('ERROR')  # of building; the runs have their own logs
    cfg = make_config(settings)
    runs = plan_runs(cfg, settings.strategies, settings.num_seeds, settings.work_dir)
    check_runs(runs)
    failed, held = (0, 0) if measure_only else train_all(runs, say)
    if held:
        say(f'Other processes are working on {held} runs; the last of them measures and reports.')
    is_measured = held or measure(settings, cfg, say, again=measure_only)
    results = [row for run in runs if (row := run.result())]
    if results or not (failed or held):
        report(settings, results, console)
    return 1 if failed or not is_measured else 0


def make_config(settings: ComparisonSettings) -> Config:
    """Load the config that all strategies share."""
    cfg = launch.load_config(settings.config, settings.cfg_options)
    if settings.epochs is not None:
        launch.set_epochs(cfg, settings.epochs)
    if settings.val_interval is not None:
        cfg.train_cfg.val_interval = settings.val_interval
    return cfg


def train_all(runs: list[StrategyRun], say: Say) -> tuple[int, int]:
    """Train the runs that are not finished.

    Returns:
        Number of runs that failed, and of runs that other processes are working on.
    """
    failed = 0
    for number, run in enumerate(runs, 1):
        label = f'[{number}/{len(runs)}] {run.title}: '
        is_finished = run.result() is not None
        try:
            if not is_finished:
                say(f'{label}training')
            result = finish_run(run)
            say(f'{label}mAP {100 * result["mAP"]:.2f} %' + ' (was finished)' * is_finished)
        except RunHeldError as error:
            say(f'Skipped: {error}')
        except RunFailedError as error:
            failed += 1
            say(f'Error: {error}')
    return failed, sum(run.result() is None for run in runs) - failed


def measure(settings: ComparisonSettings, cfg: Config, say: Say, again: bool) -> bool:
    """Measure the steps that are not measured; return False if one cannot be."""
    say('Measuring a step of each strategy, in turns')
    try:
        return update_measurement(settings.work_dir / MEASUREMENT, cfg, settings.strategies,
                                  settings.repeats, say, again=again)
    except RunHeldError as error:
        say(f'Skipped: {error}')
        return True


def report_results(settings: ComparisonSettings, console: Console) -> None:
    """Report the results of the work dir, without training or measuring.

    Raises:
        ComparisonError: the work dir has no result.
    """
    report(settings, read_results(settings.work_dir), console)


def report(settings: ComparisonSettings, results: list[dict[str, Any]], console: Console) -> None:
    """Print the table; write the table, the figures and the plot."""
    work_dir, target = settings.work_dir, settings.target_map
    measured = read_json(work_dir / MEASUREMENT) or []
    names = settings.names or in_order({row['strategy'] for row in (*results, *measured)})
    rows = summarize(results, measured, names, target)
    print_table(rows, target, console)
    kept = {row.strategy for row in rows}
    paths = write_report(work_dir, rows, target, dict(
        config=Path(settings.config).as_posix(),
        runs=[shorten(row) for row in results if row['strategy'] in kept],
        measurement=[row for row in measured if row['strategy'] in kept]))
    add_provenance(work_dir, 'compare_strategies', config=settings.config,
                   runs={f"{row['strategy']}, seed {row['seed']}": row['digest']
                         for row in results if row['strategy'] in kept})
    for path in paths:
        console.print(f'  {path}', highlight=False, soft_wrap=True)
