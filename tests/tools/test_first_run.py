"""Mistakes of a first training: each ends before it with one sentence and status 2."""
from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from sbp_tad.datasets.toy_videos import ToySettings, build_toy_dataset

ROOT = Path(__file__).parents[2]
VIDEO_CONFIG = ROOT / 'configs/toy/actionformer_r3d10_sbp-r4_toy.py'
ONLINE_CONFIG = ROOT / 'configs/toy/online_gru_cnn4_sbp-r4_toy.py'
STEPS, CHANNELS = 48, 8
NUMBERS = itertools.count()

# A detector on features, which trains in a second.
FEATURE_CONFIG = f'''
_base_ = ['{ROOT}/configs/toy/actionformer_r3d10-features_toy.py']
data_root = 'FOLDER'
pipeline = [dict(type='LoadFeatures'), dict(type='PackTADInputs')]
data = dict(type='TemporalDetectionDataset', data_root=data_root, ann_file='annotations.json',
            metainfo=dict(classes=['pour', 'stir']), num_frames=32, pipeline=pipeline,
            data_prefix=dict(features='features'), source=dict(stride_frames=4))
loader = dict(_delete_=True, batch_size=2, num_workers=0, persistent_workers=True,
              prefetch_factor=2)
train_dataloader = dict(sampler=dict(type='DefaultSampler', shuffle=True), drop_last=True,
                        dataset=dict(subsets=['training'], **data), **loader)
val_dataloader = dict(sampler=dict(type='DefaultSampler', shuffle=False),
                      dataset=dict(subsets=['test'], test_mode=True, **data), **loader)
test_dataloader = val_dataloader
model = dict(neck=dict(in_channels={CHANNELS}), head=dict(num_classes=2))
train_cfg = dict(max_epochs=1, val_interval=1)
param_scheduler = []
'''


def write_features(folder, transposed=False):
    """Write annotation and features (T, C), or (C, T), of three training and one test video."""
    (folder / 'features').mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    database = {}
    for number, subset in enumerate(('training', 'training', 'training', 'test')):
        steps = rng.standard_normal((STEPS, CHANNELS)).astype(np.float32)
        np.save(folder / 'features' / f'v{number}.npy', steps.T if transposed else steps)
        actions = [dict(segment=[1, 5], label='pour'), dict(segment=[8, 12], label='stir')]
        database[f'v{number}'] = dict(subset=subset, duration=STEPS * 4 / 10, fps=10,
                                      annotations=actions)
    (folder / 'annotations.json').write_text(json.dumps(dict(database=database)))
    (folder / 'config.py').write_text(FEATURE_CONFIG.replace('FOLDER', str(folder)))
    return folder / 'config.py'


@pytest.fixture(scope='module')
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp('features'))


@pytest.fixture(scope='module')
def videos(made_once):
    settings = ToySettings(train_videos=2, test_videos=1, size=32, min_seconds=8, max_seconds=9)
    return made_once('first_run_toy', lambda folder: build_toy_dataset(folder, settings))


@pytest.fixture
def refused(call_tool, tmp_path):
    """Return a function that calls a tool with overrides and returns its sentence."""
    def call(config, *options, tool='train', arguments=()):
        name = f'experiment_name=mistake_{next(NUMBERS)}'  # mmengine adds only the second
        status, _, errors = call_tool(tool, config, *arguments, '--work-dir', tmp_path / 'work',
                                      '--cfg-options', name, *options)
        assert status == 2, errors
        assert not list((tmp_path / 'work').glob('*.pth'))
        return errors
    return call


def in_videos(folder):
    return [f'{role}_dataloader.{option}' for role in ('train', 'val', 'test') for option in
            (f'dataset.data_root={folder}', 'num_workers=0', 'batch_size=1')]


def test_loaders_without_workers_train(call_tool, features, tmp_path):
    status, _, errors = call_tool('train', features, '--work-dir', tmp_path)
    assert status == 0, errors
    assert (tmp_path / 'epoch_1.pth').is_file()


