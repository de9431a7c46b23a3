"""The benchmark of decoders: its video, readers and figures, and the default that they justify."""
from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks import decoding
from benchmarks.decoders import (
    DecodingSettings,
    default_transforms,
    measure_decoding,
    readers,
    window_indices,
    write_benchmark_video,
)
from benchmarks.errors import BenchmarkError
from sbp_tad.apis.command_line import run_main

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / 'benchmarks' / 'results' / 'decoding_128x4_320x180.json'
SMALL = DecodingSettings(gop=12, seconds=3, fps=10, width=64, height=48, num_frames=5, windows=2,
                         repeats=1)


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp('benchmark') / 'small.mp4'
    write_benchmark_video(path, SMALL)
    return str(path)


def test_video_is_what_the_settings_say(video):
    with av.open(video) as container:
        frames = list(container.decode(video=0))
    assert (len(frames), frames[0].width, frames[0].height) == (30, 64, 48)
    assert [i for i, frame in enumerate(frames) if frame.key_frame] == [0, 12, 24]


def test_every_reader_gives_the_same_frames(video):
    bare, pipelines = readers(slow=True)
    assert set(bare) == {'OpenCV', 'PyAV', 'decord'} and len(pipelines) == 4
    for result in measure_decoding(video, SMALL, bare, pipelines):
        assert result.same_frames and result.cpu_seconds > 0 and result.wall_seconds > 0


def test_other_frames_are_noticed(video):
    bare, _ = readers()
    wrong = {'wrong': lambda filename, window: bare['PyAV'](filename, window)[::-1]}
    results = measure_decoding(video, SMALL, bare, wrong)
    assert [result.same_frames for result in results] == [True, True, True, False]


def test_ratios_are_to_the_fastest_bare_decoder(video, monkeypatch):
    """Of each window the fastest repeat counts, of the windows the mean."""
    frames = readers()[0]['PyAV'](video, SMALL.places()[0])
    clock = {'now': 0.0, 'reads': 0}
    durations = {'slow': [9, 4, 6, 8, 8], 'fast': [9, 2, 3, 2, 1], 'pipeline': [9, 3, 3, 3, 6]}

    def reader(name):
        calls = iter(durations[name])  # one to compare, then two windows twice

        def read(filename, window):
            clock['now'] += next(calls)
            return frames
        return read

    monkeypatch.setattr(time, 'process_time', lambda: clock['now'])
    monkeypatch.setattr(time, 'perf_counter', lambda: 2 * clock['now'])
    settings = DecodingSettings(**{**SMALL.__dict__, 'repeats': 2})
    slow, fast, pipeline = measure_decoding(
        video, settings, {name: reader(name) for name in ('slow', 'fast')},
        {'pipeline': reader('pipeline')})
    assert (slow.cpu_seconds, fast.cpu_seconds, pipeline.cpu_seconds) == (5, 1.5, 3)
    assert (fast.wall_seconds, fast.cpu_ratio, fast.wall_ratio) == (3, 1, 1)
    assert pipeline.cpu_ratio == pipeline.wall_ratio == 2 and not pipeline.bare


def test_only_installed_decoders_are_measured(absent):
    absent('decord')
    assert importlib.util.find_spec('decord') is None
    bare, pipelines = readers()
    assert list(bare) == ['OpenCV', 'PyAV']
    assert list(pipelines) == ['SampleWindow, PyAVSeekDecode']


def test_default_is_that_of_the_configs():
    assert [transform['type'] for transform in default_transforms()] == [
        'SampleWindow', 'PyAVSeekDecode']


@pytest.mark.parametrize('numbers, message', [
    (dict(gop=0), '--gop must be at least 1, got 0'),
    (dict(repeats=0), '--repeats must be at least 1, got 0'),
    (dict(seconds=10), 'spans 512 frames, the file has 300; choose more --seconds')])
def test_impossible_settings_are_sentences(numbers, message):
    with pytest.raises(BenchmarkError, match=message):
        DecodingSettings(**numbers)


def test_windows_lie_inside_the_file():
    places = DecodingSettings(windows=4).places()
    assert len({window.start_frame for window in places}) == 4
    assert all(0 < window.start_frame and window.start_frame + 512 < 1800 for window in places)


def test_committed_figures_justify_the_default():
    """The default pipeline is within 1.1 of the fastest bare decoder, and the fastest pipeline."""
    rows = json.loads(COMMITTED.read_text())
    assert {row['gop'] for row in rows} == {48, 250}
    for gop in (48, 250):
        measured = {row['reader']: row for row in rows if row['gop'] == gop}
        settings = DecodingSettings(gop=gop)
        for row in measured.values():
            assert row['same_frames'] and row['stride_frames'] == settings.stride_frames
            assert (row['num_frames'], row['width'], row['height']) == (128, 320, 180)
        default = measured[', '.join(item['type'] for item in default_transforms())]
        assert default['cpu_ratio'] <= 1.1 and default['wall_ratio'] <= 1.1
        assert default['cpu_seconds'] == min(row['cpu_seconds'] for row in measured.values()
                                             if not row['bare'])


@pytest.mark.nightly  # compares two speeds, which a busy machine disturbs
@pytest.mark.parametrize('gop', [48, 250])
def test_default_pipeline_is_as_fast_as_the_fastest_bare_decoder(gop, tmp_path):
    path = str(tmp_path / 'video.mp4')
    settings = DecodingSettings(gop=gop, repeats=6)
    write_benchmark_video(path, settings)
    bare, pipelines = readers()
    default = next(iter(pipelines))
    result = measure_decoding(path, settings, bare, {default: pipelines[default]})[-1]
    assert result.reader == default and result.same_frames
    assert result.cpu_ratio <= 1.1


@pytest.fixture
def run(capsys):
    """Call the program; (status, stdout, stderr)."""

    def call(*arguments):
        with pytest.raises(SystemExit) as caught:
            run_main(decoding.main, list(map(str, arguments)))
        return (caught.value.code, *capsys.readouterr())
    return call


TINY = ('--seconds', 3, '--width', 64, '--height', 48, '--num-frames', 5, '--windows', 1,
        '--repeats', 1)


def test_tool_prints_and_writes(run, tmp_path):
    status, printed, errors = run(*TINY, '--gop', 12, 30, '--json', tmp_path / 'out.json')
    assert (status, errors) == (0, '')
    rows = json.loads((tmp_path / 'out.json').read_text())
    bare, pipelines = readers()
    assert [(row['gop'], row['reader']) for row in rows] == [
        (gop, name) for gop in (12, 30) for name in (*bare, *pipelines)]
    assert min(row['cpu_ratio'] for row in rows if row['bare']) == 1
    for text in ('a key frame every 12', 'bare OpenCV', 'SampleWindow, PyAVSeekDecode', 'same'):
        assert text in printed


def test_tool_says_what_cannot_be(run, tmp_path):
    assert 'gop must be at least 1' in run(*TINY, '--gop', 0)[2]
    status, _, errors = run(*TINY, '--gop', 12, '--json', tmp_path / 'absent' / 'out.json')
    assert status == 2 and 'Cannot write the results to' in errors


def test_reading_a_window_of_the_frames_it_names(video):
    window = SMALL.places()[0]
    assert window_indices(video, window) == list(
        range(int(window.start_frame) + 2, int(window.start_frame) + 20, 4))
    assert np.stack(readers()[0]['PyAV'](video, window)).shape == (5, 48, 64, 3)
