#!/usr/bin/env python
"""Predict the training memory of a config, and propose settings for a budget.

Needs no GPU, no data and no weights, only shapes. Exit status: 0 the config fits as it is,
1 other settings fit, 2 no setting fits or the plan failed.
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path

from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.config.options import add_config_options
from sbp_tad.apis.named_files import check_config, check_output
from sbp_tad.errors import ConfigError
from sbp_tad.planning.budget import parse_budget


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of this project or of mmaction, or the '
                        'name of a recipe')
    parser.add_argument('--budget', required=True, metavar='SIZE',
                        help='memory of one device, for example 8GiB')
    parser.add_argument('--amp', action=argparse.BooleanOptionalAction,
                        help='plan for mixed precision (default: as in the config)')
    add_config_options(parser)
    parser.add_argument('--json', type=Path, metavar='OUT', help='also write the plan here')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print the plan, write it where asked; 0 if the config fits, else 1."""
    arguments = build_parser().parse_args(argv)
    check_output('--json', arguments.json, makes_folder=False)
    budget = parse_budget(arguments.budget)
    arguments.config = check_config(arguments.config)
    announce(f'Loading PyTorch to plan the memory of {arguments.config}')
    # Imported after the options are read: --help answers at once.
    from sbp_tad.apis.launch import load_config
    from sbp_tad.apis.memory_planning import plan_memory
    from sbp_tad.planning.report import plan_to_json, print_plan
    cfg = load_config(arguments.config, arguments.cfg_options)
    plan = plan_memory(cfg, budget, arguments.amp)
    print_plan(plan)
    if arguments.json:
        try:
            arguments.json.write_text(json.dumps(plan_to_json(plan), indent=2) + '\n',
                                      encoding='utf-8')
        except OSError as error:
            raise ConfigError(f'cannot write the plan to {arguments.json}: '
                              f'{error.strerror}.') from error
    return 0 if 'as configured' in plan.proposals else 1


if __name__ == '__main__':
    run_main(main)
