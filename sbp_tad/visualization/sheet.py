"""Sheet of a video: a title and panels below each other that share one time axis."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.visualization.figures import style_axes, write_png
from sbp_tad.visualization.palette import FAINT_INK, INK

WIDTH_INCHES = 12.0
RIGHT_INCHES = 0.35
LANE_INCHES = 0.27
CHARACTER_INCHES = 0.085  # of a class name in the margin
TRUTH_TITLE = 'ground truth'


class Sheet:
    """Figure of a video, its parts placed in inches from the upper left corner.

    Args:
        row_names: names in the left margin, which is as wide as the longest.
        duration_seconds: end of the time axis.
    """

    TOP, GAP, BOTTOM = 0.55, 0.12, 0.95

    def __init__(self, row_names: Sequence[str], duration_seconds: float) -> None:
        self.left = 0.5 + CHARACTER_INCHES * max(map(len, [TRUTH_TITLE, *row_names]))
        self.width = WIDTH_INCHES - self.left - RIGHT_INCHES
        self.duration_seconds = duration_seconds

    def panels(self, heights: Sequence[float]) -> list[Axes]:
        """Return one axes for each height in inches, below each other."""
        self.height = self.TOP + sum(heights) + self.GAP * (len(heights) - 1) + self.BOTTOM
        self.figure = Figure(figsize=(WIDTH_INCHES, self.height), dpi=150, facecolor='white')
        axes, top = [], self.TOP
        for height in heights:
            axes.append(self.figure.add_axes(self._box(top, max(height, 1e-3))))
            top += height + self.GAP
            self._style(axes[-1], with_time=len(axes) == len(heights))
        return axes

    def strip_inches(self, thumbnails: Sequence[np.ndarray]) -> float:
        """Return the height of a strip of frames (H, W, 3) side by side; 0 without frames."""
        if not len(thumbnails):
            return 0.0
        height, width = thumbnails[0].shape[:2]
        return self.width * height / (len(thumbnails) * width)

    def write_head(self, title: str, note: str) -> None:
        """Write the title and a note at the right."""
        line = 1 - 0.34 / self.height
        self.figure.text(self.left / WIDTH_INCHES, line, title, size=14, weight='bold', color=INK)
        self.figure.text(1 - RIGHT_INCHES / WIDTH_INCHES, line, note, size=9, color=FAINT_INK,
                         ha='right')

    def draw_legend(self, keys: Sequence[Patch]) -> None:
        """Draw the legend at the bottom."""
        self.figure.legend(handles=keys, loc='lower center', ncols=len(keys), frameon=False,
                           fontsize=9, labelcolor=INK, handlelength=1.6)

    def save(self, path: str | Path) -> None:
        """Write a PNG; its folder is created.

        Raises:
            VisualizationError: the file cannot be written.
        """
        write_png(path, self.figure, make_folder=True)

    def pixels(self) -> np.ndarray:
        """Return the picture as (H, W, 3) uint8 RGB."""
        canvas = FigureCanvasAgg(self.figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def _box(self, top: float, height: float) -> tuple[float, float, float, float]:
        return (self.left / WIDTH_INCHES, 1 - (top + height) / self.height,
                self.width / WIDTH_INCHES, height / self.height)

    def _style(self, axes: Axes, with_time: bool) -> None:
        style_axes(axes, 'x')
        axes.set_xlim(0, self.duration_seconds)
        axes.xaxis.set_major_locator(MaxNLocator(12, steps=[1, 2, 5, 10]))
        axes.tick_params(pad=6, labelbottom=with_time)
        axes.set_yticks([])


def assign_lanes(segments: np.ndarray) -> np.ndarray:
    """Return the lowest lane in which each segment (N, 2) overlaps no earlier one: (N,) int."""
    lanes = np.zeros(len(segments), dtype=int)
    for index, (start, end) in enumerate(segments):
        clash = (segments[:index, 0] < end) & (start < segments[:index, 1])
        lanes[index] = min(set(range(index + 1)) - set(lanes[:index][clash].tolist()))
    return lanes


def truth_inches(lanes: np.ndarray) -> float:
    """Return the height of the panel of annotated segments."""
    return LANE_INCHES * 1.3 * (lanes.max(initial=0) + 1)


def draw_thumbnails(axes: Axes, thumbnails: Sequence[np.ndarray], duration_seconds: float) -> None:
    """Draw frames (H, W, 3) side by side, each over an equal part of the time."""
    axes.grid(False)
    width = duration_seconds / max(len(thumbnails), 1)
    for index, frame in enumerate(thumbnails):
        axes.imshow(frame, extent=(index * width, (index + 1) * width, 0, 1), aspect='auto')
        axes.axvline(index * width, color='white', linewidth=1.5)
    axes.set_xlim(0, duration_seconds)


def draw_ground_truth(axes: Axes, truth: VideoAnnotation, lanes: np.ndarray,
                      colours: dict[str, str]) -> None:
    """Draw the annotated segments in the colours of their labels, one bar each."""
    for (start, end), label, lane in zip(truth.segments_seconds, truth.labels, lanes):
        axes.barh(lane, end - start, left=start, height=0.78, color=colours[label],
                  edgecolor='white', linewidth=1)
    axes.set_ylim(lanes.max(initial=0) + 0.5, -0.5)
    axes.set_yticks([lanes.max(initial=0) / 2], [TRUTH_TITLE])
    axes.set_facecolor('#F6F7F9')
