#!/usr/bin/env python
"""Compare strategies of training a backbone within memory, on the same data and seeds."""
from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from rich.console import Console

from sbp_tad.apis import launch
from sbp_tad.apis.command_line import run_main
from sbp_tad.comparison.errors import RunFailedError, RunHeldError
from sbp_tad.comparison.measurement import update_measurement
from sbp_tad.comparison.report import in_order, print_table, write_report
from sbp_tad.comparison.runs import StrategyRun, plan_runs, read_json
from sbp_tad.comparison.specs import SPECS, ComparedStrategy, parse_strategies
from sbp_tad.comparison.summary import read_results, shorten, summarize
from sbp_tad.comparison.training import check_runs, finish_run
from sbp_tad.provenance import add_provenance

MEASUREMENT = 'measurement.json'


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; ``--help`` explains every option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='of a detector whose backbone is an SBPBackbone')
    parser.add_argument('--strategies', nargs='+', default=[], metavar='[NAME=]WORD[:NUMBER]',
                        help=f'of {", ".join(SPECS)}; behind the colon the keep ratio, the frozen '
                             'stages or the parts of a batch')
    parser.add_argument('--seeds', type=int, default=3, metavar='N',
                        help='runs of each strategy, with the seeds 0 to N - 1 '
                             '(default: %(default)s)')
    parser.add_argument('--work-dir', type=Path, metavar='DIR',
                        help='where everything goes (default: work_dirs/compare_CONFIG); several '
                             'processes may share it, and the work')
    parser.add_argument('--epochs', type=int, metavar='N', help="in place of the config's")
    parser.add_argument('--val-interval', type=int, metavar='N',
                        help='epochs from one validation to the next')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='key=value pairs that override the config for all strategies')
    parser.add_argument('--strategy-options', nargs='+', action='append', default=[],
                        metavar=('NAME', 'key=value'),
                        help='the same for one strategy; may be given several times')
    parser.add_argument('--target-map', type=float, metavar='MAP',
                        help='in (0, 1]: tell the samples seen until a validation reached it')
    parser.add_argument('--repeats', type=int, default=20, metavar='N',
                        help='timed steps of each strategy (default: %(default)s)')
    only = parser.add_mutually_exclusive_group()
    only.add_argument('--measure-only', action='store_true',
                      help='measure the steps, anew, and train nothing')
    only.add_argument('--report-only', action='store_true',
                      help='report what is in the work dir; without --strategies all of it')
    arguments = parser.parse_args(argv)
    if not arguments.strategies and not arguments.report_only:
        parser.error('--strategies are needed, but for --report-only')
    return arguments


def read_options(groups: list[list[str]]) -> dict[str, dict[str, Any]]:
    """``NAME key=value ...`` by name."""
    parser = argparse.ArgumentParser()
    parser.add_argument('pairs', nargs='*', action=DictAction)
    return {name: parser.parse_args(pairs).pairs or {} for name, *pairs in groups}


def make_config(arguments: argparse.Namespace) -> Config:
    """The config that all strategies share."""
    cfg = launch.load_config(arguments.config, arguments.cfg_options)
    if arguments.epochs is not None:
        launch.set_epochs(cfg, arguments.epochs)
    if arguments.val_interval is not None:
        cfg.train_cfg.val_interval = arguments.val_interval
    return cfg


def train_all(runs: list[StrategyRun], say: Callable[[str], None]) -> tuple[int, int]:
    """Train what is not finished; how many runs failed, and how many others work at."""
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


def measure(work_dir: Path, arguments: argparse.Namespace, cfg: Config,
            choices: list[ComparedStrategy], say: Callable[[str], None]) -> bool:
    """Measure the steps that are not measured; False if one cannot be."""
    say('Measuring a step of each strategy, in turns')
    try:
        return update_measurement(work_dir / MEASUREMENT, cfg, choices, arguments.repeats, say,
                                  again=arguments.measure_only)
    except RunHeldError as error:
        say(f'Skipped: {error}')
        return True


def report(work_dir: Path, arguments: argparse.Namespace, results: list[dict[str, Any]],
           names: list[str], console: Console) -> None:
    """Print the table, and write it and the picture."""
    measured = read_json(work_dir / MEASUREMENT) or []
    names = names or in_order({row['strategy'] for row in (*results, *measured)})
    rows = summarize(results, measured, names, arguments.target_map)
    print_table(rows, arguments.target_map, console)
    kept = {row.strategy for row in rows}
    paths = write_report(work_dir, rows, arguments.target_map, dict(
        config=Path(arguments.config).as_posix(),
        runs=[shorten(row) for row in results if row['strategy'] in kept],
        measurement=[row for row in measured if row['strategy'] in kept]))
    add_provenance(work_dir, 'compare_strategies', config=arguments.config,
                   runs={f"{row['strategy']}, seed {row['seed']}": row['digest']
                         for row in results if row['strategy'] in kept})
    for path in paths:
        console.print(f'  {path}', highlight=False, soft_wrap=True)


def main(argv: list[str] | None = None) -> int:
    """Train, measure, report; 1 if a strategy failed."""
    arguments = parse_arguments(argv)
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel('ERROR')  # of building; the runs have their own logs
    console = Console()

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    work_dir = arguments.work_dir or Path('work_dirs') / f'compare_{Path(arguments.config).stem}'
    choices = parse_strategies(arguments.strategies, read_options(arguments.strategy_options))
    names = [choice.name for choice in choices]
    if arguments.report_only:
        report(work_dir, arguments, read_results(work_dir), names, console)
        return 0
    cfg = make_config(arguments)
    runs = plan_runs(cfg, choices, arguments.seeds, work_dir)
    check_runs(runs)
    failed, held = (0, 0) if arguments.measure_only else train_all(runs, say)
    if held:
        say(f'Other processes work at {held} runs; the last of them measures and reports.')
    is_measured = held or measure(work_dir, arguments, cfg, choices, say)
    results = [row for run in runs if (row := run.result())]
    if results or not (failed or held):
        report(work_dir, arguments, results, names, console)
    return 1 if failed or not is_measured else 0


if __name__ == '__main__':
    run_main(main)
