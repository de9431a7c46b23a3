"""Clock of a video: seconds to frames and back."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp_tad.datasets.frame_clock import FrameClock, clock_of_ticks


@settings(deadline=None, max_examples=100)
@given(gaps=st.lists(st.integers(1, 900), min_size=1, max_size=30), origin=st.integers(-50, 50),
       seconds=st.lists(st.integers(-100, 9000), min_size=1, max_size=20))
def test_the_last_frame_that_has_begun(gaps, origin, seconds):
    ticks = origin + np.cumsum(gaps)
    clock = FrameClock(len(ticks), 25.0, 10.0, ticks, 1e-3, origin)
    expected = [max([0, *(i for i, tick in enumerate(ticks - origin) if tick <= second)])
                for second in seconds]  # whole milliseconds
    for fps in (1.0, 29.97, 1000.0):
        positions = np.array(seconds) / 1000 * fps
        assert clock.indices(positions, fps).tolist() == expected
    np.testing.assert_allclose(clock.seconds(np.arange(len(ticks))), np.cumsum(gaps) / 1000)


def test_equal_spacing_is_arithmetic():
    clock = FrameClock(40, 10.0)
    assert clock.is_even and clock.end_seconds == 4.0
    assert clock.indices(np.array([-1.0, 0, 0.99, 5, 39.5, 99]), 10.0).tolist() == [
        0, 0, 0, 5, 39, 39]
    assert clock.indices(np.array([[10.0]]), 20.0).tolist() == [[5]]  # 0.5 s
    assert clock.seconds(np.array([5])).tolist() == [0.5]


@pytest.mark.parametrize('fps, tick', [(30, 1e-3), (30000 / 1001, 1e-3), (25, 1 / 12800),
                                       (30000 / 1001, 1 / 90000), (25, 1 / 25)])
def test_rounded_times_are_equally_spaced(fps, tick):
    """Matroska rounds to milliseconds; that does not part frames from their numbers."""
    ticks = np.round(np.arange(5000) / fps / tick).astype(np.int64)
    clock = clock_of_ticks(ticks, tick, 0, int(ticks[-1] + 1 / fps / tick), [fps])
    assert clock == FrameClock(5000, fps)


def test_the_nominal_rate_counts_where_frames_are_missing():
    """Every other frame of the first half is missing; an annotation of the video says 30 fps."""
    ticks = np.r_[np.arange(0, 50, 2), np.arange(50, 100)] * 100
    clock = clock_of_ticks(ticks, 1 / 3000, 0, 10000, [22.5, 30.0])
    assert not clock.is_even and clock.fps == 30
    assert clock.indices(np.array([0.9, 1.5, 2.0]), 1.0).tolist() == [13, 22, 35]


def test_a_declared_rate_that_no_gap_has_is_not_believed():
    ticks = np.cumsum(np.arange(1, 11)) * 100  # no two gaps alike
    clock = clock_of_ticks(ticks, 1e-3, 100, 6000, [30.0])
    assert not clock.is_even and clock.fps == pytest.approx(10 / 5.9)


def test_rates():
    steady = np.arange(100) * 40
    gap = np.r_[steady[:50], steady[50:] + 3000]
    assert clock_of_ticks(gap, 1e-3, 0, 8000, [1000.0, 25.0]).fps == 25.0  # the near one
    assert clock_of_ticks(gap, 1e-3, 0, 8000, [1000.0]).fps == 25.0  # measured
    late = clock_of_ticks(steady + 2000, 1e-3, 0, 6000, [25.0])
    assert (late.fps, late.end_seconds, late.is_even) == (25.0, 6.0, False)
    assert clock_of_ticks(np.array([700]), 1e-3, 0, 740, [25.0]).fps == 25.0  # one frame


def test_one_long_frame_at_the_end_counts():
    ticks = np.arange(10) * 100
    still = clock_of_ticks(ticks, 1e-3, 0, 5900, [10.0])
    assert still.is_even and still.end_seconds == pytest.approx(5.9)
    assert clock_of_ticks(ticks, 1e-3, 0, 901, [10.0]).end_seconds == 1.0  # written by mistake


def test_long_ticks_are_exact():
    """A slot of AVI is no rounded time: the next frame is not shown half a slot early."""
    clock = FrameClock(3, 25.0, 0.48, np.array([0, 5, 11]), 1 / 25, 0)
    assert clock.indices(np.array([0.19, 0.2, 0.43, 0.44]), 1.0).tolist() == [0, 1, 1, 2]


def test_fewer_frames_of_another_decoder():
    clock = FrameClock(3, 25.0, 0.48, np.array([0, 5, 11]), 1 / 25, 0)
    first = clock.first(2)
    assert (first.num_frames, first.end_seconds) == (2, pytest.approx(0.44))
    assert first.indices(np.array([9.0]), 1.0).tolist() == [1]
    assert clock.first(5) is clock and FrameClock(3, 25.0).first(2).num_frames == 3
