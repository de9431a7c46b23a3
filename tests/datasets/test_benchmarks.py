"""The benchmarks as declared: names, counts, subsets, thresholds; and what is special of each."""
from __future__ import annotations

import numpy as np
import pytest

from sbp_tad.datasets import (
    THUMOS14_CLASSES,
    ActivityNetDataset,
    Ego4DMQDataset,
    EpicKitchens100NounDataset,
    EpicKitchens100VerbDataset,
    FineActionDataset,
    HACSDataset,
    MultiTHUMOSDataset,
    THUMOS14Dataset,
)
from sbp_tad.datasets.class_names import read_class_names
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.registry import DATASETS

ACTIVITYNET, EGOCENTRIC = (0.5, 0.95, 10), (0.1, 0.5, 5)  # first, last and number of thresholds
CASES = [  # dataset, classes, some of them, thresholds, training and test subset
    (THUMOS14Dataset, 20, {0: 'BaseballPitch'}, (0.3, 0.7, 5), 'validation', 'test'),
    (ActivityNetDataset, 200, {0: 'Applying sunscreen', 93: 'Mooping floor', 199: 'Zumba'},
     ACTIVITYNET, 'training', 'validation'),
    (HACSDataset, 200, {1: 'Archery'}, ACTIVITYNET, 'training', 'validation'),
    (MultiTHUMOSDataset, 65, {20: 'Walk', 64: 'NoHuman'}, (0.1, 0.9, 9), 'validation', 'test'),
    (EpicKitchens100VerbDataset, 97, {0: 'take', 79: 'let-go', 96: 'unfreeze'}, EGOCENTRIC,
     'training', 'validation'),
    (EpicKitchens100NounDataset, 300, {0: 'tap', 222: 'label', 299: 'extract:vanilla'},
     EGOCENTRIC, 'train', 'val'),
    (Ego4DMQDataset, 110, {0: '"clean_/_repair_small_equipment_(mower,_trimmer_etc.)"',
                           109: 'write_notes_in_a_paper_/_book'}, EGOCENTRIC, 'train', 'val'),
]


def build(kind, path, **options):
    return DATASETS.build(dict(type=f'sbp_tad.{kind.__name__}', ann_file=str(path), num_frames=64,
                               target_fps=2, **options))


def database(label, *subsets):
    """One video of 60 s in each subset, whose only action ends after it."""
    return {f'{number}': dict(subset=subset, duration=60, fps=30, annotations=[
        dict(segment=[50.0, 61.0], label=label)]) for number, subset in enumerate(subsets)}


@pytest.mark.parametrize('kind, count, some, thresholds, train, test', CASES)
def test_classes_and_thresholds(kind, count, some, thresholds, train, test):
    classes = kind.METAINFO['classes']
    assert len(classes) == len(set(classes)) == count
    assert {index: classes[index] for index in some} == some
    assert all(name == name.strip() for name in classes)
    first, last, number = thresholds
    assert kind.METAINFO['tiou_thresholds'] == pytest.approx(np.linspace(first, last, number))


@pytest.mark.parametrize('kind, count, some, thresholds, train, test', CASES)
def test_subsets_and_segments_that_end_late(kind, count, some, thresholds, train, test,
                                            write_annotation):
    path = write_annotation(database(next(iter(some.values())), train, test, 'testing'))
    for test_mode, video_id in ((False, '0'), (True, '1')):
        items = build(kind, path, test_mode=test_mode).load_data_list()
        assert {item['video_id'] for item in items} == {video_id}
        assert items[0]['annotation'].segments_seconds.tolist() == [[50.0, 60.0]]
        assert video_id in items[0]['filename']


def test_the_first_twenty_of_multithumos_are_those_of_thumos14():
    assert MultiTHUMOSDataset.METAINFO['classes'][:20] == THUMOS14_CLASSES


def test_hacs_has_the_classes_of_activitynet_and_files_of_its_own():
    assert HACSDataset.METAINFO['classes'] == ActivityNetDataset.METAINFO['classes']
    hacs = HACSDataset(num_frames=1, stride_frames=1, lazy_init=True)
    assert (hacs.ann_file, hacs.filename_template) == ('annotations/hacs.json',
                                                       'v_{video_id}.mp4')
    for kind, name in (('features', 'v_{video_id}.npy'), ('frames', 'v_{video_id}')):
        size = dict(num_frames=1) if kind == 'features' else dict(num_frames=1, stride_frames=1)
        source = dict(stride_frames=4) if kind == 'features' else None
        hacs = HACSDataset(data_prefix={kind: kind}, lazy_init=True, source=source, **size)
        assert hacs.filename_template == name


def test_every_list_of_names_says_where_it_is_from():
    from importlib.resources import files
    lists = [entry for entry in files('sbp_tad.datasets.class_names').iterdir()
             if entry.name.endswith('.txt')]
    assert len(lists) == 5
    for entry in lists:
        header = [line for line in entry.read_text().splitlines() if line.startswith('#')]
        assert any('Source' in line for line in header), entry.name
        assert read_class_names(entry.name.removesuffix('.txt'))


def test_fineaction_takes_its_classes_from_the_annotation_when_asked(write_annotation):
    videos = database('b', 'training', 'validation')
    videos['1']['annotations'][0]['label'] = 'a'
    path = write_annotation(videos)
    dataset = build(FineActionDataset, path, classes_from_annotation=True)
    assert dataset.metainfo['classes'] == ('a', 'b') and len(dataset) == 1
    assert len(dataset.metainfo['tiou_thresholds']) == 10
    given = build(FineActionDataset, path, metainfo=dict(classes=['b', 'c', 'a']))
    assert given.metainfo['classes'] == ('b', 'c', 'a')
    with pytest.raises(DatasetError, match='not part of this package: set either classes_from_ann'):
        build(FineActionDataset, path)
