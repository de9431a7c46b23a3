"""Sources of frames: files, cameras, iterables; which frame stands for which step."""
from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timed_videos import NAMES, expected_seconds, seconds_of

from sbp_tad.apis.errors import InferenceError
from sbp_tad.apis.inference import stream_sources
from sbp_tad.apis.inference.stream_sources import FrameStream, open_stream, sample_stream
from sbp_tad.datasets import probe_video
from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.datasets.frame_clock import FrameClock
from sbp_tad.datasets.windows import WindowSize, frame_indices, sliding_windows


class Camera:
    """Stands in for OpenCV's: three blue frames, half a second apart."""

    clock = 0.0
    released = 0

    def __init__(self, index):
        self.index, self.left = index, 3

    def isOpened(self):
        return self.index == 0

    def get(self, name):
        return 10.0 if name == cv2.CAP_PROP_FPS else 0.0

    def read(self):
        if not self.left:
            return False, None
        self.left -= 1
        Camera.clock += 0.5
        return True, np.full((4, 6, 3), (255, 0, 0), np.uint8)

    def release(self):
        Camera.released += 1


@pytest.fixture
def camera(monkeypatch):
    monkeypatch.setattr(stream_sources.cv2, 'VideoCapture', Camera)
    monkeypatch.setattr(stream_sources.time, 'monotonic', lambda: Camera.clock)
    monkeypatch.setattr(Camera, 'clock', 0.0)
    monkeypatch.setattr(Camera, 'released', 0)
    return Camera


@settings(deadline=None, max_examples=60)
@given(num_frames=st.integers(1, 300), fps=st.sampled_from([5, 10, 12, 23.976, 25, 29.97, 30]),
       target_fps=st.sampled_from([1, 3, 4, 6, 10, 24]), length=st.integers(1, 40))
def test_steps_show_the_frames_that_windows_sample(num_frames, fps, target_fps, length):
    size = WindowSize(length, target_fps=target_fps)
    expected = np.concatenate([
        frame_indices(window, FrameClock(num_frames, fps))[:window.num_valid_frames]
        for window in sliding_windows('v', size, fps, num_frames, None)])
    frames = ((number, number) for number in range(num_frames))
    assert list(sample_stream(FrameStream(fps, frames), size)) == expected.tolist()


def test_a_step_comes_with_its_frame_and_not_later():
    taken = []

    def frames():
        for number in range(8):
            taken.append(number)
            yield number, number
    steps = sample_stream(FrameStream(12, frames()), WindowSize(8, target_fps=3))
    assert next(steps) == 2 and taken == [0, 1, 2]
    assert next(steps) == 6 and taken[-1] == 6


def test_no_frames_are_no_steps():
    assert list(sample_stream(FrameStream(10, iter(())), WindowSize(8, target_fps=4))) == []


def test_a_file_is_streamed_in_order(small_video, read_frame_numbers):
    stream = open_stream(small_video)
    frames = [stream.pixels(frame) for _, frame in stream.frames]
    assert stream.fps == 10 and frames[0].dtype == np.uint8 and stream.clock.is_even
    assert read_frame_numbers(np.stack(frames)).tolist() == list(range(40))
    assert open_stream(small_video, 5).fps == 5  # the rate in which stride_frames counts


@pytest.mark.parametrize('name', NAMES)
def test_a_file_is_sampled_as_in_testing(name, timed_files):
    """Steps of a stream show what a player shows in the middle of their stride."""
    path, times = timed_files[name]
    stream = open_stream(path)
    shown = [seconds_of(stream.pixels(frame))
             for frame in sample_stream(stream, WindowSize(16, target_fps=8))]
    seconds = (np.arange(len(shown)) + 0.5) / 8
    assert len(shown) == np.ceil(probe_video(path).duration_seconds * 8 - 1e-6)
    np.testing.assert_allclose(shown, expected_seconds(times, seconds), atol=0.006)


def test_a_camera_is_timed_by_the_clock(camera):
    stream = open_stream(0)
    numbers, frames = zip(*stream.frames)
    assert stream.fps == 10 and numbers == (5, 10, 15) and camera.released == 1
    assert frames[0].shape == (4, 6, 3) and frames[0][0, 0].tolist() == [0, 0, 255]  # RGB
    size = WindowSize(8, target_fps=2)
    letters = FrameStream(10, iter(zip(numbers, 'abc')))  # a at 0.5 s, b at 1 s, c at 1.5 s
    assert list(sample_stream(letters, size)) == ['a', 'a', 'b', 'c']  # 0.25, 0.75, 1.25, 1.75 s


def test_a_camera_is_released_when_nobody_listens_any_more(camera):
    frames = open_stream(0).frames
    next(frames)
    frames.close()
    assert camera.released == 1


def test_what_is_no_source_is_refused(camera, tmp_path, monkeypatch):
    with pytest.raises(InferenceError, match='camera 3 does not exist'):
        open_stream(3)
    with pytest.raises(InferenceError, match='must be a video file, the index of a camera or'):
        open_stream(True)
    with pytest.raises(InferenceError, match='an iterable of frames has no frame rate; give fps'):
        open_stream(iter(()))
    with pytest.raises(InferenceError, match='fps must be above 0, got -1'):
        open_stream(0, fps=-1)
    with pytest.raises(VideoReadError, match='no such video file'):
        open_stream(tmp_path / 'absent.mp4')
    monkeypatch.setattr(Camera, 'get', lambda self, name: 0.0)
    with pytest.raises(InferenceError, match='camera 0 does not report its frame rate'):
        open_stream(0)
    assert camera.released == 1 and open_stream(0, fps=5).fps == 5


@pytest.mark.parametrize(('item', 'what'), [
    (np.zeros((4, 4), np.uint8), r'uint8 of shape \(4, 4\)'),
    (np.zeros((4, 4, 3)), r'float64 of shape \(4, 4, 3\)'),
    (np.zeros((4, 4, 4), np.uint8), r'uint8 of shape \(4, 4, 4\)'), ('frame', 'got str')])
def test_an_item_that_is_no_frame_is_refused(item, what):
    with pytest.raises(InferenceError, match='a frame must be an array') as caught:
        list(open_stream([item], fps=5).frames)
    assert caught.match(what)
