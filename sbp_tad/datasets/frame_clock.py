"""Clock of a video: frame numbers and the seconds at which they are shown.

Every consumer (datasets, inference, streams, features) maps seconds to frames
here. Frame ``i`` is the ``i``-th frame that a decoder shows.
"""
from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

# Time stamps in ticks of this length are rounded times (Matroska: 1 ms), so that the nearest tick
# counts. Shorter ticks round by nothing that matters; a longer one is a frame interval (AVI).
_COARSE_TICK_SECONDS = 0.0005, 0.002
_ROUNDING_TICKS = 1e-4  # of the float product of seconds and ticks per second
# Least share of the gaps between frames that show a constant rate, or the nominal one.
_CONSTANT_SHARE, _NOMINAL_SHARE = 0.9, 0.5


@dataclass(frozen=True)
class FrameClock:
    """Presentation times of the frames of a video.

    Frame ``i`` begins at ``i / fps`` seconds if ``ticks`` is None (equally
    spaced frames), else at ``(ticks[i] - origin) * tick_seconds``. It is shown
    until the next one begins, the last one until ``end_seconds``.

    Args:
        num_frames: number of frames that decoding shows, at least 1.
        fps: frames per second, in which strides and positions are counted. For
            unequally spaced frames it is the nominal rate, that of the most
            common gap, as annotations state it; the average rate if fewer than
            half of the gaps are alike.
        end: end of the last frame in seconds; ``num_frames / fps`` if None.
        ticks: (num_frames,) int64, increasing: time stamps in ticks, or None.
        tick_seconds: seconds per tick.
        origin: tick of second 0.
    """

    num_frames: int
    fps: float
    end: float | None = None
    ticks: np.ndarray | None = field(default=None, repr=False, compare=False)
    tick_seconds: float = 1.0
    origin: int = 0

    @property
    def end_seconds(self) -> float:
        """Duration of the video: the second at which the last frame ends."""
        return self.num_frames / self.fps if self.end is None else self.end

    @property
    def is_even(self) -> bool:
        """Return whether the frames are equally spaced from second 0."""
        return self.ticks is None

    def indices(self, positions: np.ndarray, fps: float) -> np.ndarray:
        """Return the frames shown at ``positions / fps`` seconds.

        A frame is the last one that begins at or before that second. Before
        the first frame it is the first one, after the end the last one.

        Args:
            positions: of any shape, in units of ``1 / fps`` seconds.
            fps: of the positions.

        Returns:
            int64 in [0, ``num_frames`` - 1], of the same shape.
        """
        positions = np.asarray(positions, dtype=np.float64)
        if self.ticks is None:
            shown = np.floor(positions * (self.fps / fps))
        else:
            shortest, longest = _COARSE_TICK_SECONDS
            rounding = 0.5 if shortest <= self.tick_seconds <= longest else _ROUNDING_TICKS
            ticks = np.floor(positions / fps / self.tick_seconds + rounding) + self.origin
            shown = np.searchsorted(self.ticks, ticks, side='right') - 1
        return shown.clip(0, self.num_frames - 1).astype(np.int64)

    def seconds(self, indices: np.ndarray) -> np.ndarray:
        """Return the second at which each frame begins, float64."""
        indices = np.asarray(indices)
        if self.ticks is None:
            return indices / self.fps
        return (self.ticks[indices] - self.origin) * self.tick_seconds

    def first(self, num_frames: int) -> FrameClock:
        """Return the clock of a decoder that shows the first ``num_frames`` frames at most."""
        if num_frames >= self.num_frames or self.ticks is None:
            return self
        return replace(self, num_frames=num_frames, ticks=self.ticks[:num_frames],
                       end=float(self.seconds(np.array(num_frames))))


def clock_of_ticks(ticks: np.ndarray, tick_seconds: float, origin: int, end_tick: int,
                   rates: list[float]) -> FrameClock:
    """Build the clock of frames with time stamps.

    Frames that lie within one rounded tick of equal spacing get the
    arithmetic form of the clock.

    Args:
        ticks: (n,) int64, increasing.
        tick_seconds: seconds per tick.
        origin: tick of second 0.
        end_tick: end of the last frame.
        rates: frame rates that the file declares, the preferred one first.
    """
    starts, end = (ticks - origin) * tick_seconds, (end_tick - origin) * tick_seconds
    num_frames = len(ticks)
    rounded = tick_seconds <= _COARSE_TICK_SECONDS[1]
    tolerance = tick_seconds * (1 + _ROUNDING_TICKS if rounded else _ROUNDING_TICKS)
    for fps in rates:
        if np.abs(starts - np.arange(num_frames) / fps).max() <= tolerance:
            # the last duration is rounded, too, or absent; only a longer one counts
            extended = end > (num_frames + 0.5) / fps
            return FrameClock(num_frames, fps, end if extended else None)
    fps = _prevailing_rate(np.diff(ticks), tick_seconds, rates) \
        or num_frames / max(end - starts[0], tick_seconds)
    return FrameClock(num_frames, float(fps), float(end), ticks, tick_seconds, origin)


def _prevailing_rate(gaps: np.ndarray, tick_seconds: float, rates: list[float]) -> float | None:
    """Return the rate of at least half of the gaps between frames, a declared one if it is near.
    """
    if not len(gaps):
        return rates[0] if rates else None
    gap = typical_gap(gaps, _NOMINAL_SHARE)
    if gap is None:
        return None
    measured = 1 / (gap * tick_seconds)
    # of a gap that is one tick too long; ticks of a frame interval (AVI) are not rounded
    rounding = tick_seconds * measured ** 2 if tick_seconds <= _COARSE_TICK_SECONDS[1] else 0
    near = [fps for fps in rates if abs(fps - measured) <= 0.05 * measured + rounding]
    return near[0] if near else measured


def typical_gap(gaps: np.ndarray, least_share: float = _CONSTANT_SHARE) -> float | None:
    """Return the median gap between frames, in ticks, if this share of the gaps is like it."""
    typical = float(np.median(gaps))
    return typical if np.mean(np.abs(gaps - typical) <= 1 + 0.05 * typical) >= least_share \
        else None
