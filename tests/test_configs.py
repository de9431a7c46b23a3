"""Every config of the tree is built, trained for an epoch of one step and tested, shrunk."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from families import rest_nightly
from lstr_folder import write_folder
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS

from sbp_tad import datasets
from sbp_tad.apis import launch
from sbp_tad.datasets import TemporalDetectionDataset
from sbp_tad.datasets.readers.feature_files import write_features, write_sidecar
from sbp_tad.registry import DATASETS, MODELS
from sbp_tad.segments.merging import PostProcessing

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob('configs/[!_]*/*.py')
                 if path.parent.name != 'recognition' and 'recognizer_' not in path.name)
DATASET_TYPES = [kind for kind in (getattr(datasets, name) for name in datasets.__all__)
                 if isinstance(kind, type) and issubclass(kind, TemporalDetectionDataset)
                 and kind.TRAIN_SUBSETS]  # the others are no set of their own
SECONDS = 4
# One of each family is trained by default; every config is built.
TRAINED = [f'configs/{name}.py' for name in (
    'actionformer/actionformer_tsn-r50_sbp-r4_128x4_thumos14',
    'daotad/daotad_i3d-r50_frozen-stage1_768x25fps_thumos14',
    'online/lstr_tsn-r50_sbp-r5_128s+32_thumos14',
    'toy/actionformer_r3d10-features_toy', 'toy/actionformer_r3d10_frozen_toy',
    'toy/actionformer_r3d10_sbp-r4_toy', 'toy/actionformer_vit4_token-r4_toy',
    'toy/daotad_r3d10_sbp-r4_toy', 'toy/online_gru_cnn4_sbp-r4_toy',
    'toy/segmentation_r3d10_sbp-r4_toy')]


@pytest.fixture(scope='module')
def data_root(tmp_path_factory, write_video):
    """Four small videos that every dataset of the tree takes for its own."""
    folder = tmp_path_factory.mktemp('data') / 'set'
    for name in ('videos', 'annotations'):
        (folder / name).mkdir(parents=True)
    (folder.parent / 'thumos14').symlink_to(folder)  # MultiTHUMOS borrows its videos
    for number in range(4):
        # as large as the study's, whose pipeline resizes nothing
        write_video(folder / f'v{number}.mp4', 10 * SECONDS, size=(48, 48))
    for kind in DATASET_TYPES:
        write_dataset(kind, folder)
    return folder


def write_lstr_folder(dataset: Config, folder: Path) -> str:
    """Features and labels of every frame, as this config declares them."""
    folder = folder / dataset.get('data_name', 'THUMOS')
    is_tvseries = 'data_name' in dataset
    if not folder.exists():
        write_folder(folder, streams=dict(rgb_kinetics_resnet50=2048,
                                          flow_kinetics_bninception=1024),
                     classes=[f'tv {i}' for i in range(30)] if is_tvseries else
                     datasets.THUMOS14_CLASSES, ambiguous=not is_tvseries,
                     data_name=folder.name,
                     videos=dict(train=dict(v0=40, v1=40), test=dict(v2=40, v3=40)))
    return str(folder)


def write_dataset(kind: type[TemporalDetectionDataset], folder: Path) -> None:
    """Two training and two test videos, named and annotated as the dataset declares."""
    dataset = kind(num_frames=1, stride_frames=1, lazy_init=True)
    classes = dataset.metainfo.get('classes') or [f'fine action {i}' for i in range(106)]
    subsets = kind.TRAIN_SUBSETS[:1] + kind.TEST_SUBSETS[:1]
    database = {f'v{number}': dict(
        subset=subsets[number // 2], duration=SECONDS, fps=10,
        annotations=[dict(segment=[1.0, 3.0], label=classes[number])]) for number in range(4)}
    for video in database:
        name = folder / 'videos' / dataset.filename_template.format(video_id=video)
        if not name.exists():
            name.symlink_to(folder / f'{video}.mp4')
    # a set that takes its classes from the annotation shall find them all
    database['unused'] = dict(subset='unused', annotations=[
        dict(segment=[0, 1], label=label) for label in classes])
    (folder / dataset.ann_file).write_text(json.dumps(dict(database=database)))


def write_features_of(dataset: Config, folder: Path) -> None:
    """Random features of the four videos, as this config declares them."""
    stride = dataset.source.get('stride_frames', 4)
    timing = dict(fps=10, stride_frames=stride, window_frames=dataset.source.get(
        'window_frames', stride))
    path = folder / dataset.data_prefix.features
    path.mkdir(exist_ok=True)
    for number in range(4):
        steps = np.random.rand(10 * SECONDS // stride, dataset.source.num_channels)
        write_features(path / f'v{number}.npy', steps)
        write_sidecar(path / f'v{number}.npy', timing)


def shrink_frames(pipeline: list[dict]) -> None:
    """Resize and crop frames to half the pixels a side, where they are larger than a toy's."""
    for step in pipeline:
        for key in {'scale', 'size', 'crop_size'} & set(step):
            if isinstance(step[key], int):
                step[key] = max(step[key] // 2, 48)
            else:
                step[key] = tuple(side if side == -1 else max(side // 2, 48)
                                  for side in step[key])


def shrink(cfg: Config, data_root: Path, work_dir: Path) -> Config:
    """Two clips a window, a narrow head, little memory, one step, no download; else as written."""
    cfg.load_from = None
    if cfg.model.get('neck'):
        cfg.model.neck.embed_channels = cfg.model.head.in_channels = 32
    cfg.default_hooks.checkpoint.update(interval=-1, save_optimizer=False)
    cfg.work_dir, cfg.experiment_name = str(work_dir), work_dir.name
    backbone = cfg.model.backbone or {}
    backbone.pop('init_cfg', None)  # weights of a training that has not been
    if backbone.get('clip_len', 1) > 32:  # a window that is one clip
        backbone.clip_len = 16
    num_frames = max(2 * backbone.get('clip_len', 1), 16)
    if cfg.model.get('num_steps'):
        cfg.model.num_steps = num_frames
    is_online = cfg.model.type == 'OnlineActionDetector'
    if is_online:
        cfg.model.head.update(channels=32, num_frames=num_frames, memory_frames=2)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=1, num_workers=0, persistent_workers=False)
        loader.dataset.update(data_root=str(data_root), num_frames=num_frames)
        if is_online:
            loader.dataset.memory_frames = 2
        if loader.dataset.type == 'OnlineFeaturesDataset':
            loader.dataset.data_root = write_lstr_folder(loader.dataset, data_root)
        if loader.dataset.get('stride_frames'):
            loader.dataset.stride_frames = 1
        if loader.dataset.get('overlap'):
            loader.dataset.overlap = 0.0
        if backbone.get('backbone', {}).get('type') != 'VisionTransformer':  # made for one size
            shrink_frames(loader.dataset.get('pipeline', ()))
        if 'features' in loader.dataset.get('data_prefix', ()):
            write_features_of(loader.dataset, data_root)
        loader.dataset.indices = 1
    if cfg.train_dataloader.dataset.type != 'OnlineFeaturesDataset':
        cfg.train_dataloader.dataset.windows_per_video = 1
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    return cfg


def test_the_promised_configs_are_there():
    names = {Path(path).stem for path in CONFIGS}
    assert 'actionformer_tsn-r50_sbp-r4_128x4_thumos14' in names
    assert {name.split('_')[0] for name in names} >= {'actionformer', 'daotad'}
    assert {name for name in names if name.startswith('daotad') and 'thumos14' in name} == {
        'daotad_i3d-r50_full_768x25fps_thumos14',
        'daotad_i3d-r50_frozen-stage1_768x25fps_thumos14',
        'daotad_swin-t_sbp-r0.4_480x15fps_thumos14'}
    assert {name for name in names if name.startswith('lstr')} == {
        'lstr_kinetics-features_512s+32_thumos14', 'lstr_kinetics-features_512s+32_tvseries',
        *(f'lstr_tsn-r50_{kind}_128s+32_thumos14' for kind in ('sbp-r5', 'full', 'frozen'))}
    assert any('videomae-s' in name for name in names) and any('swin-t' in name for name in names)


@pytest.mark.parametrize('path', CONFIGS)
def test_config_is_short_because_it_inherits(path):
    lines = (ROOT / path).read_text().splitlines()
    assert len(lines) < 60 and any(line.startswith('_base_ = ') for line in lines)


@pytest.mark.parametrize('path', CONFIGS)
def test_config_is_built(path, data_root, tmp_path, monkeypatch, uninitialized):
    monkeypatch.chdir(ROOT)
    cfg = shrink(launch.load_config(path), data_root, tmp_path)
    model = MODELS.build(cfg.model)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) > 0
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert len(DATASETS.build(loader.dataset)) > 0


