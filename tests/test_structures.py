"""Windows and the sample that carries them."""
from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData
from reference.sliding_windows import history_of_window

from sbp_tad.structures import (
    HISTORIES,
    OnlineDataSample,
    TADDataSample,
    Window,
    history_indices,
)

windows = st.builds(
    Window, video_id=st.just('v'), start_frame=st.floats(0, 1e5), num_frames=st.integers(1, 1024),
    stride_frames=st.floats(0.25, 32), fps=st.floats(5, 60), num_valid_frames=st.integers(0, 1024))


def test_window_in_seconds():
    window = Window('v', 30, 100, 4, 20.0, 50)
    assert window.start_seconds == 1.5
    assert window.seconds_per_frame == 0.2
    assert window.valid_end_seconds == pytest.approx(11.5)


def test_grid_zero_is_the_start_of_the_window():
    window = Window('v', 30, 100, 4, 20.0, 100)
    assert window.grid_to_seconds(0, frames_per_step=2) == 1.5
    assert window.grid_to_seconds(50, frames_per_step=2) == pytest.approx(21.5)
    assert window.seconds_to_grid(1.9, frames_per_step=2) == pytest.approx(1.0)


@settings(deadline=None, max_examples=50)
@given(windows, st.floats(0, 2000), st.sampled_from([0.5, 1, 2, 8]))
def test_grid_and_seconds_are_inverse(window, grid, frames_per_step):
    seconds = window.grid_to_seconds(grid, frames_per_step)
    back = window.seconds_to_grid(seconds, frames_per_step)
    np.testing.assert_allclose(back, grid, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize('make', [np.array, torch.tensor])
def test_grid_conversion_takes_arrays(make):
    window = Window('v', 0, 8, 1, 10.0, 8)
    seconds = window.grid_to_seconds(make([[0.0, 4.0]]), 2)
    np.testing.assert_allclose(np.asarray(seconds), [[0.0, 0.8]])


def test_sample_keeps_instances_and_moves():
    sample = TADDataSample(metainfo=dict(video_id='v', error=None))
    sample.gt_instances = InstanceData(segments_seconds=torch.zeros(2, 2), labels=torch.ones(2))
    sample.pred_instances = InstanceData(scores=torch.ones(3))
    half = sample.to(torch.float16)
    assert half.gt_instances.segments_seconds.dtype == torch.float16
    assert len(half.pred_instances) == 3 and half.video_id == 'v'


def test_sample_refuses_other_types():
    with pytest.raises(AssertionError):
        TADDataSample().gt_instances = [1, 2]


def test_what_a_window_shows():
    window = Window('v', 6.0, 8, 4, 10.0, 5)
    assert window.seen_seconds == (window.start_seconds, window.valid_end_seconds)
    seen = Window('v', 6.0, 8, 4, 10.0, 5, margin_frames=6.0).seen_seconds
    assert seen == pytest.approx((0.0, 3.2))
    assert Window('v', 3.0, 8, 4, 10.0, 5, margin_frames=6.0).seen_seconds[0] == 0


def test_window_is_hashable_and_pickles():
    window = Window('v', 1.5, 8, 2, 10.0, 8)
    assert pickle.loads(pickle.dumps(window)) == window
    assert len({window, Window('v', 1.5, 8, 2, 10.0, 8)}) == 1


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**5), st.floats(0.25, 32))
def test_first_index_counts_sampled_frames_of_the_video(index, stride_frames):
    assert Window('v', index * stride_frames, 8, stride_frames, 30.0, 8).first_index == index


def test_online_sample_moves_its_tensors():
    sample = OnlineDataSample(metainfo=dict(window=Window('v', 0, 2, 1, 4.0, 2), error=None))
    sample.memory_mask, sample.frame_targets = torch.ones(3, dtype=torch.bool), torch.eye(2, 4)
    moved = sample.to('meta')
    assert moved.memory_mask.is_meta and moved.frame_targets.is_meta
    assert moved.window.num_frames == 2


@given(start=st.integers(0, 60), memory_frames=st.integers(1, 12), memory_stride=st.integers(1, 5),
       history_from=st.sampled_from(HISTORIES))
def test_a_history_equals_the_loop(start, memory_frames, memory_stride, history_from):
    expected = history_of_window(start, memory_frames, memory_stride, history_from)
    frames, real = history_indices(start, memory_frames, memory_stride, history_from)
    assert [int(frame) if is_real else None for frame, is_real in zip(frames, real)] == expected
    assert frames.dtype == np.int64


def test_the_histories_of_lstr_early_in_a_video():
    """512 s at 4 frames per second, every fourth: frames 0, 4, ... in testing, linspace before."""
    frames, real = history_indices(9, 512, 4, 'oldest')
    assert frames[real].tolist() == [0, 4, 8]
    frames, real = history_indices(1024, 512, 4, 'spread')
    assert frames[real].tolist()[:4] == [0, 2, 4, 6] and frames[-1] == 1023
    frames, real = history_indices(3000, 512, 4, 'spread')
    assert real.all() and (frames[0], frames[-1]) == (952, 2999)
    assert not history_indices(0, 512, 4, 'spread')[1].any()
