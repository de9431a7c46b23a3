#!/usr/bin/env python
"""Plot loss, mAP, learning rate, memory, keep ratio and time of training runs."""
from __future__ import annotations

import argparse
from pathlib import Path

from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.named_files import check_output


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sources', nargs='+', type=Path, metavar='WORK_DIR|JSON',
                        help='work dirs, or files */vis_data/scalars.json; several runs share '
                             'the axes')
    parser.add_argument('--out', type=Path, default=Path('training.png'), metavar='FILE.png',
                        help='picture to write (default: %(default)s)')
    return parser


def main(argv: list[str] | None = None) -> None:
    """Read the logs and draw them."""
    arguments = build_parser().parse_args(argv)
    check_output('--out', arguments.out, makes_folder=False)
    announce(f'Plotting {", ".join(map(str, arguments.sources))}')
    # Imported after the options are read: --help answers at once.
    from sbp_tad.visualization.training_log import read_training_log
    from sbp_tad.visualization.training_plot import draw_training
    draw_training(arguments.out, [read_training_log(source) for source in arguments.sources])
    print(f'Wrote {arguments.out}')


if __name__ == '__main__':
    run_main(main)
