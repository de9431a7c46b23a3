"""Online windows: frames, history, targets, and every frame tested once."""
from __future__ import annotations

import io
import json
import pickle
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from sbp_tad.annotations import read_annotations
from sbp_tad.datasets import (
    THUMOS14_CLASSES,
    OnlineDetectionDataset,
    PackOnlineInputs,
    SampleOnlineWindow,
    THUMOS14OnlineDataset,
)
from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.datasets.online import during, frame_targets
from sbp_tad.datasets.windows import WindowSize, sliding_windows
from sbp_tad.registry import DATASETS
from sbp_tad.structures import OnlineDataSample, Window, history_indices

CLASSES = ['jump', 'throw']
ROOT = Path(__file__).parents[2]
PACK = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackOnlineInputs')]
PIPELINE = [dict(type='SampleOnlineWindow'), dict(type='PyAVSeekDecode'), *PACK]
DECORD = [dict(type='DecordInit'), PIPELINE[0], dict(type='DecordDecode'), *PACK]


def entry(*items: tuple, subset: str = 'training', **timing) -> dict:
    timing = timing or dict(duration=4.0, fps=10)
    return {'subset': subset, **timing,
            'annotations': [{'segment': list(item[:2]), 'label': item[2]} for item in items]}


@pytest.fixture
def make(tmp_path, small_video, write_annotation):
    """Builds a dataset over ``{video: entry}``, 40 frames at 10 fps each; bad_* gets no file."""
    def build(database: dict, **arguments):
        (tmp_path / 'videos').mkdir(exist_ok=True)
        for video_id in database:
            if not video_id.startswith('bad'):
                shutil.copy(small_video, tmp_path / 'videos' / f'{video_id}.mp4')
        defaults = dict(type='sbp_tad.OnlineDetectionDataset', data_root=str(tmp_path),
                        ann_file=str(write_annotation(database)), num_frames=6, target_fps=5,
                        subsets=['training'], metainfo=dict(classes=CLASSES), memory_frames=3,
                        memory_stride=2, ignored_labels=['Ambiguous'], pipeline=PIPELINE)
        return DATASETS.build({**defaults, **arguments})
    return build


def samples_of(dataset) -> list[OnlineDataSample]:
    return [dataset[index]['data_samples'] for index in range(len(dataset))]


@pytest.mark.parametrize('pipeline', [PIPELINE, DECORD])
def test_a_test_item_holds_memory_then_working_frames(make, read_frame_numbers, pipeline):
    dataset = make({'a': entry((1, 2, 'throw'))}, test_mode=True, pipeline=pipeline)
    samples = [dataset[index] for index in range(len(dataset))]
    assert [s['data_samples'].window.first_index for s in samples] == [0, 6, 12, 18]
    for sample, history in zip(samples, ([0, 0, 0], [0, 2, 4], [6, 8, 10], [12, 14, 16])):
        assert sample['inputs'].shape == (3, 9, 48, 64) and sample['inputs'].dtype == torch.uint8
        start = sample['data_samples'].window.first_index
        working = np.minimum(start + np.arange(6), 19.5)  # the padding repeats the last frame
        shown = read_frame_numbers(sample['inputs'].transpose(0, 1).numpy())
        expected = np.floor(2 * np.r_[history, working] + 1).clip(max=39)
        if start == 0:
            expected[:3] = 0  # what lies before the video shows its first frame
        np.testing.assert_array_equal(shown, expected)
    masks = [s['data_samples'].memory_mask.tolist() for s in samples]
    assert masks == [[False] * 3, [True] * 3, [True] * 3, [True] * 3]
    assert samples[3]['data_samples'].frame_valid.tolist() == [True] * 2 + [False] * 4


def test_targets_hold_every_class_and_both_boundaries(make):
    dataset = make({'a': entry((0.4, 0.8, 'jump'), (0.8, 1.0, 'throw'), (2.0, 2.2, 'Ambiguous'),
                               (2.2, 2.6, 'jump'))}, test_mode=True, num_frames=20)
    sample, = samples_of(dataset)
    jump, throw = [2, 3, 4, 11, 12, 13], [4, 5]
    assert sample.frame_targets.dtype == torch.float32 and sample.frame_targets.shape == (20, 3)
    assert sample.frame_targets[:, 1].nonzero().flatten().tolist() == jump
    assert sample.frame_targets[:, 2].nonzero().flatten().tolist() == throw
    background = sorted(set(range(20)) - set(jump) - set(throw))
    assert sample.frame_targets[:, 0].nonzero().flatten().tolist() == background
    assert (~sample.frame_valid).nonzero().flatten().tolist() == [10, 11]


