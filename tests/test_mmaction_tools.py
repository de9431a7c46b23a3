"""Configs of mmaction2 through the command line: our tools, and mmaction2's own with the import."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mmaction_cases import (
    ROOT,
    TOOLS,
    sbp_lines,
    write_config,
    write_features,
    write_poses,
)
from recognition_cases import write_clips

TSN = 'recognition/tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_kinetics400-rgb.py'
BMN = 'localization/bmn/bmn_2xb8-400x100-9e_activitynet-feature.py'
STGCN = 'skeleton/stgcnpp/stgcnpp_8xb16-joint-u100-80e_ntu60-xsub-keypoint-2d.py'
OURS, THEIRS = ROOT / 'tools', TOOLS


def options(kind, data, sbp=True):
    """Options that a user types to shrink the config and to name the data."""
    inner = 'model.backbone.backbone' if sbp else 'model.backbone'
    common = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
    for phase in ('train', 'val', 'test'):
        key = f'{phase}_dataloader'
        common += [f'{key}.num_workers=0', f'{key}.persistent_workers=False',
                   f'{key}.batch_size={2 if phase == "train" else 1}']
        if kind == 'tsn':
            common += [f'{key}.dataset.ann_file={data}/videos.txt',
                       f'{key}.dataset.data_prefix.video={data}',
                       f'{key}.dataset.indices={4 if phase == "train" else 2}']
        elif kind == 'bmn':
            common += [f'{key}.dataset.ann_file={data}/features.json',
                       f'{key}.dataset.data_prefix.video={data}/csv']
        else:
            dataset = f'{key}.dataset.dataset' if phase == 'train' else f'{key}.dataset'
            common += [f'{dataset}.ann_file={data}/poses_17.pkl', f'{dataset}.indices=4']
    special = dict(
        tsn=[f'{inner}.pretrained=None', f'{inner}.depth=18', 'model.cls_head.in_channels=512',
             'model.cls_head.num_classes=4'],
        bmn=['model.feat_dim=16', 'model.temporal_dim=20',
             'val_evaluator.dump_config.out=found.json',
             'test_evaluator.dump_config.out=test.json'],
        stgcn=['train_dataloader.dataset.times=1'])
    return common + special[kind]


def call(tool, *arguments, cwd):
    """Run a tool as a user does; stdout and stderr together."""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1',
                   'COLUMNS': '400'}
    done = subprocess.run([sys.executable, str(tool), *map(str, arguments)], cwd=cwd, text=True,
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    return done.returncode, done.stdout


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    write_clips(folder)
    write_features(folder)
    write_poses(folder)
    return folder


CASES = [
    pytest.param(OURS, 'tsn', id='ours-tsn-sbp', marks=pytest.mark.nightly),
    pytest.param(THEIRS, 'bmn', id='theirs-bmn'),
    pytest.param(THEIRS, 'tsn', id='theirs-tsn-sbp', marks=pytest.mark.nightly),
    pytest.param(OURS, 'bmn', id='ours-bmn', marks=pytest.mark.nightly),
    pytest.param(OURS, 'stgcn', id='ours-stgcn', marks=pytest.mark.nightly),
    pytest.param(THEIRS, 'stgcn', id='theirs-stgcn', marks=pytest.mark.nightly)]


@pytest.mark.slow
@pytest.mark.parametrize('tools, kind', CASES)
def test_training_and_testing_from_the_command_line(tools, kind, data, tmp_path):
    name = dict(tsn=TSN, bmn=BMN, stgcn=STGCN)[kind]
    config = write_config(name, tmp_path, sbp=kind == 'tsn')
    status, said = call(tools / 'train.py', config, '--work-dir', 'run', '--cfg-options',
                        *options(kind, data), cwd=tmp_path)
    assert status == 0, said[-3000:]
    metric = 'AR@100' if kind == 'bmn' else 'acc/top1'
    trained = re.findall(rf'Epoch\(val\).*{metric}: ([\d.]+)', said)
    assert len(trained) == 1, said[-3000:]
    status, said = call(tools / 'test.py', config, tmp_path / 'run/epoch_1.pth', '--work-dir',
                        'run', '--cfg-options', *options(kind, data), cwd=tmp_path)
    assert status == 0, said[-3000:]
    tested, = re.findall(rf'Epoch\(test\).*{metric}: ([\d.]+)', said)
    if kind == 'bmn':  # validated and tested alike
        assert tested == trained[0] and (tmp_path / 'test.json').is_file()


BARE = """
model = dict(type='Recognizer2D', backbone=dict(type='ResNet', depth=18, norm_eval=False),
             cls_head=dict(type='TSNHead', num_classes=4, in_channels=512, average_clips='prob'),
             data_preprocessor=dict(type='ActionDataPreprocessor', mean=[127.0] * 3,
                                    std=[50.0] * 3, format_shape='NCHW'))
