"""Laws of the window arithmetic."""
from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.frame_clock import FrameClock
from sbp_tad.datasets.windows import (
    WindowSize,
    clip_segments,
    draw_window_start,
    frame_indices,
    inside_share,
    num_valid_frames,
    sliding_window_starts,
    sliding_windows,
    trim_window,
)
from sbp_tad.structures import Window

quick = settings(deadline=None, max_examples=80)
overlaps = st.floats(0, 1, exclude_max=True)


@quick
@given(st.floats(1, 2000), st.floats(0.5, 400), overlaps)
def test_sliding_windows_cover_the_video_and_its_tail(video_frames, span, overlap):
    starts = sliding_window_starts(video_frames, span, overlap)
    assert starts[0] == 0
    assert starts[-1] + span >= video_frames - 1e-6
    assert (starts >= 0).all() and (starts <= max(0, video_frames - span)).all()
    assert (np.diff(starts) >= 0).all()
    step = max(min(1.0, span), span * (1 - overlap))
    assert (np.diff(starts) <= step + 1e-5).all(), 'neighbours overlap at least as asked'
    assert (np.diff(starts) <= span + 1e-5).all(), 'no gap'


@pytest.mark.parametrize('video_frames, overlap, expected', [
    (50, 0.5, [0]), (100, 0.5, [0]), (101, 0.5, [0, 1]), (250, 0.0, [0, 100, 150]),
    (200, 0.0, [0, 100]), (200, 0.5, [0, 50, 100]), (230, 0.25, [0, 75, 130]),
])
def test_sliding_windows_by_hand(video_frames, overlap, expected):
    np.testing.assert_allclose(sliding_window_starts(video_frames, 100, overlap), expected)


@pytest.mark.parametrize('overlap', [-0.1, 1.0, 25, math.nan])
def test_overlap_outside_its_range_is_refused(overlap):
    with pytest.raises(DatasetError, match=r'overlap must lie in \[0, 1\), got'):
        sliding_window_starts(10, 5, overlap)


@pytest.mark.parametrize('arguments, message', [
    (dict(num_frames=8), 'exactly one of stride_frames and target_fps'),
    (dict(num_frames=8, stride_frames=1, target_fps=5), 'exactly one'),
    (dict(num_frames=0, stride_frames=1), 'num_frames must be above 0, got 0'),
    (dict(num_frames=8, stride_frames=-1), 'stride_frames must be above 0, got -1'),
    (dict(num_frames=8, target_fps=math.nan), 'target_fps must be above 0, got nan'),
    (dict(num_frames=8.5, target_fps=4), 'num_frames must be a whole number, got 8.5'),
])
def test_window_size_validates_itself(arguments, message):
    with pytest.raises(DatasetError, match=message):
        WindowSize(**arguments)


def test_window_size_at_a_target_fps():
    size = WindowSize(96, target_fps=10)
    assert size.stride_at(25) == 2.5
    window = size.window('v', 5.0, 25.0, 1000)
    assert window == Window('v', 5.0, 96, 2.5, 25.0, 96)
    assert window.seconds_per_frame == pytest.approx(0.1)


@pytest.mark.parametrize('start, video_frames, expected', [
    (0, 32, 8), (0, 31, 8), (0, 28, 7), (0, 29, 8), (0, 1, 1), (4, 32, 7), (40, 32, 0),
    (0, 3.2 * 10, 8), (0.1 + 0.2, 28.3, 7),
])
def test_valid_frames_begin_inside_the_video(start, video_frames, expected):
    assert num_valid_frames(start, 8, 4, video_frames) == expected


@quick
@given(st.floats(0, 500), st.integers(1, 200), st.floats(0.2, 12), st.integers(1, 500),
       st.floats(5, 60), st.floats(5, 60))
def test_frames_lie_inside_the_file_in_order(start, num_frames, stride, file_frames, fps, file_fps):
    window = Window('v', start, num_frames, stride, fps, num_frames)
    indices = frame_indices(window, FrameClock(file_frames, file_fps))
    assert indices.shape == (num_frames,) and indices.dtype == np.int64
    assert (0 <= indices).all() and (indices < file_frames).all()
    assert (np.diff(indices) >= 0).all()


@quick
@given(st.floats(0, 50), st.integers(1, 64), st.floats(0.5, 8), st.floats(5, 60), st.floats(5, 60))
def test_a_frame_shows_the_middle_of_its_time(start, num_frames, stride, fps, file_fps):
    window = Window('v', start, num_frames, stride, fps, num_frames)
    indices = frame_indices(window, FrameClock(10**9, file_fps))
    middles = window.start_seconds + (np.arange(num_frames) + 0.5) * window.seconds_per_frame
    shown_from, shown_until = indices / file_fps, (indices + 1) / file_fps
    assert (shown_from <= middles + 1e-6).all() and (middles < shown_until + 1e-6).all()


@pytest.mark.parametrize('fps', [10.0, 25.0, 29.97, 30.0, 23.976])
def test_the_first_frames_of_strides_are_multiples_of_it(fps):
    """As published: frames 0, 4, 8 and so on, whatever rounding does to their seconds."""
    window = Window('v', 0, 5000, 4, fps, 5000)
    indices = frame_indices(window, FrameClock(10**9, fps), frame='first')
    np.testing.assert_array_equal(indices, np.arange(0, 20000, 4))