def test_boundaries_hold_at_rates_that_are_no_decimals():
    window = WindowSize(40, target_fps=4).window('v', 0.0, 30000 / 1001, 10000)
    times = (window.first_index + np.arange(40)) * window.seconds_per_frame
    inside = during(times, np.array([[0.25, 0.75], [9.1, 9.5]]))
    assert np.flatnonzero(inside[:, 0]).tolist() == [1, 2, 3]
    assert np.flatnonzero(inside[:, 1]).tolist() == [37, 38]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20), st.integers(0, 2)), max_size=6),
       st.integers(1, 30))
def test_targets_equal_a_loop(items, num_frames):
    segments = np.array([(s / 8, (s + d) / 8) for s, d, _ in items]).reshape(-1, 2)
    labels = np.array([label for *_, label in items], dtype=np.int64)
    found = frame_targets(np.arange(num_frames) / 4, segments, labels, 3)
    for frame, row in enumerate(found):
        shown = {label for s, d, label in items if s <= 2 * frame <= s + d}
        assert row.tolist() == [not shown] + [c in shown for c in range(3)]


@settings(deadline=None, max_examples=200)
@given(st.floats(0.05, 400), st.sampled_from([10.0, 25.0, 29.97, 30000 / 1001, 30.0]),
       st.sampled_from([2.0, 4.0, 5.0, 7.3]), st.integers(1, 40))
def test_testing_tiles_every_frame_once(seconds, fps, target_fps, num_frames):
    size = WindowSize(num_frames, target_fps=target_fps)
    windows = sliding_windows('v', size, fps, seconds * fps, None)
    frames = [window.first_index + i for window in windows
              for i in range(window.num_valid_frames)]
    video_frames = seconds * fps
    if abs(video_frames - round(video_frames)) <= 0.05:  # a rounded duration
        video_frames = round(video_frames)
    assert frames == list(range(int(np.ceil(video_frames / fps * target_fps - 1e-6))))
    assert all(window.num_valid_frames == num_frames for window in windows[:-1])
    starts = [window.first_index for window in windows]
    assert starts == [num_frames * i for i in range(len(windows))]
    for window in windows:  # and back: a frame's place gives its second
        np.testing.assert_allclose(window.start_seconds, window.first_index / target_fps,
                                   atol=1e-9)


def test_a_file_shorter_than_annotated_is_scored_to_its_end(make):
    dataset = make({'a': entry((1, 2, 'jump'), duration=9.0, fps=10)}, test_mode=True)
    samples = samples_of(dataset)
    assert sum(int(sample.frame_valid.sum()) for sample in samples) == 20
    assert samples[-1].window.num_valid_frames == 0


def test_training_draws_an_epoch_of_windows_from_all_starts(make):
    dataset = make({'a': entry((1, 2, 'jump'))}, memory_frames=0)
    assert len(dataset) == 3  # of 20 frames, windows of 6
    np.random.seed(0)
    drawn = [[dataset[index]['data_samples'] for index in range(3)] for _ in range(40)]
    starts = [[sample.window.first_index for sample in epoch] for epoch in drawn]
    for number, limits in enumerate(((0, 4), (5, 9), (10, 14))):
        column = {row[number] for row in starts}
        assert (min(column), max(column)) == limits
    assert all(sample.frame_valid.all() for epoch in drawn for sample in epoch)
    assert set(Counter(np.concatenate(starts).tolist())) == set(range(15))
    assert len(make({'a': entry((1, 2, 'jump'))}, windows_per_video=2)) == 6


def test_training_follows_the_seed(make):
    dataset = make({'a': entry((1, 2, 'jump'))})

    def starts(seed):
        np.random.seed(seed)
        return [dataset[0]['data_samples'].window.first_index for _ in range(6)]
    assert starts(3) == starts(3) != starts(4)


def test_training_in_a_video_shorter_than_a_window(make):
    sample = make({'a': entry((1, 2, 'jump'))}, num_frames=30)[0]['data_samples']
    assert sample.window.first_index == 0 and sample.frame_valid.tolist() == [True] * 20 + [
        False] * 10


def test_timing_comes_from_the_file_where_the_annotation_has_none(make):
    database = {'a': dict(subset='training',
                          annotations=[dict(segment=[1, 2], label='jump')])}
    assert len(make(database)) == 3
    assert sum(int(s.frame_valid.sum()) for s in samples_of(make(database, test_mode=True))) == 20


def test_memory_at_every_place_lies_before_the_window(make):
    dataset = make({'a': entry((1, 2, 'jump'))}, memory_frames=4, memory_stride=3)
    for _ in range(20):
        sample = dataset[0]['data_samples']
        index = sample.window.first_index - 3 * np.arange(4, 0, -1)
        assert sample.memory_mask.tolist() == (index >= 0).tolist()
    assert history_indices(12, 3, 4)[0].tolist() == [0, 4, 8]
    assert history_indices(0, 0, 4)[0].shape == (0,)