pipeline = [dict(type='DecordInit'), dict(type='SampleFrames', clip_len=1, num_clips=2),
            dict(type='DecordDecode'), dict(type='Resize', scale=(32, 32), keep_ratio=False),
            dict(type='FormatShape', input_format='NCHW'), dict(type='PackActionInputs')]
dataset = dict(type='VideoDataset', ann_file='DATA/videos.txt', data_prefix=dict(video='DATA'),
               pipeline=pipeline)
train_dataloader = dict(batch_size=4, num_workers=0, dataset=dataset,
                        sampler=dict(type='DefaultSampler', shuffle=True))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
"""


@pytest.mark.nightly  # in this process: tests/test_readme.py
def test_a_config_of_the_least_that_mmengine_needs_trains(data, tmp_path):
    """No scope, hooks, environment, visualizer, validation, work dir, seed or log level."""
    config = tmp_path / 'bare.py'
    config.write_text(BARE.replace('DATA', str(data)))
    status, said = call(OURS / 'train.py', config, cwd=tmp_path)
    assert status == 0, said[-3000:]
    assert (tmp_path / 'work_dirs/bare/epoch_1.pth').is_file()


MISTAKES = {
    'no list': ('', 'train_dataloader.dataset.ann_file: there is no file data/kinetics400/'),
    'petrel': ("train_dataloader = dict(dataset=dict(pipeline=[dict(type='DecordInit', "
               "io_backend='petrel')]))", 'train_dataloader.dataset.pipeline.0.io_backend is'),
    'old': ("data = dict(train=dict(type='VideoDataset'))\ntotal_epochs = 50",
            'has keys of mmaction2 0.x, which nothing reads since 1.0: data is now'),
    'frames for videos': ("train_dataloader = dict(dataset=dict(ann_file='DATA/whole_frames.txt'))",
                          'needs RawframeDataset and RawFrameDecode'),
    'comma': ('train_cfg = dict(max_epochs=1),', 'train_cfg is a tuple'),
    'import': ("custom_imports = dict(imports=['no_such_package'], allow_failed_imports=False)",
               'the config imports a module that cannot be imported: .*no_such_package'),
}


@pytest.mark.slow
@pytest.mark.nightly  # in this process: tests/test_all_mmaction_configs.py, tests/tools
@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_is_one_sentence_and_status_2(mistake, data, tmp_path):
    lines, sentence = MISTAKES[mistake]
    config = tmp_path / 'mine.py'
    config.write_text(f"_base_ = 'mmaction::{TSN}'\n{sbp_lines()}\n"
                      + lines.replace('DATA', str(data)) + '\n')
    status, said = call(OURS / 'train.py', config, cwd=tmp_path)
    assert status == 2 and 'Traceback' not in said, said[-3000:]
    assert re.search(sentence, said.strip().splitlines()[-1])
    assert not Path(tmp_path, 'work_dirs').exists()
