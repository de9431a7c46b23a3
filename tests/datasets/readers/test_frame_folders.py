"""Folders of frames: the windows of the mp4 they were extracted from, or a sentence."""
from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from mmengine.config import Config

from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.datasets.readers.frame_folders import FrameFolders, scan_frames
from sbp_tad.errors import UserError
from sbp_tad.registry import DATASETS

TEMPLATE = 'img_{:05d}.jpg'


def extract(video: Path, folder: Path, first: int = 1, every: int = 1, template: str = TEMPLATE
            ) -> Path:
    """Write every ``every``-th frame of a video as an image file."""
    folder.mkdir(parents=True)
    with av.open(str(video)) as container:
        frames = [frame.to_ndarray(format='bgr24') for frame in container.decode(video=0)]
    for number, frame in enumerate(frames[::every], first):
        cv2.imwrite(str(folder / template.format(number)), frame)
    return folder


def pipeline(*reading: str) -> list[dict]:
    return [*[dict(type=name) for name in reading],
            dict(type='FormatShape', input_format='NCTHW'), dict(type='PackTADInputs')]


@pytest.fixture
def make(tmp_path, small_video, write_annotation):
    """Builds a test set over video ``a``, 40 frames at 10 fps, from its frames or its file."""
    (tmp_path / 'videos').mkdir()
    (tmp_path / 'videos' / 'a.mp4').write_bytes(small_video.read_bytes())

    def build(timing=None, **arguments):
        timing = dict(duration=4.0, fps=10) if timing is None else timing
        database = {'a': {'subset': 'test', **timing,
                          'annotations': [{'segment': [0.5, 2.5], 'label': 'jump'}]}}
        defaults = dict(type='sbp_tad.TemporalDetectionDataset', data_root=str(tmp_path),
                        ann_file=str(write_annotation(database)), num_frames=8, stride_frames=2,
                        subsets=['test'], metainfo=dict(classes=['jump']), test_mode=True,
                        data_prefix=dict(frames='frames'),
                        pipeline=pipeline('SampleWindow', 'RawFrameDecode'))
        return DATASETS.build({**defaults, **arguments})
    return build


@pytest.mark.parametrize('first', [0, 1])
def test_the_windows_of_the_mp4(make, small_video, tmp_path, read_frame_numbers, first):
    extract(small_video, tmp_path / 'frames' / 'a', first)
    frames = make()
    video = make(data_prefix=dict(video='videos'),
                 pipeline=pipeline('DecordInit', 'SampleWindow', 'DecordDecode'))
    assert len(frames) == len(video) == 4
    for one, other in zip(frames, video):
        assert one['data_samples'].window == other['data_samples'].window
        pixels = [item['inputs'].transpose(0, 1).numpy() for item in (one, other)]
        np.testing.assert_array_equal(*map(read_frame_numbers, pixels))
        assert np.abs(pixels[0].astype(float) - pixels[1]).max() <= 3
        assert one['data_samples'].gt_instances.segments_seconds.equal(
            other['data_samples'].gt_instances.segments_seconds)


def test_training_draws_the_same_windows(make, small_video, tmp_path):
    extract(small_video, tmp_path / 'frames' / 'a')
    starts = []
    for arguments in (dict(), dict(data_prefix=dict(video='videos'), pipeline=pipeline(
            'DecordInit', 'SampleWindow', 'DecordDecode'))):
        dataset = make(test_mode=False, **arguments)
        np.random.seed(4)
        starts.append([dataset[0]['data_samples'].window.start_frame for _ in range(3)])
    assert starts[0] == starts[1]


def test_frames_extracted_at_another_rate(make, small_video, tmp_path, read_frame_numbers):
    """Every second frame, so at 5 fps: frames are shown at the moments they were taken."""
    extract(small_video, tmp_path / 'frames' / 'a', every=2)
    with pytest.raises(VideoReadError, match=r'20 frames at 10 fps last 2 s, the annotation '
                       r'says 4 s. Set source=dict\(fps=...\)'):
        make(test_mode=False)[0]
    sample = make(source=dict(fps=5))[0]
    shown = read_frame_numbers(sample['inputs'].transpose(0, 1).numpy())
    np.testing.assert_array_equal(shown, [0, 2, 4, 6, 8, 10, 12, 14])
    assert sample['data_samples'].window.fps == 10


@pytest.mark.parametrize('timing', [dict(duration=4.0), dict(num_frames=40, fps=10), dict(fps=10)])
def test_fps_and_duration_from_what_is_known(make, small_video, tmp_path, timing):
    extract(small_video, tmp_path / 'frames' / 'a')
    window = make(timing)[3]['data_samples'].window
    assert window.fps == 10 and window.valid_end_seconds == pytest.approx(4.0)


