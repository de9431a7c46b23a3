"""The base dataset: items, windows, and what happens to bad videos."""
from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from mmengine.dataset import RepeatDataset, pseudo_collate, worker_init_fn
from mmengine.dataset.dataset_wrapper import ClassBalancedDataset, ConcatDataset
from torch.utils.data import DataLoader

from sbp_tad.annotations import AnnotationError, VideoAnnotation
from sbp_tad.datasets import TemporalDetectionDataset, ToyDataset, probe_video
from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.errors import UserError
from sbp_tad.registry import DATASETS

CLASSES = ['jump', 'throw']


def pipeline(decoder: str = 'Decord') -> list[dict]:
    init = [] if decoder == 'PyAVSeek' else [dict(type=f'{decoder}Init')]
    return [*init, dict(type='SampleWindow'), dict(type=f'{decoder}Decode'),
            dict(type='FormatShape', input_format='NCTHW'), dict(type='PackTADInputs')]


def entry(*items: tuple, subset: str = 'training', **timing) -> dict:
    timing = timing or dict(duration=4.0, fps=10)
    return {'subset': subset, **timing,
            'annotations': [{'segment': list(item[:2]), 'label': item[2]} for item in items]}


@pytest.fixture
def make(tmp_path, small_video, write_annotation):
    """Builds a dataset over ``{video: entry}``; a video named bad_* gets no file."""
    def build(database: dict, **arguments):
        (tmp_path / 'videos').mkdir(exist_ok=True)
        for video_id in database:
            target = tmp_path / 'videos' / f'{video_id}.mp4'
            if not video_id.startswith('bad') and not target.exists():
                shutil.copy(small_video, target)
        defaults = dict(type='sbp_tad.TemporalDetectionDataset', data_root=str(tmp_path),
                        ann_file=str(write_annotation(database)), num_frames=8, stride_frames=2,
                        subsets=['training'], metainfo=dict(classes=CLASSES), pipeline=pipeline())
        return DATASETS.build({**defaults, **arguments})
    return build


@pytest.fixture
def lines(monkeypatch) -> list[str]:
    """Messages of the dataset in the log."""
    said: list[str] = []
    monkeypatch.setattr('sbp_tad.datasets.base.print_log', lambda text, *_: said.append(text))
    return said


def infos(dataset) -> list[dict]:
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def test_training_items_are_videos_with_an_action(make):
    database = {'a': entry((1, 2, 'jump')), 'b': entry(), 'c': entry((0, 1, 'throw')),
                'd': entry((0, 1, 'throw'), subset='test')}
    assert [item['video_id'] for item in infos(make(database))] == ['a', 'c']
    kept = make(database, filter_cfg=dict(filter_empty_gt=False))
    assert [item['video_id'] for item in infos(kept)] == ['a', 'b', 'c']
    assert len(kept[1]['data_samples'].gt_instances) == 0
    assert len(make(database, windows_per_video=3)) == 6


def test_a_training_sample(make, read_frame_numbers):
    sample = make({'a': entry((1, 2, 'throw'))})[0]
    assert sample['inputs'].shape == (3, 8, 48, 64) and sample['inputs'].dtype == torch.uint8
    assert sample['data_samples'].gt_instances.labels.tolist() == [1]
    window = sample['data_samples'].window
    shown = read_frame_numbers(sample['inputs'].transpose(0, 1).numpy())
    middles = window.start_frame + 2 * np.arange(8) + 1
    np.testing.assert_array_equal(shown, np.floor(middles))


def test_testing_items_are_windows_that_reach_the_end(make):
    dataset = make({'a': entry((1, 2, 'jump')), 'b': entry(duration=1.0, fps=10)},
                   test_mode=True, overlap=0.25)
    found = [(item['video_id'], item['window'].start_frame, item['window'].num_valid_frames)
             for item in infos(dataset)]
    assert found == [('a', 0, 8), ('a', 12, 8), ('a', 24, 8), ('b', 0, 5)]
    sample = dataset[3]['data_samples']
    assert sample.video_id == 'b' and sample.error is None
    assert len(sample.gt_instances.labels) == 0


def test_target_fps(make):
    dataset = make({'a': entry((1, 2, 'jump'))}, stride_frames=None, target_fps=4, test_mode=True)
    assert dataset.get_data_info(0)['window'].stride_frames == 2.5


def test_missing_timing_is_read_from_the_file(make):
    dataset = make({'a': entry((1, 2, 'jump'), url='x')}, test_mode=True)
    windows = [item['window'] for item in infos(dataset)]
    assert windows[0].fps == 10.0 and windows[-1].valid_end_seconds == pytest.approx(4.0)
    training = make({'a': entry((1, 2, 'jump'), url='x')})
    assert training[0]['data_samples'].window.fps == 10.0


