#!/usr/bin/env python
"""Test a checkpoint on the test set of a config and write its detections."""
from __future__ import annotations

import argparse
import os

from mmengine.config import DictAction

from sbp_tad.apis import launch
from sbp_tad.apis.command_line import run_main


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file of this project or of mmaction')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='where the log and the detections go')
    parser.add_argument('--dump', help='file for the detections: .json or .json.gz in ActivityNet '
                                       'form (default: detections.json in the work dir), or .pkl '
                                       'for the raw data samples')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction,
                        help='key=value pairs that override the config')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(arguments.local_rank))
    return arguments


def main(argv: list[str] | None = None) -> None:
    """Read the config, load the checkpoint, test."""
    arguments = parse_arguments(argv)
    cfg = launch.load_config(arguments.config, arguments.cfg_options)
    launch.set_work_dir(cfg, arguments.config, arguments.work_dir)
    launch.set_checkpoint(cfg, arguments.checkpoint)
    launch.set_dump(cfg, arguments.dump)
    with launch.config_faults():
        launch.build_runner(cfg, arguments.launcher).test()


if __name__ == '__main__':
    run_main(main)