def shrink_pictures(cfg: Config) -> None:
    """Divide sizes from 112 pixels on, so that pictures of 112 or 224 pixels have 56."""
    def smaller(size: int) -> int:
        return size // max(1, size // 56)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        for step in loader.dataset.get('pipeline', ()):
            for key in {'scale', 'size', 'crop_size'} & set(step):
                size = step[key]
                step[key] = smaller(size) if isinstance(size, int) else tuple(map(smaller, size))


@pytest.mark.parametrize('path', rest_nightly(CONFIGS, TRAINED))
def test_config_trains_and_validates(path, data_root, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    cfg = shrink(launch.load_config(path), data_root, tmp_path)
    shrink_pictures(cfg)
    runner = launch.build_runner(cfg)
    before = {name: p.detach().clone() for name, p in runner.model.named_parameters()
              if p.requires_grad}
    runner.train()
    assert runner.iter == 1
    changed = {name.split('.')[0] for name, p in runner.model.named_parameters()
               if name in before and not before[name].equal(p)}
    parts = {name for name in ('backbone', 'neck', 'head') if cfg.model.get(name)}
    assert changed == parts - ({'backbone'} if '_frozen_' in path else set())
    best = cfg.default_hooks.checkpoint.save_best
    scores, _ = runner.message_hub.get_scalar(f'val/{best}').data
    assert len(scores) == 1 and 0 <= scores[0] <= 1
    assert list(tmp_path.glob(f'best_{best.replace("/", "_")}*.pth'))


def test_daotad_warms_up_and_restarts(monkeypatch):
    """Schedulers multiply into each other: in the wrong order the warm-up ends far too high."""
    monkeypatch.chdir(ROOT)
    path = next(path for path in CONFIGS if 'daotad_i3d-r50_full' in path)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.01)
    by_epoch, by_iteration = (
        PARAM_SCHEDULERS.build({**settings, 'optimizer': optimizer})
        for settings in launch.load_config(path).param_scheduler)
    rates = []
    for _ in range(101):  # epochs of 12 iterations of 16 windows
        for _ in range(12):
            rates.append(optimizer.param_groups[0]['lr'])
            optimizer.step()
            by_iteration.step()
        by_epoch.step()
    assert rates[0] == pytest.approx(0.001) and max(rates[:1200]) < 0.0066
    cosine = 1e-4 + (1e-2 - 1e-4) * (1 + np.cos(np.pi * 50 / 100)) / 2
    assert rates[50 * 12] == pytest.approx(cosine, rel=0.01)
    assert rates[99 * 12] < 1.1e-4 and rates[1200] == pytest.approx(0.01)