@pytest.mark.parametrize('pipeline', [PIPELINE, DECORD])
def test_flip_and_crop_are_the_same_for_memory_and_window(make, pipeline):
    ramp = np.arange(64, dtype=np.uint8)

    def paint(results):  # in place: frames that share memory would be flipped several times
        for image in results['imgs']:
            image[:] = ramp[None, :, None]
        return results
    dataset = make({'a': entry((1, 2, 'jump'))}, pipeline=[
        *pipeline[:-2], paint, dict(type='RandomCrop', size=16),
        dict(type='Flip', flip_ratio=0.5), *PACK])
    seen = set()
    for _ in range(6):
        for number in range(len(dataset)):  # the first shows one frame for all its history
            frames = dataset[number]['inputs']
            assert frames.shape == (3, 9, 16, 16) and (frames == frames[:, :1]).all()
            seen.add(bool(frames[0, 0, 0, 0] < frames[0, 0, 0, 1]))
    assert seen == {True, False}


def test_unreadable_videos(make):
    database = {'a': entry((1, 2, 'jump')), 'bad': entry((1, 2, 'jump'))}
    dataset = make(database, test_mode=True)
    failed = dataset[len(dataset) - 1]
    assert failed['inputs'] is None and isinstance(failed['data_samples'], OnlineDataSample)
    assert 'no such video file' in failed['data_samples'].error
    with pytest.raises(VideoReadError, match='no such video file'):
        make({'bad': entry((1, 2, 'jump'), duration=None)})[0]
    skipping = make(database, on_bad_video='skip')
    assert {skipping[i]['data_samples'].video_id for i in range(len(skipping))} == {'a'}


def test_frames_from_a_folder(make, tmp_path):
    folder = tmp_path / 'frames' / 'a'
    folder.mkdir(parents=True)
    for number in range(1, 41):
        cv2.imwrite(str(folder / f'img_{number:05d}.png'), np.full((8, 8, 3), number, np.uint8))
    dataset = make({'a': entry((1, 2, 'jump'))}, test_mode=True, data_prefix=dict(frames='frames'),
                   source=dict(filename_tmpl='img_{:05d}.png'),
                   pipeline=[PIPELINE[0], dict(type='RawFrameDecode'), *PACK])
    shown = dataset[1]['inputs'][0, :, 0, 0].tolist()
    assert shown == [2 * i + 2 for i in (0, 2, 4, 6, 7, 8, 9, 10, 11)]


@pytest.mark.parametrize('arguments, message', [
    (dict(memory_frames=-1), 'memory_frames must be a whole number from 0 .* got -1 and 2'),
    (dict(memory_stride=0), 'got 3 and 0'),
    (dict(memory_stride=1.5), 'got 3 and 1.5'),
    (dict(overlap=0.5), r'remove overlap=0.5'),
    (dict(data_prefix=dict(features='features')), 'Online detection reads frames, not features'),
])
def test_declarations_that_cannot_work(make, arguments, message):
    with pytest.raises(DatasetError, match=message):
        make({'a': entry((1, 2, 'jump'))}, **arguments)


def test_packing_asks_for_memory_and_window():
    results = dict(window=Window('v', 0, 4, 1, 10.0, 4), imgs=np.zeros((1, 3, 5, 2, 2), np.uint8),
                   memory_mask=np.ones(2, dtype=bool))
    message = r'expects frames \(1, C, 6, H, W\), got \(1, 3, 5, 2, 2\)'
    with pytest.raises(DatasetError, match=message):
        PackOnlineInputs()(results)
    results['imgs'] = np.zeros((1, 3, 6, 2, 2), np.uint8)
    packed = PackOnlineInputs()(results)  # a video without annotation has no targets
    assert packed['inputs'].shape == (3, 6, 2, 2) and 'frame_targets' not in packed['data_samples']


