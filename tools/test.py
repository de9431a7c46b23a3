#!/usr/bin/env python
"""Test a checkpoint on the test set of a config and write its detections."""
from __future__ import annotations

import argparse

from sbp_tad.apis import launch
from sbp_tad.apis.command_line import run_main


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; ``--help`` explains every option."""
    parser = launch.run_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--dump', help='file for the detections: .json or .json.gz in ActivityNet '
                                       'form (default: detections.json in the work dir), for the '
                                       'scores of online detection: .npz (frame_scores.npz there), '
                                       'or .pkl for the raw data samples')
    parser.add_argument('--raw-dump', metavar='FILE.npz',
                        help='also write the predictions of all windows before suppression, for '
                             'tools/tune_nms.py')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Read the config, load the checkpoint, test."""
    arguments = parse_arguments(argv)
    cfg = launch.read_config(arguments)
    launch.set_checkpoint(cfg, arguments.checkpoint)
    launch.set_dump(cfg, arguments.dump)
    launch.set_raw_dump(cfg, arguments.raw_dump)
    with launch.config_faults():
        launch.build_runner(cfg, arguments.launcher).test()


if __name__ == '__main__':
    run_main(main)
