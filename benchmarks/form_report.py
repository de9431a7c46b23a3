"""Terminal table and plot of the forms of SBP."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Console
from rich.table import Table

from benchmarks.form_measurement import BenchmarkResult
from benchmarks.networks import VARIANTS
from sbp_tad.visualization.figures import style_axes, write_png
from sbp_tad.visualization.palette import FAINT_INK, INK, PALETTE

COLOURS = dict(zip(VARIANTS, PALETTE))
COLUMNS = ('variant', 'keep ratio', 'saved MiB', 'saved', 'bound', 'peak MiB', 'peak',
           'forward s', 'backward s', 'step s', 'time', 'bound', 'x bound', 'wall s')


def print_results(results: Sequence[BenchmarkResult], file: TextIO | None = None) -> None:
    """Print one row per result and an explanation of the figures."""
    console = Console(markup=False, emoji=False, file=file or sys.stdout)
    table = results_table(results)
    if not console.is_terminal:  # a file or a pipe has no width: never wrap or cut
        unbounded = Console(markup=False, emoji=False, width=10_000)
        console.width = max(80, unbounded.measure(table).maximum)
    console.print(table)
    clock = 'CPU time' if results[0].settings['device'] == 'cpu' else 'wall time'
    console.print(f'Saved, peak and time are ratios to full backpropagation; seconds are medians '
                  f'of {results[0].settings["repeats"]} steps, {clock} except in the last column.',
                  markup=False, highlight=False, soft_wrap=True)


def results_table(results: Sequence[BenchmarkResult]) -> Table:
    """Return a table with one row per result."""
    table = Table(title=describe(results[0]), title_justify='left')
    for name in COLUMNS:
        table.add_column(name, justify='left' if name == 'variant' else 'right', no_wrap=True)
    for result in results:
        bound = '' if result.saved_bound is None else f'{result.saved_bound:.3f}'
        table.add_row(
            result.variant, f'{result.keep_ratio:g}',
            f'{result.saved_bytes / 2**20:.1f}', f'{result.saved_ratio:.3f}', bound,
            f'{result.peak_bytes / 2**20:.0f}', f'{result.peak_ratio:.3f}',
            f'{result.forward_seconds:.3f}', f'{result.backward_seconds:.3f}',
            f'{result.step_seconds:.3f}', f'{result.time_ratio:.3f}', f'{result.time_bound:.3f}',
            f'{result.time_ratio / result.time_bound:.3f}', f'{result.wall_seconds:.3f}')
    return table


def describe(result: BenchmarkResult) -> str:
    """Return model, input and device in one line."""
    s = result.settings
    words = [f'{result.model}, {s["batch"]} x {s["frames"]} x {s["size"]} x {s["size"]}',
             s['device'] + (f', {s["threads"]} threads' if s['threads'] > 1 else '')]
    words += ['bfloat16 autocast'] * s['amp'] + ['BN not folded'] * (not s['fold_bn'])
    words += [f'{name} {s[name]}' for name in ('sampler', 'mask', 'kv', 'shortcut') if s[name]]
    return ', '.join(words)


def draw_results(path: str | Path, results: Sequence[BenchmarkResult]) -> None:
    """Write a PNG of saved bytes and step time over the keep ratio, with their bounds.

    Raises:
        VisualizationError: the file cannot be written.
    """
    figure = Figure(figsize=(11, 5), dpi=150, facecolor='white')
    memory, seconds = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.065, right=0.98, top=0.84, bottom=0.19, wspace=0.16)
    figure.text(0.065, 0.93, describe(results[0]), size=13, weight='bold', color=INK)
    _style(memory, 'Bytes saved for backward, ratio to full')
    _style(seconds, 'Time of a training step, ratio to full')
    variants = list(dict.fromkeys(result.variant for result in results))
    for variant in variants:
        rows = sorted((row for row in results if row.variant == variant),
                      key=lambda row: row.keep_ratio)
        ratios = [row.keep_ratio for row in rows]
        _draw(memory, variant, ratios, [row.saved_ratio for row in rows],
              [row.saved_bound for row in rows])
        _draw(seconds, variant, ratios, [row.time_ratio for row in rows],
              [row.time_bound for row in rows])
    for axes in (memory, seconds):
        axes.set_ylim(0, max(1.05, axes.get_ylim()[1]))
    keys = [Line2D([], [], color=COLOURS[name], marker='o', label=name) for name in variants]
    keys.append(Line2D([], [], color=FAINT_INK, linestyle=(0, (3, 2)), label='bound'))
    figure.legend(handles=keys, loc='lower center', ncols=len(keys), frameon=False, fontsize=9,
                  labelcolor=INK)
    write_png(path, figure)


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, loc='left', size=10, color=INK)
    axes.set_xlabel('keep ratio r', color=FAINT_INK)
    axes.set_xlim(-0.03, 1.03)
    style_axes(axes)


def _draw(axes: Axes, variant: str, ratios: list[float], values: list[float],
          bounds: list[float | None]) -> None:
    """Draw a line with markers and its dashed bound; a short bar where there is one point."""
    colour = COLOURS[variant]
    axes.plot(ratios, values, color=colour, marker='o', markersize=6, linewidth=1.8, zorder=3,
              clip_on=False)
    known = [(ratio, bound) for ratio, bound in zip(ratios, bounds) if bound is not None]
    if len(known) == 1:
        axes.hlines(known[0][1], known[0][0] - 0.03, known[0][0] + 0.03, color=colour,
                    linestyle=(0, (3, 2)), linewidth=1.4)
    elif known:
        axes.plot(*zip(*known), color=colour, linestyle=(0, (3, 2)), linewidth=1.4)