@pytest.mark.parametrize('name, window', [('thumos14', (32, 128, 4)), ('toy', (32, 32, 2))])
def test_fragments_of_configs_declare_online_datasets(name, window):
    cfg = Config.fromfile(ROOT / f'configs/_base_/datasets/{name}_online.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        dataset = DATASETS.build(dict(loader.dataset, lazy_init=True))
        assert isinstance(dataset, OnlineDetectionDataset)
        assert (dataset.window_size.num_frames, *dataset.history) == window
        kinds = [type(transform) for transform in dataset.pipeline.transforms]
        assert (kinds[0], kinds[-1]) == (SampleOnlineWindow, PackOnlineInputs)
    assert cfg.val_evaluator == cfg.test_evaluator == dict(type='OnlineMetric')
    assert dataset.test_mode and getattr(dataset, 'protocol', None) in (None, 213)


class ArraysOnly(pickle.Unpickler):
    """Reads pickled arrays and refuses everything else."""

    def find_class(self, module: str, name: str):
        """The three names that arrays need."""
        from numpy._core.multiarray import _reconstruct
        return {'_reconstruct': _reconstruct, 'ndarray': np.ndarray, 'dtype': np.dtype}[name]


def test_published_frame_labels_are_these(shared_data):
    """OadTR labels one class a frame, at the end of every sixth frame of the video."""
    folder = shared_data / 'thumos14'
    videos = read_annotations(folder / 'thumos14_official_with_ambiguous.json')
    names = (*THUMOS14_CLASSES, 'Ambiguous')
    published = {}
    with zipfile.ZipFile(folder / 'oadtr_perframe_anno_thumos.zip') as archive:
        for name in archive.namelist():
            published.update(ArraysOnly(io.BytesIO(archive.read(name)), encoding='latin1').load())
    agree = disagree = far = 0
    for video_id in sorted(set(published) - {'video_test_0000270'}):  # its annotation is wrong
        labels, video = published[video_id]['anno'], videos[video_id]
        times = 6 * (1 + np.arange(len(labels))) / video.fps
        classes = np.array([names.index(label) for label in video.labels], dtype=np.int64)
        ours = frame_targets(times, video.segments_seconds, classes, 21)
        wrong = ~(ours * labels).any(axis=1)
        agree, disagree = agree + (~wrong).sum(), disagree + wrong.sum()
        to_boundary = np.abs(times[wrong, None] - video.segments_seconds.reshape(1, -1))
        far += (to_boundary.min(axis=1) > 0.21).sum()
    assert agree / (agree + disagree) > 0.992
    assert far / (agree + disagree) < 0.001


def test_published_sessions_and_classes_are_these(shared_data):
    folder = shared_data / 'thumos14'
    facts = json.loads((folder / 'lstr_data_info_THUMOS.json').read_text())['THUMOS']
    assert facts['class_names'] == ['Background', *THUMOS14_CLASSES, 'Ambiguous']
    for test_mode, key in ((False, 'train_session_set'), (True, 'test_session_set')):
        dataset = THUMOS14OnlineDataset(
            str(folder / 'thumos14_official_with_ambiguous.json'), num_frames=32,
            target_fps=facts['fps'], protocol=213, test_mode=test_mode)
        assert dataset.ignored_labels == ('Ambiguous',)
        assert {item['video_id'] for item in (dataset.get_data_info(i) for i in range(len(dataset)))
                } == set(facts[key])


def test_a_test_item_can_be_a_whole_video(make, read_frame_numbers):
    tiles = make({'a': entry((1, 2, 'throw'))}, test_mode=True)
    dataset = make({'a': entry((1, 2, 'throw'))}, test_mode=True, whole_videos=True)
    whole = dataset[0]
    sample, parts = whole['data_samples'], samples_of(tiles)
    assert len(dataset) == 1
    assert 'memory_mask' not in sample and sample.window.num_frames == 20
    assert whole['inputs'].shape[1] == sample.window.num_valid_frames == 20
    shown = read_frame_numbers(whole['inputs'].transpose(0, 1).numpy())
    np.testing.assert_array_equal(shown, 2 * np.arange(20) + 1)
    targets = torch.cat([part.frame_targets for part in parts])[:20]
    assert torch.equal(sample.frame_targets, targets) and sample.frame_valid.all()


def test_an_unreadable_whole_video_is_one_item(make):
    dataset = make({'a': entry((1, 2, 'throw')), 'bad_b': entry((1, 2, 'jump'))}, test_mode=True,
                   whole_videos=True)
    good, bad = (dataset[index] for index in range(2))
    assert good['data_samples'].error is None
    assert bad['inputs'] is None and 'bad_b' in bad['data_samples'].error


def test_training_spreads_the_history_over_all_of_the_past(make, read_frame_numbers):
    dataset = make({'a': entry((1, 2, 'jump'))}, history_from='spread')
    for index in range(3):
        item = dataset[index]
        start = item['data_samples'].window.first_index
        frames, mask = history_indices(start, 3, 2, 'spread')
        assert torch.equal(item['data_samples'].memory_mask, torch.from_numpy(mask))
        shown = read_frame_numbers(item['inputs'][:, :3].transpose(0, 1).numpy())
        np.testing.assert_array_equal(shown[mask], 2 * frames[mask] + 1)


def test_an_unknown_rule_of_the_history(make):
    with pytest.raises(DatasetError, match="history_from must be one of .*got 'start'"):
        make({'a': entry((1, 2, 'jump'))}, history_from='start')