def test_lstr_is_trained_by_the_papers_numbers(monkeypatch):
    """SBP paper, online detection: 4 fps, 128 s and 32 frames, r 0.2, batch 16, 25 epochs, Adam."""
    monkeypatch.chdir(ROOT)
    path, = [path for path in CONFIGS if 'lstr_tsn-r50_sbp-r5' in path]
    cfg = launch.load_config(path)
    head, dataset = cfg.model.head, cfg.train_dataloader.dataset
    for part in (head, dataset, cfg.test_dataloader.dataset):
        assert (part.num_frames, part.memory_frames, part.memory_stride) == (32, 128, 4)
    assert (dataset.target_fps, cfg.test_dataloader.dataset.protocol) == (4, 213)
    assert (cfg.model.backbone.keep_ratio, cfg.model.backbone.clip_len) == (0.2, 1)
    assert (cfg.train_dataloader.batch_size, cfg.train_cfg.max_epochs) == (16, 25)
    model = torch.nn.ModuleDict(dict(backbone=torch.nn.Linear(1, 1), head=torch.nn.Linear(1, 1)))
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert type(optimizer) is torch.optim.Adam
    rates = [group['lr'] for group in optimizer.param_groups]
    assert rates == pytest.approx([3e-6, 3e-6, 5e-5, 5e-5])
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=20)
    assert (dataset.history_from, head.history_from, head.windows) == (
        'spread', 'oldest', 'sliding')
    assert cfg.test_dataloader.dataset.whole_videos and 'whole_videos' not in dataset


def test_lstr_on_features_is_trained_by_the_published_numbers(monkeypatch):
    """Adam, 7e-5, 5e-5, batch 16; the rate of each iteration is that of the published schedule
    within 0.3 % of the largest, one iteration of an epoch of 40.
    """
    monkeypatch.chdir(ROOT)
    cfg = launch.load_config('configs/online/lstr_kinetics-features_512s+32_thumos14.py')
    head, dataset, epochs, epoch = cfg.model.head, cfg.train_dataloader.dataset, 25, 40
    for part in (head, dataset, cfg.test_dataloader.dataset):
        assert (part.num_frames, part.memory_frames, part.memory_stride) == (32, 512, 4)
    assert (cfg.train_dataloader.batch_size, cfg.train_cfg.max_epochs) == (16, epochs)
    assert 'history_from' not in dataset  # linspace, the default of this data set
    optimizer = build_optim_wrapper(torch.nn.Linear(1, 1), cfg.optim_wrapper).optimizer
    assert type(optimizer) is torch.optim.Adam and not cfg.optim_wrapper.get('clip_grad')
    assert optimizer.defaults['weight_decay'] == 5e-5
    schedulers = [PARAM_SCHEDULERS.build(dict(settings, optimizer=optimizer, epoch_length=epoch))
                  for settings in cfg.param_scheduler]
    for iteration in range(epochs * epoch):
        shown = iteration + 1  # its scheduler has made a step before the first update
        warmed = min(1.0, shown / (10 * epoch))
        published = 7e-5 * (0.3 * (1 - warmed) + warmed) * 0.5 * (
            1 + np.cos(np.pi * shown / (epochs * epoch)))
        assert optimizer.param_groups[0]['lr'] == pytest.approx(published, rel=0, abs=2e-7)
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


@pytest.mark.parametrize('path', [path for path in CONFIGS if '/daotad_' in path])
def test_daotad_merges_by_non_maximum_weighting(path, monkeypatch):
    """The suppression of a recipe stands in its model, where ``--cfg-options`` changes it."""
    monkeypatch.chdir(ROOT)
    test_cfg = launch.load_config(path, {'model.test_cfg.iou_threshold': 0.4}).model.test_cfg
    assert (test_cfg.method, test_cfg.min_score, test_cfg.max_detections) == ('nmw', 0.005, 1200)
    assert PostProcessing().with_options(test_cfg).iou_threshold == 0.4
