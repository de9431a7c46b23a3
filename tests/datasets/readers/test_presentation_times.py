"""Every second shows the frame that a player shows then, whatever the file."""
from __future__ import annotations

import json

import numpy as np
import pytest
from timed_videos import LATE, NAMES, PHONE, expected_seconds, seconds_of, write_timed

from sbp_tad.datasets import OnlineDetectionDataset, TemporalDetectionDataset, probe_video
from sbp_tad.datasets.errors import VideoReadError

DECODERS = {'PyAVSeek': ['SampleWindow', 'PyAVSeekDecode'],
            'PyAV': ['PyAVInit', 'SampleWindow', 'PyAVDecode'],
            'Decord': ['DecordInit', 'SampleWindow', 'DecordDecode'],
            'OpenCV': ['OpenCVInit', 'SampleWindow', 'OpenCVDecode']}
EVEN = {'steady.mp4', 'steady_b.mkv', 'steady.mpg', 'fragments.mp4', 'raw_30.h264', 'raw_12.hevc',
        'raw.m2v', 'raw_24.m4v', 'joined.ts'}


def make(path, test_mode=True, decoder='PyAVSeek', segments=(), target_fps=8, **entry):
    """A dataset over one file."""
    annotation = path.with_suffix('.json')
    annotation.write_text(json.dumps({'database': {path.stem: {
        'subset': 'test', **entry, 'annotations': [
            {'segment': list(segment), 'label': 'jump'} for segment in segments]}}}))
    return TemporalDetectionDataset(
        str(annotation), data_prefix=dict(video=str(path.parent)), num_frames=16,
        filename_template='{video_id}' + path.suffix, metainfo=dict(classes=['jump']),
        subsets=['test'], target_fps=target_fps, overlap=None, test_mode=test_mode,
        pipeline=[*(dict(type=name) for name in DECODERS[decoder]),
                  dict(type='FormatShape', input_format='NCTHW'), dict(type='PackTADInputs')])


def samples(item):
    """Sampled seconds of a window and the times that their frames show."""
    sample = item['data_samples']
    assert sample.error is None
    window = sample.window
    steps = np.arange(window.num_valid_frames)
    seconds = (window.start_frame + (steps + 0.5) * window.stride_frames) / window.fps
    frames = item['inputs'].numpy().transpose(1, 2, 3, 0)[:len(steps)]
    return seconds, np.array([seconds_of(frame) for frame in frames])


def check(dataset, times):
    for index in range(len(dataset)):
        seconds, shown = samples(dataset[index])
        np.testing.assert_allclose(shown, expected_seconds(times, seconds), atol=0.006)


@pytest.mark.parametrize('name', NAMES)
def test_test_windows(name, timed_files):
    path, times = timed_files[name]
    dataset = make(path)
    check(dataset, times)
    end = dataset.get_data_info(len(dataset) - 1)['window'].valid_end_seconds
    assert times[-1] < end < times[-1] + 0.04 + 1 / 8 + 0.05


@pytest.mark.parametrize('name', NAMES)
def test_an_annotated_rate_does_not_move_the_frames(name, timed_files):
    """Windows count in frames of the annotation, at 30 per second here."""
    path, times = timed_files[name]
    check(make(path, fps=30, duration=float(times[-1])), times)


