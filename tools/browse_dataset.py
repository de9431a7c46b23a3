#!/usr/bin/env python
"""Draw windows of a data set after all transforms, as the model gets them."""
from __future__ import annotations

import argparse
from pathlib import Path

from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.config.options import add_config_options
from sbp_tad.apis.named_files import check_output


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a detector')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train',
                        help='split of the data set (default: %(default)s)')
    parser.add_argument('--count', type=int, default=8, metavar='N',
                        help='number of windows, spread over the data set (default: %(default)s)')
    parser.add_argument('--frames', type=int, default=12, metavar='N',
                        help='number of frames shown per window (default: %(default)s)')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR',
                        help='folder of the pictures')
    parser.add_argument('--seed', type=int, default=0,
                        help='seed of random windows and crops (default: %(default)s)')
    add_config_options(parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Build the data set and draw some of its windows."""
    arguments = build_parser().parse_args(argv)
    check_output('--out', arguments.out, is_folder=True)
    announce(f'Loading PyTorch to draw windows of {arguments.config}')
    # Imported after the options are read: --help answers at once.
    from sbp_tad.apis import launch
    from sbp_tad.apis.dataset_browser import BrowseOptions, browse_dataset
    options = BrowseOptions(arguments.split, arguments.count, arguments.frames, arguments.out,
                            arguments.seed)
    browse_dataset(launch.load_config(arguments.config, arguments.cfg_options), options, print)


if __name__ == '__main__':
    run_main(main)