@pytest.mark.parametrize('arguments, error, message', [
    (dict(metainfo=None), DatasetError, 'needs distinct class names, got'),
    (dict(metainfo=dict(classes=['a', 'a'])), DatasetError, 'needs distinct class names'),
    (dict(ignored_labels=['jump']), DatasetError, r"both classes and ignored_labels: \['jump'\]"),
    (dict(subsets=None), DatasetError, r"needs subsets=\['...'\]"),
    (dict(subsets=['train']), AnnotationError, "no video is in subset 'train'"),
    (dict(on_bad_video='ignore'), DatasetError, "'raise' or 'skip', got 'ignore'"),
    (dict(excluded_videos=['a']), DatasetError, 'no video is left in the subsets'),
    (dict(metainfo=dict(classes=['throw'])), AnnotationError, "unknown label 'jump'"),
    (dict(stride_frames=None), DatasetError, 'exactly one of stride_frames and target_fps'),
    (dict(overlap=1), DatasetError, 'overlap must lie in'),
])
def test_declarations_that_cannot_work(make, arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        make({'a': entry((1, 2, 'jump'))}, **arguments)
    assert isinstance(caught.value, UserError)


def test_segment_outside_the_video(make, lines):
    database = {'a': entry((1, 2, 'jump'), (3, 5, 'jump'))}
    with pytest.raises(AnnotationError, match=r"\['a'\].annotations\[1\]: segment \[3, 5\] s lies"):
        make(database)
    video = make(database, out_of_range='clip').get_data_info(0)['annotation']
    np.testing.assert_array_equal(video.segments_seconds, [[1, 2], [3, 4]])
    assert len(lines) == 1 and '1 segment reaches beyond the video and is clipped' in lines[0]


@pytest.mark.parametrize('test_mode', [False, True])
def test_segments_of_zero_length_are_dropped_with_one_warning(make, lines, test_mode):
    """ActivityNet-1.3 has 12, MultiTHUMOS 7."""
    dataset = make({'a': entry((1, 1, 'jump'), (1, 2, 'jump')), 'b': entry((2, 2, 'throw')),
                    'c': entry((0, 1, 'throw'))}, test_mode=test_mode, overlap=0)
    videos = {info['video_id']: info['annotation'] for info in infos(dataset)}
    assert {name: video.labels for name, video in videos.items() if len(video)} == {
        'a': ('jump', ), 'c': ('throw', )}
    assert ('b' in videos) == test_mode  # training leaves videos without an action out
    assert len(lines) == 1 and "2 segments of zero length are dropped: {'a': 1, 'b': 1}" in lines[0]


def test_ignored_labels_are_no_class(make):
    dataset = make({'a': entry((1, 2, 'jump'), (1, 3, 'Ambiguous'))}, ignored_labels=['Ambiguous'])
    assert dataset.get_data_info(0)['annotation'].labels == ('jump',)


def test_mmengine_semantics(make):
    database = {name: entry((1, 2, 'jump')) for name in 'abc'}
    database['c'] = entry((1, 2, 'throw'))
    assert [x['video_id'] for x in infos(make(database, indices=2))] == ['a', 'b']
    assert [x['video_id'] for x in infos(make(database, indices=[2, 0]))] == ['c', 'a']
    assert len(make(database, serialize_data=False)) == 3
    lazy = make(database, lazy_init=True)
    assert lazy.metainfo['classes'] == CLASSES and not lazy._fully_initialized
    lazy.full_init()
    assert len(lazy.get_subset([1])) == 1
    repeated = RepeatDataset(lazy, times=2)
    assert len(repeated) == 6 and repeated[5]['data_samples'].video_id == 'c'
    assert lazy.get_cat_ids(2) == [1]
    assert len(ClassBalancedDataset(lazy, oversample_thr=0.5)) >= 3
    assert len(ConcatDataset([lazy, make(database, indices=1)])) == 4


def test_workers_are_deterministic_and_differ_between_epochs(make):
    dataset = make({name: entry((1, 2, 'jump')) for name in 'abcd'})

    def epochs(seed: int) -> list[list[float]]:
        torch.manual_seed(seed)
        loader = DataLoader(
            dataset, batch_size=2, num_workers=1, collate_fn=pseudo_collate,
            worker_init_fn=lambda i: worker_init_fn(i, 1, 0, seed))
        return [[sample.window.start_frame for batch in loader for sample in batch['data_samples']]
                for _ in range(2)]
    first, second = epochs(5)
    assert [first, second] == epochs(5)
    assert first != second and len(set(first)) == 4


def broken_files(folder: Path, good: Path) -> dict[str, Path]:
    """One file for each way in which a video can fail."""
    content = good.read_bytes()
    files = {name: folder / f'{name}.mp4'
             for name in ('missing', 'empty', 'text', 'truncated', 'audio_only')}
    files['empty'].write_bytes(b'')
    files['text'].write_text('not a video ' * 50)
    files['truncated'].write_bytes(content[:len(content) // 2])
    with av.open(str(files['audio_only']), 'w') as container:
        stream = container.add_stream('aac', rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), 'fltp', 'mono')
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    files['folder'] = folder / 'folder.mp4'
    files['folder'].mkdir()
    return files


BROKEN = {'missing': 'no such video file', 'empty': 'not a readable video',
          'text': 'not a readable video', 'truncated': 'not a readable video',
          'audio_only': 'has no video stream', 'folder': 'not a readable video'}


@pytest.mark.parametrize('kind', BROKEN)
@pytest.mark.parametrize('decoder', ['Decord', 'PyAV', 'OpenCV', 'PyAVSeek'])
def test_every_bad_file_is_named(tmp_path, small_video, make, kind, decoder):
    path = broken_files(tmp_path, small_video)[kind]
    database = {'bad': entry((1, 2, 'jump'))}
    arguments = dict(filename_template=f'../{kind}.mp4', pipeline=pipeline(decoder))
    with pytest.raises(VideoReadError, match=BROKEN[kind]) as caught:
        make(database, **arguments)[0]
    assert path.name in str(caught.value)
    sample = make(database, test_mode=True, **arguments)[0]
    assert sample['inputs'] is None and BROKEN[kind] in sample['data_samples'].error
    assert sample['data_samples'].window.start_frame == 0


def damaged(path: Path, good: Path, first: int) -> Path:
    """A file whose header is whole and whose frames from ``first`` on are noise."""
    with av.open(str(good)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        start, end = packets[first].pos, packets[-1].pos + packets[-1].size
    content = bytearray(good.read_bytes())
    content[start:end] = np.random.default_rng(0).bytes(end - start)
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize('decoder', ['Decord', 'PyAV', 'OpenCV', 'PyAVSeek'])
def test_a_file_without_one_good_frame_is_refused(tmp_path, small_video, make, decoder):
    """OpenCV alone would look for its first frame for ever."""
    (tmp_path / 'videos').mkdir()
    damaged(tmp_path / 'videos' / 'noise.mp4', small_video, first=0)
    dataset = make({'noise': entry((1, 2, 'jump'))}, pipeline=pipeline(decoder))
    with pytest.raises(VideoReadError, match='noise.mp4: not a readable video'):
        dataset[0]


@pytest.mark.parametrize('decoder', ['Decord', 'PyAV', 'PyAVSeek'])
def test_damaged_frames_are_an_error_of_the_video(tmp_path, small_video, make, decoder):
    (tmp_path / 'videos').mkdir()
    damaged(tmp_path / 'videos' / 'noise.mp4', small_video, first=12)
    dataset = make({'noise': entry((2, 3, 'jump'))}, pipeline=pipeline(decoder))
    with pytest.raises(VideoReadError, match=r'noise.mp4: (the video|frame \d+) cannot be decoded'):
        dataset[0]


def test_cut_avi_is_refused_before_a_decoder_crashes(tmp_path):
    path = tmp_path / 'cut.avi'
    path.write_bytes(b'RIFF' + (10**6).to_bytes(4, 'little') + b'AVI ' + bytes(500))
    with pytest.raises(VideoReadError, match=r'cut off \(512 of 1000008 bytes\)'):
        probe_video(path)


def test_probe_counts_and_notices_a_new_file(tmp_path, write_video):
    path = write_video(tmp_path / 'v.mp4', 12, fps=5)
    assert probe_video(path).num_frames == 12
    assert probe_video(path).duration_seconds == pytest.approx(2.4)
    write_video(path, 15, fps=5)
    assert probe_video(path).num_frames == 15


def test_skipping_reports_and_takes_another(make, lines):
    dataset = make({'bad_1': entry((1, 2, 'jump')), 'a': entry((1, 2, 'jump'))},
                   on_bad_video='skip')
    assert [dataset[0]['data_samples'].video_id for _ in range(3)] == ['a'] * 3
    assert len(lines) == 1 and 'bad_1.mp4: no such video file' in lines[0]
    assert list(dataset.bad_videos) == ['bad_1']
    assert 'no such video file' in dataset.bad_videos['bad_1']


def test_only_bad_videos_is_an_error_not_a_loop(make):
    dataset = make({'bad_1': entry((1, 2, 'jump')), 'bad_2': entry((1, 2, 'jump'))},
                   on_bad_video='skip')
    with pytest.raises(VideoReadError, match='no video can be read .2 tried.. The first: .*bad_'):
        dataset[0]


def test_a_test_run_goes_on_after_a_bad_video(make, lines):
    dataset = make({'bad_1': entry((1, 2, 'jump')), 'a': entry((1, 2, 'jump')),
                    'bad_2': entry((1, 2, 'jump'), url='no timing, no file')},
                   test_mode=True, overlap=0.0)
    loader = DataLoader(dataset, batch_size=2, collate_fn=pseudo_collate)
    samples = [sample for batch in loader for sample in batch['data_samples']]
    assert [sample.video_id for sample in samples] == ['bad_1'] * 3 + ['a'] * 3 + ['bad_2']
    assert [sample.error is None for sample in samples] == [False] * 3 + [True] * 3 + [False]
    assert samples[-1].window is None and 'bad_2.mp4' in samples[-1].error
    assert len(lines) == 2, 'once a video'


def test_errors_cross_a_worker(make):
    dataset = make({'bad_1': entry((1, 2, 'jump'))})
    batches = iter(DataLoader(dataset, num_workers=1, collate_fn=pseudo_collate))
    with pytest.raises(VideoReadError, match='bad_1.mp4: no such video file'):
        next(batches)
    with pytest.raises(StopIteration):  # lets the worker end at once
        next(batches)
    assert str(pickle.loads(pickle.dumps(VideoReadError('x.mp4: why')))) == 'x.mp4: why'


class Faulty:
    """A transform with a bug."""

    def __call__(self, results: dict) -> dict:
        raise ValueError('a bug in a transform')


def test_a_bug_in_a_transform_is_no_bad_video(make):
    dataset = make({'a': entry((1, 2, 'jump'))}, pipeline=[*pipeline()[:3], Faulty()],
                   test_mode=True)
    with pytest.raises(ValueError, match='a bug in a transform') as caught:
        dataset[0]
    assert not isinstance(caught.value, UserError)


@pytest.mark.parametrize('timing, message', [
    (dict(duration=4.0, fps=20), 'annotation says 20 fps and 4 s, the file has 10 fps and 4 s'),
    (dict(duration=9.0, fps=10), 'annotation says 10 fps and 9 s, the file has 10 fps and 4 s'),
])
def test_a_file_unlike_its_annotation_is_reported_once(make, lines, timing, message):
    dataset = make({'a': entry((1, 2, 'jump'), **timing)}, test_mode=True)
    samples = [dataset[index]['data_samples'] for index in range(len(dataset))]
    assert len(lines) == 1 and message in lines[0]
    assert all(sample.window.num_valid_frames * sample.window.seconds_per_frame
               <= max(0, 4.0 - sample.window.start_seconds) + 0.2 for sample in samples)


def test_fps_of_a_call_unlike_its_file_is_reported(make, lines, small_video):
    dataset = make({'a': entry((1, 2, 'jump'))}, test_mode=True)
    call = VideoAnnotation('x', '', None, 20.0, None, np.empty((0, 2)), ())
    dataset.read(dataset.file_items(str(small_video), call)[0])
    assert 'the call (--fps) says 20 fps and 4 s, the file has 10 fps' in lines[0]


def test_frames_are_taken_at_the_seconds_of_the_annotation(make, read_frame_numbers):
    dataset = make({'a': entry((1, 2, 'jump'), duration=4.0, fps=20)}, test_mode=True)
    frames = dataset[1]['inputs'].transpose(0, 1).numpy()  # starts at frame 8 of 20 fps: 0.4 s
    np.testing.assert_array_equal(read_frame_numbers(frames), 4 + np.arange(8))


def test_toy_set_is_a_small_declaration(write_annotation):
    path = write_annotation({'v': entry((1, 2, 'approach')),
                             'w': entry((1, 2, 'recede'), subset='test')})
    training = ToyDataset(str(path), num_frames=8, stride_frames=1)
    testing = ToyDataset(str(path), num_frames=8, stride_frames=1, test_mode=True)
    assert training.get_data_info(0)['video_id'] == 'v'
    assert testing.get_data_info(0)['video_id'] == 'w'
    assert len(training.metainfo['classes']) == 6
    assert issubclass(ToyDataset, TemporalDetectionDataset)
