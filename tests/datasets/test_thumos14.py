"""THUMOS'14 as declared, on a sample and on the whole annotation."""
from __future__ import annotations

import numpy as np
import pytest

from sbp_tad.annotations import read_annotations
from sbp_tad.datasets import THUMOS14_CLASSES, THUMOS14_EXCLUDED_VIDEOS, THUMOS14Dataset
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.evaluate import evaluate_detections
from sbp_tad.evaluation.options import EvaluationOptions, dataset_rules
from sbp_tad.registry import DATASETS

FULL = 'thumos14/thumos14_official_with_ambiguous.json'


def build(path, **arguments) -> THUMOS14Dataset:
    return DATASETS.build(dict(type='sbp_tad.THUMOS14Dataset', ann_file=str(path), num_frames=768,
                               stride_frames=4, **arguments))


def videos(dataset: THUMOS14Dataset) -> dict:
    items = [dataset.get_data_info(index) for index in range(len(dataset))]
    return {item['video_id']: item['annotation'] for item in items}


def test_twenty_classes_none_of_them_ambiguous():
    assert len(THUMOS14_CLASSES) == len(set(THUMOS14_CLASSES)) == 20
    assert list(THUMOS14_CLASSES) == sorted(THUMOS14_CLASSES)
    assert 'Ambiguous' not in THUMOS14_CLASSES
    numbers = {protocol: excluded for protocol, excluded in THUMOS14_EXCLUDED_VIDEOS.items()
               if isinstance(protocol, int)}
    assert {213 - len(excluded) for excluded in numbers.values()} == set(numbers)


@pytest.mark.parametrize('protocol, missing', [
    (213, set()), (212, {'1292'}), (211, {'1292', '0270'}), (210, {'1292', '0270', '1496'})])
def test_protocols_on_the_sample(thumos14_sample, protocol, missing):
    dataset = build(thumos14_sample, test_mode=True, protocol=protocol)
    full = build(thumos14_sample, test_mode=True, protocol=213)
    assert {name[-4:] for name in set(videos(full)) - set(videos(dataset))} == missing
    assert dataset.metainfo['protocol'] == protocol
    assert all('Ambiguous' not in video.labels for video in videos(dataset).values())


def test_unknown_protocol(thumos14_sample):
    with pytest.raises(DatasetError, match=r"one of \[213, .* 'actionformer', 'opentad', "
                                           r"'official-213'\], got 200"):
        build(thumos14_sample, protocol=200)


def test_meta_of_testing_names_the_ground_truth(thumos14_sample):
    meta = build(thumos14_sample, test_mode=True, lazy_init=True).metainfo
    assert meta['classes'] == THUMOS14_CLASSES and meta['dataset_type'] == 'thumos14'
    assert meta['subsets'] == ('test',) and meta['ignored_labels'] == ('Ambiguous',)
    assert meta['ann_file'] == str(thumos14_sample) and len(meta['excluded_videos']) == 2
    assert 'ann_file' not in build(thumos14_sample).metainfo


def test_training_sample_clips_and_counts(thumos14_sample, monkeypatch):
    lines = []
    monkeypatch.setattr('sbp_tad.datasets.base.print_log', lambda text, *_: lines.append(text))
    found = videos(build(thumos14_sample))
    assert set(found) == {f'video_validation_0000{n}' for n in (
        '051', '053', '160', '166', '311', '364')}
    assert len(found['video_validation_0000364']) == 6, 'two segments lie after the end'
    assert len(lines) == 1 and "2 segments reach beyond the video" in lines[0]
    assert "'video_validation_0000364': 2" in lines[0]


def test_further_exclusions_add_up(thumos14_sample):
    dataset = build(thumos14_sample, test_mode=True, excluded_videos=['video_test_0000004'])
    assert set(videos(dataset)) == {'video_test_0000006', 'video_test_0000293',
                                    'video_test_0001496'}


@pytest.mark.parametrize('protocol, num_videos, num_instances', [
    (213, 213, 3332), (212, 212, 3332), (211, 211, 3325), (210, 210, 3307)])
def test_whole_test_set(shared_data, protocol, num_videos, num_instances):
    """3,358 published instances less those that begin after their video."""
    dataset = build(shared_data / FULL, test_mode=True, protocol=protocol)
    found = videos(dataset)
    assert len(found) == num_videos
    assert sum(map(len, found.values())) == num_instances


@pytest.mark.parametrize('protocol, scoring, num_videos, num_instances', [
    ('actionformer', 'activitynet', 212, 3358), ('opentad', 'activitynet', 211, 3329),
    ('official-213', 'thumos14-official', 213, 3358)])
def test_named_protocols_count_late_segments(protocol, scoring, num_videos, num_instances,
                                             shared_data):
    dataset = build(shared_data / FULL, test_mode=True, protocol=protocol, lazy_init=True)
    rules = EvaluationOptions(**dataset_rules(dataset.metainfo))
    truth = read_annotations(dataset.ann_file, dataset.subsets)
    result = evaluate_detections(truth, Detections.from_videos({}, ()), rules, 'test')
    assert rules.protocol == scoring
    assert (result.num_videos, result.num_ground_truth) == (num_videos, num_instances)


def test_whole_training_set(shared_data):
    found = videos(build(shared_data / FULL))
    assert len(found) == 200
    assert sum(map(len, found.values())) == 3003, '3,007 less 4 after the end of their video'


@pytest.mark.parametrize('overlap', [0.0, 0.25, 0.5])
def test_windows_cover_every_real_video(shared_data, overlap):
    dataset = build(shared_data / FULL, test_mode=True, protocol=213, overlap=overlap)
    windows: dict[str, list] = {}
    for index in range(len(dataset)):
        item = dataset.get_data_info(index)
        windows.setdefault(item['video_id'], []).append(item['window'])
    annotations = videos(dataset)
    for video_id, found in windows.items():
        starts = np.array([window.start_seconds for window in found])
        ends = np.array([window.valid_end_seconds for window in found])
        assert starts[0] == 0 and (starts[1:] <= ends[:-1] + 1e-9).all(), video_id
        step = found[0].seconds_per_frame
        assert 0 <= ends[-1] - annotations[video_id].duration_seconds + 1e-6 < step, video_id