def test_frames_by_hand():
    window = Window('v', 2, 5, 4, 10.0, 5)
    np.testing.assert_array_equal(frame_indices(window, FrameClock(100, 10.0)), [4, 8, 12, 16, 20])
    np.testing.assert_array_equal(frame_indices(window, FrameClock(100, 20.0)), [8, 16, 24, 32, 40])
    np.testing.assert_array_equal(frame_indices(window, FrameClock(11, 10.0)), [4, 8, 10, 10, 10])
    first = frame_indices(window, FrameClock(100, 10.0), frame='first')
    np.testing.assert_array_equal(first, [2, 6, 10, 14, 18])
    every = Window('v', 0, 6, 1, 10.0, 6)
    np.testing.assert_array_equal(frame_indices(every, FrameClock(100, 10.0)), np.arange(6))


@quick
@given(st.floats(0, 200), st.integers(1, 64), st.floats(0.5, 8), st.floats(1, 300))
def test_valid_frames_show_the_video_and_the_rest_repeats(start, num_frames, stride, seconds):
    fps = 10.0
    size = WindowSize(num_frames, stride)
    window = size.window('v', start, fps, seconds * fps)
    begins = start + np.arange(num_frames) * stride
    valid = np.arange(num_frames) < window.num_valid_frames
    np.testing.assert_array_equal(valid, begins < seconds * fps - 1e-6 * stride)


@pytest.mark.parametrize('seconds, expected', [(100, 6), (2.0, 5), (0.4, 1), (0.0, 0)])
def test_trim_never_counts_frames_beyond_the_file(seconds, expected):
    window = Window('v', 0, 8, 4, 10.0, 6)
    assert trim_window(window, seconds).num_valid_frames == expected
    later = Window('v', 50, 8, 4, 10.0, 8)
    assert trim_window(later, 3.0).num_valid_frames == 0, 'wholly beyond the file'


def test_share_of_long_segments_counts_the_window():
    segments = np.array([[0.0, 4.0], [8.0, 12.0], [-50.0, 50.0], [20.0, 30.0]])
    np.testing.assert_allclose(inside_share(segments, 2, 10), [0.5, 0.5, 1.0, 0.0])


@pytest.mark.parametrize('min_keep_share, kept, clipped', [
    (0.5, [True, True, False], [[0, 4], [6, 10]]),
    (0.51, [True, False, False], [[0, 4]]),
    (0.0, [True, True, True], [[0, 4], [6, 10], [9, 10]]),
])
def test_clip_or_drop_by_hand(min_keep_share, kept, clipped):
    segments = np.array([[0.0, 4.0], [6.0, 14.0], [9.0, 19.0]])
    result, mask = clip_segments(segments, 0.0, 10.0, min_keep_share)
    np.testing.assert_array_equal(mask, kept)
    np.testing.assert_array_equal(result, clipped)


def test_nothing_is_kept_in_an_empty_window():
    result, kept = clip_segments(np.array([[0.0, 4.0]]), 3.0, 3.0, 0.5)
    assert result.shape == (0, 2) and not kept.any()


actions = st.lists(st.tuples(st.floats(0, 900), st.floats(0.5, 400)), min_size=1, max_size=6)


def inside(items: list, video_frames: float) -> np.ndarray:
    segments = np.array([(start, start + length) for start, length in items])
    return segments[segments[:, 0] < video_frames - 0.1].clip(0, video_frames)


@quick
@given(actions, st.floats(50, 1000), st.floats(4, 300), st.floats(0.05, 1), st.integers(0, 2**31))
def test_drawn_windows_hold_an_action_and_lie_in_the_video(items, video_frames, span, share, seed):
    segments = inside(items, video_frames)
    start = draw_window_start(np.random.default_rng(seed), segments, video_frames, span, share)
    assert 0 <= start <= max(0, video_frames - span)
    if len(segments):
        assert inside_share(segments, start, start + span).max() >= share - 1e-6
        clipped, kept = clip_segments(segments, start, start + span, share)
        assert len(clipped) >= 1
        assert (clipped >= start).all() and (clipped <= start + span).all()
        assert (inside_share(segments[kept], start, start + span) >= share - 1e-6).all()


def test_drawn_windows_reach_both_ends_and_differ():
    rng = np.random.default_rng(0)
    segments = np.array([[0.0, 20.0], [980.0, 1000.0]])
    starts = [draw_window_start(rng, segments, 1000, 100, 0.75) for _ in range(400)]
    assert min(starts) < 1 and max(starts) > 899
    assert len(set(starts)) == 400
    assert 100 < sum(start < 500 for start in starts) < 300, 'both actions are drawn'


def test_windows_without_actions_lie_anywhere():
    rng = np.random.default_rng(0)
    starts = [draw_window_start(rng, np.zeros((0, 2)), 1000, 100, 0.75) for _ in range(400)]
    assert min(starts) < 20 and max(starts) > 880


def test_drawing_follows_the_seed():
    segments = np.array([[100.0, 200.0]])
    first, second = (draw_window_start(np.random.default_rng(7), segments, 1000, 150, 0.5)
                     for _ in range(2))
    assert first == second


@pytest.mark.parametrize('overlap', [None, 0.5])
def test_a_rounded_duration_gives_the_windows_of_the_file(overlap):
    size = WindowSize(96, stride_frames=2)
    of_file = sliding_windows('v', size, 12.0, 280.0, overlap)
    of_annotation = sliding_windows('v', size, 12.0, 23.3333 * 12, overlap)
    assert of_annotation == of_file and of_file[-1].start_frame in (88.0, 192.0)
