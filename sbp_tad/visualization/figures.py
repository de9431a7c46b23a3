"""Common parts of all figures: axes without a frame, and PNG files.

Figures are built without pyplot, which would keep every figure in memory and
look for a window system.
"""
from __future__ import annotations

from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.palette import GRID, INK


def style_axes(axes: Axes, grid: Literal['both', 'x', 'y'] = 'both') -> None:
    """Draw grid lines below the data, in place of ticks and a frame."""
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which='both', length=0, labelsize=9, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)


def write_png(path: str | Path, figure: Figure, make_folder: bool = False) -> None:
    """Write a figure.

    Args:
        path: of the file.
        figure: built without pyplot.
        make_folder: create the folder of the file.

    Raises:
        VisualizationError: the file cannot be written.
    """
    try:
        if make_folder:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        FigureCanvasAgg(figure).print_png(str(path))
    except OSError as error:
        raise VisualizationError(f'Cannot write the plot to {path}: {error.strerror}. Give a file '
                                 'in a folder that can be written.') from error
