"""Per-frame features in the folders of LSTR's code: windows of training, videos of testing."""
from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from lstr_folder import CLASSES, STREAMS, write_folder

from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.datasets.item_draws import seeded_draws
from sbp_tad.registry import DATASETS
from sbp_tad.structures import history_indices

SMALL = dict(type='OnlineFeaturesDataset', num_frames=8, memory_frames=5, memory_stride=2)


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path)


def build(folder, **options):
    return DATASETS.build({**SMALL, 'data_root': str(folder), **options})


def stored(folder, video):
    features = np.concatenate([np.load(folder / name / f'{video}.npy') for name in STREAMS], axis=1)
    return features, np.load(folder / 'target_perframe' / f'{video}.npy')


def test_a_test_item_is_a_whole_video_with_both_streams(folder):
    dataset = build(folder, test_mode=True)
    assert dataset.metainfo['classes'] == tuple(CLASSES) and dataset.num_channels == 10
    assert len(dataset) == 2 and dataset.fps == 4
    item = dataset[0]
    features, targets = stored(folder, 'test_a')
    np.testing.assert_array_equal(item['inputs'], features.T)
    sample = item['data_samples']
    assert 'memory_mask' not in sample and sample.error is None
    assert (sample.window.num_frames, sample.window.first_index, sample.window.fps) == (41, 0, 4)
    np.testing.assert_array_equal(sample.frame_targets, targets[:, :4])
    assert sample.frame_targets.dtype == torch.float32
    assert (~sample.frame_valid).nonzero().flatten().tolist() == [3]


def test_a_training_item_is_a_history_and_a_window(folder):
    dataset = build(folder)
    assert len(dataset) == 44 // 8 + 69 // 8
    for index in range(len(dataset)):
        item = dataset[index]
        sample = item['data_samples']
        start = sample.window.first_index
        features, targets = stored(folder, sample.video_id)
        history, mask = history_indices(start, 5, 2, 'spread')
        np.testing.assert_array_equal(item['inputs'][:, :5], features[history.clip(0)].T)
        np.testing.assert_array_equal(item['inputs'][:, 5:], features[start:start + 8].T)
        np.testing.assert_array_equal(sample.memory_mask, mask)
        np.testing.assert_array_equal(sample.frame_targets, targets[start:start + 8, :4])
        assert start + 8 < len(targets)  # the published code leaves out the last frame


def test_the_windows_of_an_epoch_tile_a_video_from_one_drawn_frame(folder):
    dataset, phases = build(folder), []
    for epoch in range(6):
        starts = []
        for index in range(5):  # those of the first video
            with seeded_draws(0, epoch, index):
                packed = dataset.prepare_data(index)
            starts += [] if packed is None else [packed['data_samples'].window.first_index]
        assert np.diff(starts).tolist() == [8] * (len(starts) - 1)
        assert len(starts) == len(range(starts[0] + 8, 45, 8))  # as many as theirs
        phases.append(starts[0])
    assert len(set(phases)) > 2 and set(phases) <= set(range(8))


def test_without_the_seed_of_an_epoch_the_draws_follow_numpy(folder):
    dataset = build(folder)

    def starts():
        np.random.seed(1)
        return [dataset[0]['data_samples'].window.first_index for _ in range(5)]
    assert starts() == starts() and len(set(starts())) > 1


def test_a_set_without_ambiguous_frames(tmp_path):
    dataset = build(write_folder(tmp_path, data_name='TVSeries', ambiguous=False),
                    data_name='TVSeries', test_mode=True)
    sample = dataset[0]['data_samples']
    assert sample.frame_targets.shape == (41, 4) and sample.frame_valid.all()
    assert dataset.metainfo['classes'] == tuple(CLASSES)


@pytest.mark.parametrize('options, message', [
    (dict(num_frames=0), 'must be at least 1, got 0, 5, 2 and 2'),
    (dict(streams=()), 'must be at least 1, got 8, 5, 2 and 0'),
    (dict(history_from='whole'), "history_from must be one of .*got 'whole'"),
    (dict(data_name='HACS'), r"has no data set 'HACS', it has \['THUMOS'\]: set data_name"),
    (dict(split='val'), "THUMOS has no 'val_session_set'; needed are"),
    (dict(ann_file='none.json'), 'cannot be read as JSON.*Copy data/data_info.json'),
    (dict(num_frames=70), 'no video of the train set has more than num_frames=70'),
])
def test_options_that_do_not_fit(folder, options, message):
    with pytest.raises(DatasetError, match=message):
        build(folder, **options)


def test_labels_of_another_set(folder):
    info = json.loads((folder / 'data_info.json').read_text())
    info['THUMOS']['class_names'].append('swim')
    (folder / 'data_info.json').write_text(json.dumps(info))
    with pytest.raises(DatasetError, match='train_a.npy has 5 columns, but class_names.* has 6'):
        build(folder)


def test_files_that_do_not_fit(folder):
    path = folder / 'flow_kinetics_bninception' / 'test_a.npy'
    features = np.load(path)
    np.save(path, np.concatenate([features, features]))  # more rows than labels are left unread
    assert build(folder, test_mode=True)[0]['inputs'].shape == (10, 41)
    np.save(path, features[:-1])
    with pytest.raises(VideoReadError, match='test_a.npy has 40 rows, but .* labels 41 frames'):
        build(folder, test_mode=True)
    features[7, 1] = np.nan
    np.save(path, features)
    with pytest.raises(VideoReadError, match='test_a.npy: row 7 holds NaN'):
        build(folder, test_mode=True)[0]
    path.unlink()
    with pytest.raises(VideoReadError, match='no such feature file'):
        build(folder, test_mode=True)
