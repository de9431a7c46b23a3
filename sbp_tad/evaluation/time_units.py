"""Units of time of detections."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sbp_tad.annotations import VideoAnnotation

SECONDS_PER_UNIT = {'seconds': 1.0, 'minutes': 60.0, 'hours': 3600.0, 'milliseconds': 1e-3,
                    'microseconds': 1e-6, 'nanoseconds': 1e-9}
PARTS_OF_A_VIDEO = {'fraction': 1.0, 'percent': 0.01}
# Usual frame rates, far enough apart to be told from times: not 23.976, 29.97 and 59.94.
COMMON_RATES = (24.0, 25.0, 30.0, 50.0, 60.0)
TIME_UNITS = (*SECONDS_PER_UNIT, 'frames', *PARTS_OF_A_VIDEO)


@dataclass(frozen=True)
class TimeUnit:
    """Unit of time.

    Args:
        name: one of ``TIME_UNITS``.
        fps: with ``'frames'``: frames per second of all videos; None takes
            those of the annotation.
        frames_per_step: with ``'frames'``: frames per unit, above 1 for
            feature steps. With ``'fraction'``: fraction of the video per unit,
            1 / N for steps of a fixed grid of N per video; no option gives it.
    """

    name: str = 'seconds'
    fps: float | None = None
    frames_per_step: float = 1.0

    def seconds_in(self, video: VideoAnnotation) -> float:
        """Return the seconds of one unit in a video, NaN if its annotation does not say."""
        if self.name in SECONDS_PER_UNIT:
            return SECONDS_PER_UNIT[self.name]
        if self.name in PARTS_OF_A_VIDEO:
            return PARTS_OF_A_VIDEO[self.name] * self.frames_per_step * (
                video.duration_seconds or np.nan)
        return self.frames_per_step / (self.fps or video.fps or np.nan)

    @property
    def is_grid(self) -> bool:
        """Return True for steps of a grid that divides every video into as many parts."""
        return self.name in PARTS_OF_A_VIDEO and self.frames_per_step != 1

    @property
    def title(self) -> str:
        """Return the unit as a reader knows it."""
        if self.is_grid:
            return f'steps of a fixed grid of {1 / self.frames_per_step:g} per video'
        if self.name in PARTS_OF_A_VIDEO:
            return 'percent of the video' if self.name == 'percent' else 'fractions of the video'
        if self.frames_per_step != 1:
            return f'feature steps of {self.frames_per_step:g} frames'
        if self.fps is not None:
            return f'frames or feature steps, {self.fps:g} per second'
        return self.name

    @property
    def options(self) -> str:
        """Return the options of the tools that choose this unit, '' for seconds."""
        if self.name == 'seconds':
            return ''
        return f'--time-unit {self.name}' + (f' --fps {self.fps:g}' if self.fps else '') + (
            f' --frames-per-step {self.frames_per_step:g}' if self.frames_per_step != 1 else '')


SECONDS = TimeUnit()
