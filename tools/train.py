#!/usr/bin/env python
"""Train a detector of this project, or anything that mmaction trains, from a config."""
from __future__ import annotations

import argparse

from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.launch_options import run_parser
from sbp_tad.apis.named_files import check_config, resumed_checkpoint


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = run_parser(__doc__)
    parser.add_argument('--resume', nargs='?', const='auto',
                        help='resume from this checkpoint, or from the newest of this folder '
                             '(default: the newest of the work dir)')
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--no-validate', action='store_true', help='do not validate')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate by the real batch size')
    parser.add_argument('--seed', type=int, help='random seed')
    parser.add_argument('--diff-rank-seed', action='store_true',
                        help='use a different seed in each process')
    parser.add_argument('--deterministic', action='store_true',
                        help='only use deterministic operations, also on CUDA; an operation '
                             'without a deterministic form ends the run')
    return parser


def main(argv: list[str] | None = None) -> None:
    """Read the config, apply the options, train."""
    arguments = build_parser().parse_args(argv)
    arguments.config = check_config(arguments.config)
    if arguments.resume not in (None, 'auto'):
        arguments.resume = resumed_checkpoint(arguments.resume)
        announce(f'Resuming from {arguments.resume}')
    announce(f'Loading PyTorch to train {arguments.config}')
    # Imported after the options are read: --help answers at once.
    from sbp_tad.apis import launch
    from sbp_tad.apis.config.weight_files import check_weight_files
    from sbp_tad.engine.complete_weights import StartingWeightsHook
    cfg = launch.read_config(arguments)
    if arguments.no_validate:
        launch.skip_validation(cfg)
    launch.check_run(cfg, 'train')
    launch.set_resume(cfg, arguments.resume)
    if arguments.resume == 'auto' and not cfg.resume:
        announce(f'No last_checkpoint in {cfg.work_dir}: training starts from the beginning')
    check_weight_files(cfg)
    if arguments.amp:
        launch.use_amp(cfg)
    if arguments.auto_scale_lr:
        launch.scale_learning_rate(cfg)
    launch.set_randomness(cfg, arguments.seed, arguments.diff_rank_seed, arguments.deterministic)
    with launch.config_faults(cfg):
        runner = launch.build_runner(cfg, arguments.launcher)
        runner.register_hook(StartingWeightsHook())
        runner.train()


if __name__ == '__main__':
    run_main(main)
