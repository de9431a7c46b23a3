"""Plot of the curves of one or several training runs."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.figures import style_axes, write_png
from sbp_tad.visualization.palette import FAINT_INK, INK, PALETTE
from sbp_tad.visualization.training_log import TrainingLog


@dataclass(frozen=True)
class Panel:
    """One panel of the plot.

    Args:
        title: above the panel.
        scalars: prefixes of the names of its scalars; the first scalar has the thickest line.
        scale: factor of the values.
    """

    title: str
    scalars: tuple[str, ...]
    scale: float = 1.0


PANELS = (
    Panel('loss', ('loss', )),
    Panel('mAP (%)', ('tad/average_mAP', 'tad/mAP@'), scale=100),
    Panel('learning rate', ('lr', 'base_lr')),
    Panel('memory (MiB)', ('memory', 'peak_memory_mib', 'saved_mib')),
    Panel('keep ratio', ('keep_ratio', )),
    Panel('seconds per iteration', ('time', )))


def draw_training(path: str | Path, logs: Sequence[TrainingLog]) -> None:
    """Write a PNG of loss, mAP, learning rate, memory, keep ratio and time over iterations.

    With several runs, each has one colour. With one run, parts of the loss and single tIoU
    thresholds are drawn too.

    Raises:
        VisualizationError: no scalar to draw, or the file cannot be written.
    """
    panels = [panel for panel in PANELS if any(_names(panel, log, True) for log in logs)]
    if not panels:
        known = ', '.join(name for panel in PANELS for name in panel.scalars)
        raise VisualizationError(f'the logs have none of the scalars {known}; give the work dir of '
                                 'a training.')
    rows = math.ceil(len(panels) / 2)
    figure = Figure(figsize=(11, 2.6 * rows + 0.9), dpi=150, facecolor='white',
                    layout='constrained')
    if len(logs) > 1:  # room for the legend
        figure.get_layout_engine().set(rect=(0, 0.05, 1, 0.95))
    grid = figure.subplots(rows, 2, squeeze=False, sharex=True).ravel()
    for axes, panel in zip(grid, panels):
        _draw_panel(axes, panel, logs)
    for axes in grid[len(panels):]:
        axes.set_axis_off()
    if len(logs) > 1:
        keys = [Line2D([], [], color=PALETTE[number % len(PALETTE)], label=log.name)
                for number, log in enumerate(logs)]
        figure.legend(handles=keys, loc='lower center', ncols=min(len(keys), 3), frameon=False,
                      fontsize=9, labelcolor=INK)
    else:
        figure.suptitle(logs[0].name, x=0.01, ha='left', size=13, weight='bold', color=INK)
    write_png(path, figure)


def _names(panel: Panel, log: TrainingLog, is_alone: bool) -> list[str]:
    """Return the scalars of a run that a panel shows, the main one first."""
    found = [name for start in panel.scalars for name in log.curves if name.startswith(start)]
    return list(dict.fromkeys(found))[:None if is_alone else 1]


def _draw_panel(axes: Axes, panel: Panel, logs: Sequence[TrainingLog]) -> None:
    is_alone = len(logs) == 1
    for number, log in enumerate(logs):
        for place, name in enumerate(_names(panel, log, is_alone)):
            iterations, values = log.curves[name]
            axes.plot(iterations, values * panel.scale,
                      color=PALETTE[(number + place * is_alone) % len(PALETTE)], label=name,
                      marker='o' if len(values) <= 40 else None, markersize=3,
                      linewidth=1.8 if place == 0 else 1.1, zorder=3 - 0.1 * place)
    axes.set_title(panel.title, loc='left', size=10, color=INK)
    axes.set_xlabel('iteration', size=9, color=FAINT_INK)
    style_axes(axes)
    axes.tick_params(labelbottom=True)
    axes.set_ylim(0, 1.05 * max(line.get_ydata().max() for line in axes.lines) or 1)
    if is_alone and len(axes.lines) > 1:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK)
