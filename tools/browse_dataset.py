#!/usr/bin/env python
"""Show what the model really sees: windows of a data set after all transforms, as pictures."""
from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from mmengine.config import DictAction
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope

from sbp_tad.apis import launch
from sbp_tad.apis.command_line import run_main
from sbp_tad.registry import DATASETS
from sbp_tad.structures import TADDataSample
from sbp_tad.visualization.window_picture import draw_window


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; ``--help`` explains every option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a detector')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument('--count', type=int, default=8, metavar='N',
                        help='windows, spread over the data set (default: %(default)s)')
    parser.add_argument('--frames', type=int, default=12, metavar='N',
                        help='frames shown of each (default: %(default)s)')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR')
    parser.add_argument('--seed', type=int, default=0, help='of the drawn windows and crops')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction,
                        help='key=value pairs that override the config')
    return parser.parse_args(argv)


def build_dataset(arguments: argparse.Namespace) -> BaseDataset:
    """The data set of a split, with its pipeline.

    Raises:
        ConfigError: the config has none, or counts that cannot be.
    """
    if arguments.count < 1 or arguments.frames < 1:
        raise launch.ConfigError('--count and --frames must be at least 1, got '
                                 f'{arguments.count} and {arguments.frames}.')
    cfg = launch.load_config(arguments.config, arguments.cfg_options)
    loader = cfg.get(f'{arguments.split}_dataloader')
    if loader is None:
        raise launch.ConfigError(f'{arguments.config} has no {arguments.split}_dataloader.')
    init_default_scope(cfg.get('default_scope', 'sbp_tad'))
    with launch.config_faults():
        return DATASETS.build(loader.dataset)


def browse(dataset: BaseDataset, arguments: argparse.Namespace) -> None:
    """Draw the windows; say of what cannot be read why.

    Raises:
        ConfigError: items that are no windows of videos.
    """
    np.random.seed(arguments.seed)
    chosen = np.unique(np.linspace(0, len(dataset) - 1, arguments.count).round().astype(int))
    for index in chosen.tolist():
        item = dataset[index]
        sample = item['data_samples']
        if not isinstance(sample, TADDataSample):
            raise launch.ConfigError(f'the {arguments.split} set of {arguments.config} has no '
                                     f'windows with segments but {type(sample).__name__}.')
        if item['inputs'] is None:
            print(f'{sample.video_id}: {sample.error}')
            continue
        path = arguments.out / f'{arguments.split}_{index:05d}.png'
        draw_window(path, item['inputs'].numpy(), sample, dataset.metainfo['classes'],
                    arguments.frames)
        print(f'{path}: {sample.video_id}, {len(sample.get("gt_instances", ()))} segments')


def main(argv: list[str] | None = None) -> None:
    """Build the data set and draw some of its windows."""
    arguments = parse_arguments(argv)
    browse(build_dataset(arguments), arguments)


if __name__ == '__main__':
    run_main(main)
