"""Pictures of the windows of a data set after all transforms, as the model gets them."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope

from sbp_tad.apis import launch
from sbp_tad.errors import ConfigError
from sbp_tad.registry import DATASETS
from sbp_tad.structures import TADDataSample
from sbp_tad.visualization.window_picture import draw_window
from sbp_tad.wording import count_of


@dataclass(frozen=True)
class BrowseOptions:
    """Windows to draw.

    Args:
        split: ``train``, ``val`` or ``test``.
        count: number of windows, spread evenly over the data set.
        frames: number of frames shown per window.
        out: folder of the pictures.
        seed: seed of random windows and crops.

    Raises:
        ConfigError: ``count`` or ``frames`` is below 1.
    """

    split: str
    count: int
    frames: int
    out: Path
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1 or self.frames < 1:
            raise ConfigError('--count and --frames must be at least 1, got '
                              f'{self.count} and {self.frames}.')


def browse_dataset(cfg: Config, options: BrowseOptions, say: Callable[[str], None]) -> None:
    """Draw windows of a data set; say the reason for each unreadable window.

    Raises:
        ConfigError: the config has no such data set, or its items are not windows of videos.
    """
    dataset = build_dataset(cfg, options.split)
    np.random.seed(options.seed)
    chosen = np.unique(np.linspace(0, len(dataset) - 1, options.count).round().astype(int))
    for index in chosen.tolist():
        item = dataset[index]
        sample = item['data_samples']
        if not isinstance(sample, TADDataSample):
            raise ConfigError(f'{options.split}_dataloader of {cfg.filename} has items of type '
                              f'{type(sample).__name__}; choose the config of a detector, whose '
                              'items are windows with segments.')
        if item['inputs'] is None:
            say(f'{sample.video_id}: {sample.error}')
            continue
        path = options.out / f'{options.split}_{index:05d}.png'
        draw_window(path, item['inputs'].numpy(), sample, dataset.metainfo['classes'],
                    options.frames)
        say(f'{path}: {sample.video_id}, '
            f'{count_of(len(sample.get("gt_instances", ())), "segment")}')


def build_dataset(cfg: Config, split: str) -> BaseDataset:
    """Build the data set of a split, with its pipeline.

    Raises:
        ConfigError: the config has no such data set, or it cannot be built.
    """
    loader = cfg.get(f'{split}_dataloader')
    if loader is None:
        raise ConfigError(f'{cfg.filename} has no {split}_dataloader; choose another --split.')
    init_default_scope(cfg.get('default_scope', 'sbp_tad'))
    with launch.config_faults():
        return DATASETS.build(loader.dataset)