def test_other_names_of_frames(make, small_video, tmp_path):
    extract(small_video, tmp_path / 'frames' / 'clip_a', template='frame-{:06}.png')
    (tmp_path / 'frames' / 'clip_a' / 'frame-1.png').write_text('not named alike')
    dataset = make(filename_template='clip_{video_id}', source=dict(
        filename_tmpl='frame-{:06}.png'))
    assert dataset[0]['inputs'].shape == (3, 8, 48, 64)


def fault(kind: str, folder: Path, video: Path) -> None:
    """Bring about one fault of a folder of frames."""
    if kind == 'missing':
        return
    extract(video, folder, first=5 if kind == 'late' else 1)
    if kind in ('empty', 'gap', 'damaged', 'no_bytes'):
        for number in {'gap': (7, 8), 'empty': range(1, 41)}.get(kind, ()):
            (folder / TEMPLATE.format(number)).unlink()
        if kind in ('damaged', 'no_bytes'):
            content = b'not a picture' if kind == 'damaged' else b''
            for number in range(1, 41):
                (folder / TEMPLATE.format(number)).write_bytes(content)


FAULTS = {'missing': 'no such folder of frames', 'empty': "no file name matches 'img_",
          'gap': '2 missing frames before the last one, the first is img_00007.jpg',
          'late': 'the first frame is number 5, expected 0 or 1',
          'damaged': 'cannot be decoded', 'no_bytes': 'cannot be decoded'}


@pytest.mark.parametrize('kind', FAULTS)
def test_every_bad_folder_is_named(make, small_video, tmp_path, kind):
    fault(kind, tmp_path / 'frames' / 'a', small_video)
    with pytest.raises(VideoReadError, match=rf'frames/a: .*{FAULTS[kind]}'):
        make(test_mode=False)[0]
    sample = make()[0]
    assert sample['inputs'] is None and FAULTS[kind] in sample['data_samples'].error


def test_frames_of_different_size_are_scaled_to_the_first(make, small_video, tmp_path):
    folder = extract(small_video, tmp_path / 'frames' / 'a')
    for number in range(20, 41):
        path = str(folder / TEMPLATE.format(number))
        cv2.imwrite(path, cv2.resize(cv2.imread(path), (96, 80)))
    dataset = make()
    assert {dataset[index]['inputs'].shape[2:] for index in range(2)} == {(48, 64)}
    assert dataset[1]['data_samples'].error is None


def test_without_any_timing_the_rate_is_unknown(make, small_video, tmp_path):
    extract(small_video, tmp_path / 'frames' / 'a')
    assert 'the frame rate of these frames is unknown' in make({})[0]['data_samples'].error


def test_a_changed_folder_is_looked_at_again(small_video, tmp_path):
    folder = extract(small_video, tmp_path / 'a')
    assert scan_frames(str(folder), TEMPLATE) == (1, 40)
    (folder / TEMPLATE.format(40)).unlink()
    assert scan_frames(str(folder), TEMPLATE) == (1, 39)


@pytest.mark.parametrize('options, message', [
    (dict(filename_tmpl='img.jpg'), 'one field for the number of the frame'),
    (dict(filename_tmpl='{}_{:05}.jpg'), 'one field for the number of the frame'),
    (dict(fps=0), 'fps must be above 0'), (dict(length_tolerance=-1), 'length_tolerance at least')])
def test_options_that_cannot_work(options, message):
    with pytest.raises(DatasetError, match=message) as caught:
        FrameFolders(**options)
    assert isinstance(caught.value, UserError)


@pytest.mark.parametrize('arguments, message', [
    (dict(data_prefix=dict(frames='a', video='b')), 'must name one folder as one of'),
    (dict(data_prefix=dict(img='a')), r"one of \['video', 'frames', 'features'\]"),
    (dict(source=dict(stride_frames=4)), r"options \['filename_tmpl', .*got also \['stride_fra")])
def test_declarations_that_cannot_work(make, arguments, message):
    with pytest.raises(DatasetError, match=message):
        make(**arguments)


def test_thumos14_from_frames(small_video, tmp_path):
    """The config fragment: both pipelines read frames and end as those of the videos do."""
    root = Path(__file__).parents[3] / 'configs/_base_/datasets'
    (tmp_path / 'annotations').mkdir()
    extract(small_video, tmp_path / 'frames' / 'a')
    for loader, subset in (('train', 'validation'), ('test', 'test')):
        (tmp_path / 'annotations' / 'thumos14.json').write_text(json.dumps(dict(database={
            'a': dict(subset=subset, duration=4.0, fps=10, annotations=[
                dict(segment=[1, 3], label='Diving')])})))
        dataset = Config.fromfile(root / 'thumos14_rawframes.py')[f'{loader}_dataloader'].dataset
        sample = DATASETS.build(dict(dataset, data_root=str(tmp_path), num_frames=4,
                                     _scope_='sbp_tad'))[0]
        assert sample['data_samples'].error is None
        assert sample['inputs'].shape == (3, 4, 112, 112)
