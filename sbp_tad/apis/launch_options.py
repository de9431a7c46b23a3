"""Options shared by the tools that run a model; imports neither torch nor mmengine."""
from __future__ import annotations

import argparse

from sbp_tad.apis.config.options import add_config_options
from sbp_tad.checkpoint_safety import TrustCheckpoints

# Choices of --format: the keys of inference.results.FORMATS and feature_extraction.FORMATS.
RESULT_FORMATS = ('activitynet', 'csv', 'json')
FEATURE_FORMATS = ('npy', 'npz', 'pt', 'h5')


def run_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser of the options that training and testing share, named as in mmaction."""
    parser = config_parser(description)
    parser.add_argument('--work-dir', help='folder of all written files')
    return parser


def config_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser of the options of every tool that runs a config's model."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file of this project or of mmaction, '
                        'the name of a recipe, or package::path, for example '
                        'mmaction::recognition/tsn/...')
    add_launch_options(parser)
    return parser


def add_launch_options(parser: argparse.ArgumentParser) -> None:
    """Add overrides of the config, trust in the checkpoint, and the launcher."""
    add_config_options(parser, 'key=value pairs that override the config, for example '
                               'model.backbone.keep_ratio=0.5')
    parser.add_argument('--trust-checkpoint', action=TrustCheckpoints)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='launcher that starts several processes')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help=argparse.SUPPRESS)
