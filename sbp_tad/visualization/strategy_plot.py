"""Bubble plot of strategies: mAP over memory, with the time of a step as the area."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import IdentityTransform

from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.figures import style_axes, write_png
from sbp_tad.visualization.label_placement import place_labels
from sbp_tad.visualization.palette import FAINT_INK, INK, PALETTE

DPI = 150
# Diameter of a bubble that takes as long as full backpropagation, in points of 1/72 inch.
UNIT_DIAMETER = 17.0
LABEL_SIZE = 8.5


@dataclass(frozen=True)
class StrategyPoint:
    """One bubble.

    Args:
        name: written beside it.
        group: determines the colour.
        memory_mib: saved for backward.
        mAP, deviation: mean and standard deviation, in percent.
        time_ratio: time of a step divided by that of full backpropagation; None: unknown,
            drawn hollow.
    """

    name: str
    group: str
    memory_mib: float
    mAP: float
    deviation: float
    time_ratio: float | None


def draw_strategies(path: str | Path, points: Sequence[StrategyPoint]) -> None:
    """Write a PNG of all points.

    Raises:
        VisualizationError: no point, or the file cannot be written.
    """
    if not points:
        raise VisualizationError('no strategy has a mAP to draw; train at least one.')
    figure = Figure(figsize=(9.5, 6), dpi=DPI, facecolor='white')
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.075, right=0.98, top=0.9, bottom=0.15)
    _style(axes)
    groups = list(dict.fromkeys(point.group for point in points))
    colours = {group: PALETTE[number % len(PALETTE)] for number, group in enumerate(groups)}
    for point in sorted(points, key=_diameter, reverse=True):  # the small ones on top
        _draw_point(axes, point, colours[point.group])
    _set_limits(axes, points)
    _label(axes, points, canvas)
    _draw_keys(figure, colours, points)
    write_png(path, figure)


def _diameter(point: StrategyPoint) -> float:
    return UNIT_DIAMETER * (1.0 if point.time_ratio is None else point.time_ratio) ** 0.5


def _style(axes: Axes) -> None:
    axes.set_xscale('log')
    axes.set_xlabel('saved for backward by the whole model in one batch (MiB)', color=FAINT_INK)
    axes.set_ylabel('mAP (%), mean and standard deviation over seeds', color=FAINT_INK)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    axes.xaxis.set_minor_formatter(NullFormatter())
    style_axes(axes)


def _draw_point(axes: Axes, point: StrategyPoint, colour: str) -> None:
    axes.errorbar(point.memory_mib, point.mAP, yerr=point.deviation or None, color=colour,
                  elinewidth=1.2, capsize=2.5, zorder=2)
    axes.plot(point.memory_mib, point.mAP, marker='o', markersize=_diameter(point), zorder=3,
              color=colour, alpha=0.8, markeredgecolor='white', markeredgewidth=0.8,
              fillstyle='full' if point.time_ratio is not None else 'none')
    if point.time_ratio is None:
        axes.lines[-1].set_markeredgecolor(colour)


def _set_limits(axes: Axes, points: Sequence[StrategyPoint]) -> None:
    """Leave room for the labels around the outermost points."""
    memory = np.array([point.memory_mib for point in points])
    factor = max(1.25, (memory.max() / memory.min()) ** 0.1)
    axes.set_xlim(memory.min() / factor, memory.max() * factor)
    low = min(point.mAP - point.deviation for point in points)
    high = max(point.mAP + point.deviation for point in points)
    margin = max(0.5, 0.1 * (high - low))
    axes.set_ylim(low - margin, high + margin)
    axes.set_yticks([tick for tick in axes.get_yticks()
                     if max(0, low - margin) <= tick <= min(100, high + margin)])


def _label(axes: Axes, points: Sequence[StrategyPoint], canvas: FigureCanvasAgg) -> None:
    """Write names where they cover nothing, with a line to a bubble that is farther away."""
    texts = [axes.text(0, 0, point.name, size=LABEL_SIZE, color=INK, zorder=4,
                       ha='center', va='center', transform=IdentityTransform()) for point in points]
    extents = [text.get_window_extent(canvas.get_renderer()) for text in texts]
    sizes = np.array([(extent.width + 4, extent.height + 4) for extent in extents])
    to_pixels = axes.transData.transform
    middles = to_pixels([(point.memory_mib, point.mAP) for point in points])
    radii = np.array([_diameter(point) / 2 * DPI / 72 for point in points])
    bars = np.array([_bar(to_pixels, point) for point in points])
    boxes = place_labels(middles, radii, sizes, np.array(axes.bbox.extents), bars)
    for text, box, middle, radius in zip(texts, boxes, middles, radii):
        centre = (box[:2] + box[2:]) / 2
        text.set_position(centre)
        nearest = np.clip(middle, box[:2] + 2, box[2:] - 2)
        if np.linalg.norm(nearest - middle) > radius + 12:
            axes.add_artist(Line2D(*zip(nearest, middle), color=FAINT_INK, linewidth=0.7,
                                   zorder=1.5, transform=IdentityTransform()))


def _bar(to_pixels: object, point: StrategyPoint) -> np.ndarray:
    """Return the box of an error bar in pixels."""
    low, high = to_pixels([(point.memory_mib, point.mAP - point.deviation),
                           (point.memory_mib, point.mAP + point.deviation)])
    return np.concatenate([low - (5, 1), high + (5, 1)])


def _draw_keys(figure: Figure, colours: dict[str, str], points: Sequence[StrategyPoint]) -> None:
    """Draw the title and the legends of colours and areas."""
    figure.text(0.075, 0.945, 'mAP against memory', size=13, weight='bold', color=INK)
    keys = [Line2D([], [], color=colour, marker='o', markersize=8, linestyle='', label=group)
            for group, colour in colours.items()]
    figure.legend(handles=keys, loc='lower left', bbox_to_anchor=(0.06, 0.02), frameon=False,
                  ncols=len(keys), fontsize=9, labelcolor=INK)
    if any(point.time_ratio is not None for point in points):
        sizes = [Line2D([], [], color=FAINT_INK, marker='o', linestyle='', alpha=0.6,
                        markersize=UNIT_DIAMETER * ratio ** 0.5, label=label)
                 for ratio, label in ((0.5, '0.5'), (1, '1'), (2, "2 × the step time of full"))]
        figure.legend(handles=sizes, loc='upper right', bbox_to_anchor=(0.99, 0.985),
                      frameon=False, ncols=3, fontsize=9, labelcolor=INK, columnspacing=1.2)
