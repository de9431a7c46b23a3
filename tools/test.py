#!/usr/bin/env python
"""Test a checkpoint on the test set of a config and write its detections."""
from __future__ import annotations

import argparse

from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.launch_options import run_parser
from sbp_tad.apis.named_files import check_checkpoint, check_config


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = run_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--dump', help='file of the detections: .json or .json.gz in ActivityNet '
                                       'format (default: detections.json in the work dir); of the '
                                       'scores of online detection: .npz (frame_scores.npz there); '
                                       'or .pkl for the raw data samples')
    parser.add_argument('--raw-dump', metavar='FILE.npz',
                        help='also write the predictions of all windows before suppression, for '
                             'tools/tune_nms.py')
    parser.add_argument('--allow-missing', nargs='+', default=[], metavar='NAME',
                        help='weights that the checkpoint may lack: a module (neck), a name, or '
                             "a pattern ('neck.norms.*'); they keep their initial values")
    parser.add_argument('--allow-unused', nargs='+', default=[], metavar='NAME',
                        help='weights of the checkpoint that the model may lack, named alike; '
                             'they are left out')
    return parser


def main(argv: list[str] | None = None) -> None:
    """Read the config, load the checkpoint, test."""
    arguments = build_parser().parse_args(argv)
    arguments.config = check_config(arguments.config)
    check_checkpoint(arguments.checkpoint)
    announce(f'Loading PyTorch to test {arguments.config}')
    # Imported after the options are read: --help answers at once.
    from sbp_tad.apis import launch
    from sbp_tad.apis.dumps import set_dump, set_raw_dump
    from sbp_tad.engine.complete_weights import CompleteWeightsHook
    cfg = launch.read_config(arguments)
    launch.check_run(cfg, 'test')
    launch.set_checkpoint(cfg, arguments.checkpoint)
    set_dump(cfg, arguments.dump)
    set_raw_dump(cfg, arguments.raw_dump)
    with launch.config_faults(cfg):
        runner = launch.build_runner(cfg, arguments.launcher)
        runner.register_hook(CompleteWeightsHook(
            arguments.checkpoint, arguments.allow_missing, arguments.allow_unused))
        runner.test()


if __name__ == '__main__':
    run_main(main)
