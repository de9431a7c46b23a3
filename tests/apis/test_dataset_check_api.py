"""From configs and annotation files to findings, advice and memory."""
from __future__ import annotations

import json
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from sbp_tad.apis.config_check import (
    add_current_share,
    add_memory,
    declare_config,
    frame_size,
    probe_model,
)
from sbp_tad.apis.dataset_check import add_advice, check_datasets, declare_json
from sbp_tad.apis.dataset_report import report_to_json, verdict
from sbp_tad.apis.launch import load_config
from sbp_tad.datasets.checks.window_advice import BackboneShape
from sbp_tad.errors import ConfigError
from sbp_tad.planning.saved_memory import meter_saved_memory
from sbp_tad.registry import DATASETS

ROOT = Path(__file__).parents[2]
TOY = 'configs/toy/actionformer_r3d10_sbp-r4_toy.py'


def entry(*items, subset='training', **timing):
    return dict(subset=subset, **timing,
                annotations=[dict(segment=list(item[:2]), label=item[2]) for item in items])


@pytest.fixture
def kitchen(tmp_path, write_video):
    """Four small videos with two classes, and a config over the toy recipe."""
    (tmp_path / 'videos').mkdir()
    items = [(0.4 * i, 0.4 * i + 0.3, ('pour', 'stir')[i % 2]) for i in range(20)]
    database = {}
    for name, subset in zip('abcd', ('training', 'training', 'training', 'test')):
        write_video(tmp_path / 'videos' / f'{name}.mp4', 100)
        database[name] = entry(*items, subset=subset, duration=10, fps=10)
    database['c'] = entry((1, 7, 'pour'), duration=10, fps=10)
    (tmp_path / 'annotations.json').write_text(json.dumps(dict(database=database)))
    cfg = load_config(str(ROOT / TOY))
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.update(type='TemporalDetectionDataset', data_root=str(tmp_path),
                              ann_file='annotations.json',
                              metainfo=dict(classes=['pour', 'stir']))
        loader.dataset.subsets = ['training' if loader is cfg.train_dataloader else 'test']
    return cfg, tmp_path, database


def kinds(source):
    report, _ = check_datasets(source)
    return sorted(finding.kind for finding in report.findings)


def rewrite(folder, database):
    (folder / 'annotations.json').write_text(json.dumps(dict(database=database)))


def test_a_clean_config(kitchen):
    cfg, _, _ = kitchen
    report, videos = check_datasets(declare_config(cfg))
    assert report.findings == [] and verdict(report) == 'Clean: no findings.'
    assert report.counts == {'training': (3, 41), 'test': (1, 20)}
    assert [video.video_id for video in videos] == ['a', 'b', 'c'], 'advice is of training alone'


def test_faults_of_files_and_subsets(kitchen):
    cfg, folder, database = kitchen
    (folder / 'videos' / 'a.mp4').unlink()
    (folder / 'videos' / 'b.mp4').write_bytes(b'')
    (folder / 'videos' / 'new.mp4').touch()
    database['e'] = entry(subset='spare')
    database['f'] = dict(subset='training')
    rewrite(folder, database)
    assert kinds(declare_config(cfg)) == ['malformed-entry', 'missing-file', 'unlisted-file',
                                          'unreadable-file', 'unused-subset']
    assert kinds(declare_config(cfg, check_media=False)) == ['malformed-entry', 'unused-subset']
    cfg.test_dataloader.dataset.subsets = ['training']
    assert 'shared-subset' in kinds(declare_config(cfg))


def test_a_folder_shared_by_two_annotations(kitchen):
    cfg, folder, database = kitchen
    (folder / 'test.json').write_text(json.dumps(dict(database={'d': database.pop('d')})))
    rewrite(folder, database)
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.ann_file = 'test.json'
    assert kinds(declare_config(cfg)) == []


def test_json_alone(kitchen):
    _, folder, database = kitchen
    path = folder / 'annotations.json'
    assert kinds(declare_json(path)) == [] == kinds(declare_json(path, folder / 'videos'))
    assert set(kinds(declare_json(path, classes=['pour']))) == {'unknown-label'}
    assert kinds(declare_json(path, subsets=['test', 'val'])) == ['absent-subset',
                                                                  'unused-subset']
    (folder / 'videos' / 'd.mp4').unlink()
    assert kinds(declare_json(path, folder / 'videos')) == ['missing-file']
    assert kinds(declare_json(path, folder / 'videos', subsets=['training'])) == ['unused-subset']


def test_timing_comes_from_the_files_where_the_annotation_has_none(kitchen):
    _, folder, database = kitchen
    for video in database.values():
        del video['duration'], video['fps']
    rewrite(folder, database)
    _, videos = check_datasets(declare_json(folder / 'annotations.json', folder / 'videos'))
    assert {(video.fps, video.duration_seconds) for video in videos} == {(10.0, 10.0)}