def test_a_folder_whose_name_looks_like_a_number(call_tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = write_features(tmp_path / '2024')
    options = [f'{role}_dataloader.dataset.data_root=2024' for role in ('train', 'val', 'test')]
    status, _, errors = call_tool('train', config, '--work-dir', tmp_path / 'work',
                                  '--cfg-options', *options)
    assert status == 0, errors


@pytest.mark.parametrize('options, message', [
    (['model.head.num_classes=1'], 'model.head.num_classes is 1, but the data set of '
     'train_dataloader has 2 classes (pour, stir). Set model.head.num_classes=2'),
    (['model.head.num_classes=6'], 'model.head.num_classes is 6, but the data set of'),
    (['train_dataloader.dataset.metainfo.classes=[pour]'], "unknown label 'stir'; the classes are"),
    (['val_dataloader.dataset.metainfo.classes=[stir,pour]'],
     'train_dataloader and val_dataloader have different classes (2 and 2; the order differs)'),
    (['train_dataloader.batch_size=4'], 'train_dataloader.batch_size is 4, but each process has '
     'only 3 training items, and drop_last=True'),
    (['train_dataloader.batch_size=0'],
     'train_dataloader.batch_size must be a whole number of at least 1, got 0'),
    (['val_dataloader.num_workers=-1'],
     'val_dataloader.num_workers must be a whole number of at least 0, got -1'),
    (['data_root=2024'], "--cfg-options data_root has no effect: 'data_root' is a variable of the "
     'config file, which is used while the file is read. Override train_dataloader.dataset.'
     'data_root=... and val_dataloader.dataset.data_root=...'),
    (['trian_cfg.max_epochs=3'], "the config has no 'trian_cfg', and nothing reads it. Did you "
     "mean 'train_cfg'?"),
    (['train_dataloader.dataset.num_frames=many'],
     "train_dataloader.dataset.num_frames must be a number, got 'many'"),
    (['val_dataloader.dataset.source.stride_frames=4s'],
     "val_dataloader.dataset.source.stride_frames must be a number, got '4s'"),
    (['train_dataloader.dataset.filename_template=v1.npy'],
     "filename_template 'v1.npy' names the same file for all 3 videos"),
    (['train_dataloader.dataset.metainfo.classes=pour'], "must be a list of names, got 'pour'"),
    (['train_dataloader.dataset.ignored_labels=stir'], 'both classes and ignored_labels'),
    (['train_dataloader.dataset.data_prefix=videos'], "data_prefix must name one folder as one of"),
    (['default_hooks.checkpont.interval=2'],
     "a component of the config has no type, got {'interval': 2}. Correct the name of its key"),
    (['model.backbone.type=SBPBackbone'], '--cfg-options cannot be merged into'),
    (['train_cfg.max_epochs=0'], 'train_cfg.max_epochs must be a whole number of at least 1'),
    (['optim_wrapper.optimizer.type=Adamm'],
     "optim_wrapper.optimizer.type 'Adamm' is not a known optimizer. Did you mean 'Adam'?"),
    (['optim_wrapper.optimizer.lr=fast'], 'optim_wrapper.optimizer.lr must be a number'),
    (['model.neck.num_levels=two'], "model.neck (ActionFormerNeck) cannot be built with"),
    (['optim_wrapper.optimizer.betas=0.9'], 'optim_wrapper.optimizer (AdamW) cannot be built with'),
    (['model.neck.in_channels=16'], f'(T, C), but model.neck.in_channels is 16. Set model.neck.'
     f'in_channels={CHANNELS}'),
])
def test_mistakes_with_features(refused, features, options, message):
    assert message in refused(features, *options)


def test_a_path_that_the_config_writes_as_a_number(refused, features, tmp_path):
    config = tmp_path / 'number.py'
    config.write_text(f"_base_ = ['{features}']\ntrain_dataloader = dict(dataset=dict("
                      'data_root=2024))\n')
    assert "train_dataloader.dataset.data_root must be a path as text, got 2024 (int). Write it " \
        "in quotes in the config: data_root='2024'" in refused(config, 'log_level=INFO')


def test_features_in_the_other_order_name_their_shape(refused, tmp_path):
    config = write_features(tmp_path / 'ct', transposed=True)
    errors = refused(config, 'log_level=INFO')
    assert f'shape ({CHANNELS}, {STEPS}) is read as (T, C)' in errors
    assert 'Set source=dict(channels_first=True)' in errors


@pytest.mark.parametrize('changes, message', [
    ("train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadFeatures'), "
     "dict(type='PackTADInputs')]))", 'LoadFeatures reads features, but the dataset gives video'),
    ("val_dataloader = dict(dataset=dict(pipeline=[dict(type='DecordInit'), dict("
     "type='SampleFrames', clip_len=8, test_mode=True), dict(type='DecordDecode'), dict("
     "type='FormatShape', input_format='NCTHW'), dict(type='PackTADInputs')]))",
     'SampleFrames samples trimmed videos. Replace it by SampleWindow'),
    pytest.param("train_dataloader = dict(dataset=dict(data_prefix=dict(frames='videos')))",
                 'PyAVSeekDecode reads video, but the dataset gives frames',
                 marks=pytest.mark.nightly),
    ('model = dict(backbone=None)', 'train_dataloader.dataset gives frames, but the model has no '
     'backbone and takes features'),
    ('train_dataloader = dict(dataset=dict(num_frames=50))',
     'train_dataloader.dataset.num_frames is 50, which is not a multiple of '
     'model.backbone.clip_len=8. Set num_frames to 48 or 56'),
    pytest.param(
        'val_dataloader = dict(dataset=dict(num_frames=4))',
        'val_dataloader.dataset.num_frames is 4, which is not a multiple of '
        'model.backbone.clip_len=8. Set num_frames to 8 in', marks=pytest.mark.nightly),
])
def test_mistakes_with_videos(refused, videos, tmp_path, changes, message):
    config = tmp_path / 'changed.py'
    config.write_text(f"_base_ = ['{VIDEO_CONFIG}']\n{changes}\n")
    assert message in refused(config, *in_videos(videos))


@pytest.mark.parametrize('option, message', [
    ('model.neck.in_channels=32', 'model.backbone (ResNet3d) gives 64 channels, but '
     'model.neck.in_channels is 32. Set model.neck.in_channels=64'),
    ('model.backbone.clip_len=1', 'model.backbone (ResNet3d) cannot encode a clip of 1 frame of '
     '48 x 48 pixels from train_dataloader.dataset'),
])
def test_backbones_that_do_not_fit(refused, videos, option, message):
    assert message in refused(VIDEO_CONFIG, *in_videos(videos), option)


def test_a_backbone_for_features(refused, features, tmp_path):
    config = tmp_path / 'changed.py'
    config.write_text(f"_base_ = ['{features}']\n"
                      "model = dict(backbone=dict(_delete_=True, type='FrameCNN'))\n")
    assert 'gives features, but model.backbone encodes frames. Set model.backbone=None' in refused(
        config, 'log_level=INFO')


@pytest.mark.parametrize('option, message', [
    ('train_dataloader.dataset.memory_frames=12', 'train_dataloader.dataset.memory_frames is 12, '
     'but model.head.memory_frames is'),
    ('model.head.num_classes=3', 'model.head.num_classes is 3, but the data set of'),
])
def test_online_detection(refused, videos, option, message):
    assert message in refused(ONLINE_CONFIG, *in_videos(videos), option)


def test_testing_checks_too(refused, features, tmp_path):
    weights = tmp_path / 'weights.pth'
    weights.write_bytes(b'')
    errors = refused(features, 'model.head.num_classes=5', tool='test', arguments=[weights])
    assert 'model.head.num_classes is 5, but the data set of test_dataloader has 2' in errors