@pytest.mark.parametrize('name', NAMES)
def test_training_windows(name, timed_files):
    path, times = timed_files[name]
    segment = (float(times[len(times) // 2]) - 0.2, float(times[len(times) // 2]) + 0.3)
    np.random.seed(0)
    dataset = make(path, test_mode=False, segments=[segment])
    for _ in range(4):
        item = dataset[0]
        seconds, shown = samples(item)
        np.testing.assert_allclose(shown, expected_seconds(times, seconds), atol=0.006)
        target = item['data_samples'].gt_instances.segments_seconds.numpy()
        seen = item['data_samples'].window.seen_seconds
        np.testing.assert_allclose(target, [np.clip(segment, *seen)])


@pytest.mark.parametrize('decoder', ['PyAV', 'Decord'])
@pytest.mark.parametrize('name', ['steady_b.mkv', 'phone_b.mp4', 'phone.mp4', 'screen.webm',
                                  'gap_mpeg4.avi', 'late.mkv', 'late.mp4'])
def test_decoders_that_count_frames_show_the_same(name, decoder, timed_files):
    path, times = timed_files[name]
    check(make(path, decoder=decoder), times)


@pytest.mark.parametrize('decoder', ['PyAV', 'Decord', 'OpenCV'])
@pytest.mark.parametrize('name', NAMES)
def test_decoders_of_mmaction_show_the_right_frames_or_are_refused(name, decoder, timed_files):
    path, times = timed_files[name]
    dataset = make(path, decoder=decoder)
    error = dataset[0]['data_samples'].error
    if error is None:
        check(dataset, times)
    else:
        assert decoder != 'PyAV' or name in ('cover.mp4', 'cover.mkv')
        assert name not in ('steady.mp4', 'steady_b.mkv') and str(path) in error


@pytest.mark.parametrize('name', NAMES)
def test_equal_spacing_is_recognized(name, timed_files):
    path, times = timed_files[name]
    header = probe_video(path)
    assert header.clock.is_even == (name in EVEN) and header.num_frames == len(times)
    np.testing.assert_allclose(header.clock.seconds(np.arange(len(times))), times, atol=0.006)


def test_a_gap_does_not_change_the_rate(timed_files):
    assert probe_video(timed_files['gap.mp4'][0]).fps == pytest.approx(25)
    assert probe_video(timed_files['late.mp4'][0]).fps == pytest.approx(25)
    phone = probe_video(timed_files['phone.mp4'][0])
    assert phone.fps == pytest.approx(len(PHONE) / phone.duration_seconds)


def test_a_late_track_shows_its_first_frame_before(timed_files):
    seconds, shown = samples(make(timed_files['late.mp4'][0])[0])
    assert (shown[seconds < LATE[0]] == LATE[0]).all() and (seconds < LATE[0]).sum() > 5
    assert probe_video(timed_files['late.mp4'][0]).duration_seconds == pytest.approx(3.6, abs=1e-3)


def test_a_cover_picture_is_refused_where_a_decoder_would_show_it(timed_files):
    dataset = make(timed_files['cover.mp4'][0], decoder='PyAV')
    assert 'the first video track is a cover picture' in dataset[0]['data_samples'].error


def test_a_file_that_only_the_default_decoder_opens(tmp_path):
    """Decord finds no length in a transport stream of variable rate."""
    times = np.r_[np.arange(20), np.arange(40, 60)] / 25
    path = write_timed(tmp_path / 'x.ts', times, file_format='mpegts')
    error = make(path, decoder='Decord')[0]['data_samples'].error
    assert 'x.ts: the video cannot be decoded' in error
    assert 'Use PyAVSeekDecode (without ...Init), replace the file, or set on_bad' in error
    assert make(path)[0]['data_samples'].error is None


def test_only_a_cover_picture_is_a_sentence(timed_files, tmp_path):
    content = timed_files['cover.mp4'][0].read_bytes()
    path = tmp_path / 'x.mp4'
    path.write_bytes(content.replace(b'trak', b'free'))
    with pytest.raises(VideoReadError, match='x.mp4: the file has only a cover picture'):
        probe_video(path)


def test_the_last_frame_may_last_long(tmp_path):
    """A recording of a still screen ends with one long frame."""
    times = np.r_[np.arange(25) / 25, 5.0]
    path = write_timed(tmp_path / 'x.mkv', times, shown=np.minimum(times, 0.96))
    assert probe_video(path).duration_seconds == pytest.approx(5.04, abs=0.05)


@pytest.mark.parametrize('name', NAMES)
def test_history_and_working_frames_of_online_windows(name, timed_files):
    path, times = timed_files[name]
    (path.parent / 'online.json').write_text(json.dumps({'database': {path.name: {
        'subset': 'test', 'annotations': []}}}))
    dataset = OnlineDetectionDataset(
        str(path.parent / 'online.json'), data_prefix=dict(video=str(path.parent)), num_frames=8,
        filename_template='{video_id}', metainfo=dict(classes=['jump']), subsets=['test'],
        target_fps=8, test_mode=True, memory_frames=4, memory_stride=2,
        pipeline=[dict(type='SampleOnlineWindow'), dict(type='PyAVSeekDecode'),
                  dict(type='FormatShape', input_format='NCTHW'), dict(type='PackOnlineInputs')])
    for index in range(len(dataset)):
        item = dataset[index]
        window = item['data_samples'].window
        steps = np.r_[[-8, -6, -4, -2], np.arange(window.num_valid_frames)] + 0.5
        seconds = window.start_seconds + steps * window.seconds_per_frame
        frames = item['inputs'].numpy().transpose(1, 2, 3, 0)[:len(steps)]
        np.testing.assert_allclose([seconds_of(frame) for frame in frames],
                                   expected_seconds(times, seconds), atol=0.006)