def test_advice_and_memory_of_a_config(kitchen):
    cfg, _, _ = kitchen
    report, videos = check_datasets(declare_config(cfg))
    probe = probe_model(cfg)
    assert (probe.shape, probe.frame_size) == (BackboneShape(8, 2.0), (48, 48))
    assert probe.batch_size == 8
    add_advice(report, videos, probe.shape, 0.99, 0.5)
    add_memory(report, probe)
    add_current_share(report, cfg, videos)
    assert report.advice.stride_frames == 1 and report.advice.num_frames == 112
    # at stride 2 of 10 fps a step lasts longer than all actions but the long one
    assert report.current_share == pytest.approx(1 / 41)
    assert report.memory.keep_ratio == 0.25 and report.remarks == []
    assert report.memory.saved[0.25] < report.memory.saved[1.0]
    content = json.loads(json.dumps(report_to_json(report, True)))
    assert content['advice']['num_frames'] == 112 and content['memory']['saved']['0.25'] > 0
    assert set(content['advice']['reasons']) > {'num_frames', 'target_fps'}


def test_memory_is_what_the_runner_will_save(kitchen):
    """The estimate of the config, against a training step with the config's real data."""
    cfg, _, _ = kitchen
    cfg.train_dataloader.batch_size = 2
    report, videos = check_datasets(declare_config(cfg))
    probe = probe_model(cfg)
    add_advice(report, videos, probe.shape, 0.99, 0.5)
    add_memory(report, probe)
    cfg.train_dataloader.dataset.update(num_frames=report.advice.num_frames, stride_frames=1)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    detector = probe.detector
    batch = detector.data_preprocessor(pseudo_collate([dataset[0], dataset[1]]), training=True)
    with meter_saved_memory(detector) as meter:
        losses = detector(**batch, mode='loss')
    assert losses and report.memory.saved[0.25] == pytest.approx(meter.bytes, rel=0.03)


def test_num_steps_sets_the_frames_of_a_step(kitchen):
    cfg, _, _ = kitchen
    cfg.model.num_steps = 96
    assert probe_model(cfg).shape.frames_per_step == 1.0


def test_no_segments_end_in_a_remark(kitchen):
    _, folder, _ = kitchen
    rewrite(folder, {'a': entry(duration=10, fps=10)})
    report, videos = check_datasets(declare_json(folder / 'annotations.json'))
    add_advice(report, videos, BackboneShape(), 0.99, 0.5)
    assert report.advice is None and 'no segment of the training videos' in report.remarks[0]


def test_wrapped_datasets_are_found(kitchen):
    cfg, _, _ = kitchen
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=dict(
        type='ConcatDataset', datasets=[inner, inner]))
    declarations = declare_config(cfg)
    assert [declaration.expected.training for declaration in declarations] == [True, False]


def test_frame_size_runs_the_spatial_transforms():
    assert frame_size([dict(type='DecordInit'), dict(type='mmaction.DecordDecode'),
                       dict(type='Resize', scale=(-1, 128)),
                       dict(type='RandomResizedCrop', area_range=(0.6, 1.0)),
                       dict(type='Resize', scale=(112, 96), keep_ratio=False),
                       dict(type='FormatShape', input_format='NCTHW')]) == (96, 112)
    with pytest.raises(ConfigError, match=r"between decoding and FormatShape, but.*\['LoadF'\]"):
        frame_size([dict(type='LoadF')])


@pytest.mark.parametrize('change, message', [
    (lambda cfg: [cfg.pop(f'{role}_dataloader') for role in ('train', 'val', 'test')],
     'the config has no data set'),
    (lambda cfg: setattr(cfg.train_dataloader, 'dataset', dict(
        type='mmaction.VideoDataset', ann_file='x.txt', pipeline=[])),
     'VideoDataset holds no annotated segments'),
    (lambda cfg: cfg.train_dataloader.dataset.update(colour='red'), 'wrong options'),
])
def test_configs_that_cannot_be_checked(kitchen, change, message):
    cfg, _, _ = kitchen
    change(cfg)
    with pytest.raises(ConfigError, match=message):
        declare_config(cfg)


def test_models_that_cannot_be_measured(kitchen):
    cfg, _, _ = kitchen
    backbone = Config(dict(model=cfg.model.backbone, train_dataloader=cfg.train_dataloader))
    with pytest.raises(ConfigError, match='for a TemporalDetector, but the model is a SBP'):
        probe_model(backbone)
    with pytest.raises(ConfigError, match='no train_dataloader'):
        probe_model(Config(dict(model=cfg.model)))
