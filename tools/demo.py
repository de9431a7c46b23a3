#!/usr/bin/env python
"""Make the toy set, train a detector with SBP on it, test, draw and summarize.

A config of online detection streams the test video frame by frame.
"""
from __future__ import annotations

import argparse
from pathlib import Path

from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.config.options import add_config_options
from sbp_tad.apis.named_files import check_output

CONFIG = Path(__file__).parents[1] / 'configs/toy/actionformer_r3d10_sbp-r4_toy.py'


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='?', default=str(CONFIG),
                        help=f'config of the toy set (default: {CONFIG.stem})')
    parser.add_argument('--work-dir', default='work_dirs/demo', metavar='DIR',
                        help='folder of all results (default: %(default)s)')
    parser.add_argument('--data', default='data/toy', metavar='DIR',
                        help='folder of the toy set; it is made if it does not exist '
                             '(default: %(default)s)')
    for subset in ('train', 'test'):
        parser.add_argument(f'--{subset}-videos', type=int, metavar='N',
                            help=f'videos of the {subset} subset (default: those of the toy set)')
    parser.add_argument('--epochs', type=int, metavar='N',
                        help='number of epochs (default: that of the config)')
    add_config_options(parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Run every step of the pipeline and print the paths of the results."""
    arguments = build_parser().parse_args(argv)
    for option, folder in (('--work-dir', arguments.work_dir), ('--data', arguments.data)):
        check_output(option, folder, is_folder=True)
    announce('Loading PyTorch and mmaction2 for the demo')
    # Imported after the options are read: --help answers at once.
    from rich.console import Console

    from sbp_tad.apis.demo import DemoSettings, run_demo
    videos = dict(train_videos=arguments.train_videos, test_videos=arguments.test_videos)
    run_demo(DemoSettings(arguments.config, arguments.work_dir, arguments.data,
                          {name: number for name, number in videos.items() if number is not None},
                          arguments.epochs, arguments.cfg_options),
             Console(markup=False, emoji=False))


if __name__ == '__main__':
    run_main(main)
