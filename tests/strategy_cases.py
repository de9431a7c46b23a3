"""Small comparison of strategies, which a test can train."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from sbp_tad.apis.launch import load_config
from sbp_tad.datasets.toy_videos import ToySettings, build_toy_dataset

ROOT = Path(__file__).parents[1]
R3D = str(ROOT / 'configs/toy/actionformer_r3d10_sbp-r4_toy.py')
VIT = str(ROOT / 'configs/toy/actionformer_vit4_token-r4_toy.py')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# Single frames, which Sideways needs.
FRAMES = {'model.backbone.clip_len': 1, 'model.backbone.backbone': dict(
    _delete_=True, type='FrameCNN', channels=64)}
VIDEOS = ToySettings(train_videos=4, test_videos=1, size=64, min_seconds=8, max_seconds=10)


def make_videos(folder: Path) -> Path:
    """Make four training videos and one test video."""
    build_toy_dataset(folder, VIDEOS)
    return folder


def small_options(videos: str | Path) -> dict[str, Any]:
    """Overrides of a toy config: windows of 16 frames of 16 pixels, two batches of 2 per epoch."""
    options = {'train_dataloader.batch_size': 2,
               'train_dataloader.dataset.windows_per_video': 1, 'train_cfg.max_epochs': 2,
               'train_cfg.val_interval': 1}
    for loader in LOADERS:
        options |= {f'{loader}.num_workers': 0, f'{loader}.persistent_workers': False,
                    f'{loader}.dataset.data_root': str(videos),
                    f'{loader}.dataset.num_frames': 16, f'{loader}.dataset.stride_frames': 4,
                    f'{loader}.dataset.pipeline.2.scale': (16, 16)}
    return options


def small_config(videos: str | Path, path: str = R3D) -> Config:
    """Load the toy config with :func:`small_options`."""
    return load_config(path, small_options(videos))
