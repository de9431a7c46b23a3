"""Every config of the tree is built, trained for an epoch of one step and tested, shrunk."""
import json
from pathlib import Path

import pytest
from mmengine.config import Config

from sbp_tad.apis import launch
from sbp_tad.datasets.thumos14 import THUMOS14_CLASSES
from sbp_tad.datasets.toy_videos import CLASS_NAMES

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob('configs/[!_]*/*.py'))
SECONDS = 4


@pytest.fixture(scope='module')
def data_root(tmp_path_factory, write_video):
    """Four small videos that every dataset of the tree takes for its own."""
    folder = tmp_path_factory.mktemp('data')
    for name in ('videos', 'annotations'):
        (folder / name).mkdir()
    videos, classes = {}, (THUMOS14_CLASSES, CLASS_NAMES)
    for number in range(4):
        write_video(folder / 'videos' / f'v{number}.mp4', 10 * SECONDS)
        videos[f'v{number}'] = number
    for path, names, subsets in (('annotations/thumos14.json', classes[0], ('validation', 'test')),
                                 ('annotations.json', classes[1], ('training', 'test'))):
        database = {video: dict(
            subset=subsets[number // 2], duration=SECONDS, fps=10,
            annotations=[dict(segment=[1.0, 3.0], label=names[number])])
            for video, number in videos.items()}
        (folder / path).write_text(json.dumps(dict(database=database)))
    return folder


def shrink(cfg: Config, data_root: Path, work_dir: Path) -> Config:
    """Two clips a window, a narrow head, one step, no download; the rest as written."""
    cfg.load_from = None
    if cfg.model.get('neck'):
        cfg.model.neck.embed_channels = cfg.model.head.in_channels = 32
    cfg.default_hooks.checkpoint.update(interval=-1, save_optimizer=False)
    cfg.work_dir, cfg.experiment_name = str(work_dir), work_dir.name
    num_frames = max(2 * cfg.model.backbone.clip_len, 16)
    if cfg.model.get('num_steps'):
        cfg.model.num_steps = num_frames
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=1, num_workers=0, persistent_workers=False)
        loader.dataset.update(data_root=str(data_root), num_frames=num_frames)
        if loader.dataset.get('stride_frames'):
            loader.dataset.stride_frames = 1
    cfg.val_dataloader.dataset.overlap = cfg.test_dataloader.dataset.overlap = 0.0
    cfg.train_dataloader.dataset.indices = 1
    cfg.train_dataloader.dataset.windows_per_video = 1
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    return cfg


def test_the_promised_configs_are_there():
    names = {Path(path).stem for path in CONFIGS}
    assert 'actionformer_tsn-r50_sbp-r4_128x4_thumos14' in names
    assert {name.split('_')[0] for name in names} >= {'actionformer'}
    assert any('videomae-s' in name for name in names) and any('swin-t' in name for name in names)


@pytest.mark.parametrize('path', CONFIGS)
def test_config_is_short_because_it_inherits(path):
    lines = (ROOT / path).read_text().splitlines()
    assert len(lines) < 60 and any(line.startswith('_base_ = ') for line in lines)


@pytest.mark.parametrize('path', CONFIGS)
def test_config_trains_and_validates(path, data_root, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    cfg = shrink(launch.load_config(path), data_root, tmp_path)
    runner = launch.build_runner(cfg)
    before = {name: p.detach().clone() for name, p in runner.model.named_parameters()
              if p.requires_grad}
    runner.train()
    assert runner.iter == 1
    changed = {name.split('.')[0] for name, p in runner.model.named_parameters()
               if name in before and not before[name].equal(p)}
    learned = {'backbone', 'neck', 'head'} - ({'backbone'} if 'frozen' in path else set())
    assert changed == learned - (set() if cfg.model.get('neck') else {'neck'})
    scores, _ = runner.message_hub.get_scalar('val/tad/average_mAP').data
    assert len(scores) == 1 and 0 <= scores[0] <= 1
    assert list(tmp_path.glob('best_tad_average_mAP*.pth'))
