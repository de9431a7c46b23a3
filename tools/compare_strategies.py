#!/usr/bin/env python
"""Compare strategies that save training memory of a backbone, on the same data and seeds."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.config.options import add_config_options, parse_pairs
from sbp_tad.apis.named_files import check_output
from sbp_tad.comparison.specs import SPECS, parse_strategies


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a detector whose backbone is an SBPBackbone')
    parser.add_argument('--strategies', nargs='+', default=[], metavar='[NAME=]STRATEGY[:NUMBER]',
                        help=f'strategies to compare, of {", ".join(SPECS)}; the number is the '
                             'keep ratio, the number of frozen stages or of parts of a batch')
    parser.add_argument('--seeds', type=int, default=3, metavar='N',
                        help='runs of each strategy, with the seeds 0 to N - 1 '
                             '(default: %(default)s)')
    parser.add_argument('--work-dir', type=Path, metavar='DIR',
                        help='folder of all files (default: work_dirs/compare_CONFIG); several '
                             'processes can share it and split the runs')
    parser.add_argument('--epochs', type=int, metavar='N',
                        help='epochs of each run (default: those of the config)')
    parser.add_argument('--val-interval', type=int, metavar='N',
                        help='epochs between validations (default: that of the config)')
    add_config_options(parser, 'key=value pairs that override the config for all strategies')
    parser.add_argument('--strategy-options', nargs='+', action='append', default=[],
                        metavar=('NAME', 'KEY=VALUE'),
                        help='pairs that override the config for one strategy; can be repeated')
    parser.add_argument('--target-map', type=float, metavar='MAP',
                        help='mAP in (0, 1]: report the samples seen until validation reached it')
    parser.add_argument('--repeats', type=int, default=20, metavar='N',
                        help='timed steps of each strategy (default: %(default)s)')
    only = parser.add_mutually_exclusive_group()
    only.add_argument('--measure-only', action='store_true',
                      help='measure the steps again, without training')
    only.add_argument('--report-only', action='store_true',
                      help='only report the results in the work dir (default: of all '
                           'strategies)')
    return parser


def read_options(groups: list[list[str]]) -> dict[str, dict[str, Any]]:
    """Return the pairs of each ``NAME KEY=VALUE ...`` by name."""
    return {name: parse_pairs(pairs) for name, *pairs in groups}


def main(argv: list[str] | None = None) -> int:
    """Train, measure, report; 1 if a strategy failed."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    check_output('--work-dir', arguments.work_dir, is_folder=True)
    if not arguments.strategies and not arguments.report_only:
        parser.error('--strategies is required unless --report-only is given')
    strategies = parse_strategies(arguments.strategies, read_options(arguments.strategy_options))
    announce(f'Loading PyTorch to compare strategies with {arguments.config}')
    # Imported after the options are read: --help answers at once.
    from rich.console import Console

    from sbp_tad.comparison.program import ComparisonSettings, compare, report_results
    settings = ComparisonSettings(
        arguments.config, strategies,
        arguments.work_dir or Path('work_dirs') / f'compare_{Path(arguments.config).stem}',
        arguments.seeds, arguments.epochs, arguments.val_interval, arguments.cfg_options,
        arguments.target_map, arguments.repeats)
    if arguments.report_only:
        report_results(settings, Console(markup=False, emoji=False))
        return 0
    return compare(settings, Console(markup=False, emoji=False), arguments.measure_only)


if __name__ == '__main__':
    run_main(main)
