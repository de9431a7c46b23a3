#!/usr/bin/env python
"""Compare strategies of training a backbone within memory, on the same data and seeds."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from rich.console import Console

from sbp_tad.apis import launch
from sbp_tad.apis.command_line import run_main
from sbp_tad.apis.strategy_runs import RunHeldError, StrategyRun, plan_runs
from sbp_tad.apis.strategy_training import RunFailedError, check_runs, finish_run
from sbp_tad.apis.strategy_words import WORDS, parse_strategies


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; ``--help`` explains every option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='of a detector whose backbone is an SBPBackbone')
    parser.add_argument('--strategies', nargs='+', required=True, metavar='[NAME=]WORD[:NUMBER]',
                        help=f'of {", ".join(WORDS)}; behind the colon the keep ratio, the frozen '
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
    return parser.parse_args(argv)


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


def train_all(runs: list[StrategyRun], console: Console) -> int:
    """Train what is not finished and nobody else works at; how many failed."""
    failed = 0
    for number, run in enumerate(runs, 1):
        is_finished = run.result() is not None
        label = f'[{number}/{len(runs)}] {run.title}: '
        try:
            if not is_finished:
                console.print(label + 'training', markup=False, highlight=False)
            result = finish_run(run)
            console.print(f'{label}mAP {100 * result["mAP"]:.2f} %' + ' (was finished)' *
                          is_finished, markup=False, highlight=False)
        except RunHeldError as error:
            console.print(f'Skipped: {error}', markup=False, highlight=False, soft_wrap=True)
        except RunFailedError as error:
            failed += 1
            console.print(f'Error: {error}', style='red', markup=False, highlight=False,
                          soft_wrap=True)
    return failed


def main(argv: list[str] | None = None) -> int:
    """Train what is missing; 1 if a run failed."""
    arguments = parse_arguments(argv)
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel('ERROR')  # of building, the runs have their own logs
    work_dir = arguments.work_dir or Path('work_dirs') / f'compare_{Path(arguments.config).stem}'
    choices = parse_strategies(arguments.strategies, read_options(arguments.strategy_options))
    runs = plan_runs(make_config(arguments), choices, arguments.seeds, work_dir)
    check_runs(runs)
    return 1 if train_all(runs, Console()) else 0


if __name__ == '__main__':
    run_main(main)
