"""Plots of the error analysis of detections, as in DETAD."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sbp_tad.evaluation.error_analysis import ErrorAnalysis, Values
from sbp_tad.evaluation.error_kinds import ERROR_KINDS, KINDS
from sbp_tad.visualization.figures import style_axes, write_png
from sbp_tad.visualization.palette import FAINT_INK, GRID, INK, OTHER_COLOUR, PALETTE

BLUE, RED, GREEN, YELLOW, CYAN, PURPLE = PALETTE[:6]
KIND_COLOURS = dict(zip(KINDS, (GREEN, CYAN, PURPLE, BLUE, YELLOW, OTHER_COLOUR)))
CHARACTERISTIC_COLOURS = (BLUE, PURPLE, GREEN)


def write_error_plots(folder: str | Path, analysis: ErrorAnalysis) -> list[Path]:
    """Write ``false_positives.png``, ``sensitivity.png`` and ``false_negatives.png``.

    Args:
        folder: created if it does not exist.
        analysis: result of ``analyze_errors``.

    Returns:
        Paths of the files.

    Raises:
        VisualizationError: the folder or a file cannot be written.
    """
    figures = {'false_positives': draw_false_positives(analysis),
               'sensitivity': draw_sensitivity(analysis),
               'false_negatives': draw_false_negatives(analysis)}
    paths = [Path(folder) / f'{name}.png' for name in figures]
    for path, figure in zip(paths, figures.values()):
        write_png(path, figure, make_folder=True)
    return paths


def draw_false_positives(analysis: ErrorAnalysis) -> Figure:
    """Draw the kinds among the best detections of every class, and the mAP that each kind costs."""
    figure = _figure(12, 4.4)
    shares, gains = figure.subplots(1, 2, width_ratios=(1.7, 1))
    profile = 100 * np.nan_to_num(analysis.false_positive_profile)  # (num_multiples, 6)
    names = [f'{multiple}G' for multiple in range(1, len(profile) + 1)]
    bottoms = np.cumsum(profile, axis=1) - profile
    for kind, column, bottom in zip(KINDS, profile.T, bottoms.T):
        shares.bar(names, column, bottom=bottom, width=0.82, color=KIND_COLOURS[kind],
                   edgecolor='white', label=_words(kind))
    _style(shares, 'False positive profile', 'share of detections (%)')
    shares.set_xlabel('by rank in the class, G = its number of instances', color=FAINT_INK)
    shares.set_ylim(0, 100)
    figure.legend(loc='outside upper center', ncols=len(KINDS), frameon=False, labelcolor=INK)
    values = np.array([100 * analysis.map_gain[kind] for kind in ERROR_KINDS])
    bars = gains.barh([_words(kind) for kind in ERROR_KINDS], values, height=0.7,
                      color=[KIND_COLOURS[kind] for kind in ERROR_KINDS])
    gains.bar_label(bars, fmt='+%.1f', padding=3, color=INK)
    _style(gains, 'Gain without a kind of error', '')
    gains.grid(axis='y', visible=False)
    gains.grid(axis='x', color=GRID)
    gains.set_xlabel(f'average mAP (points above {100 * analysis.average_map:.1f})',
                     color=FAINT_INK)
    gains.set_xlim(0, 1.2 * max(values.max(), 1))
    gains.invert_yaxis()
    return figure


def draw_sensitivity(analysis: ErrorAnalysis) -> Figure:
    """Draw the normalised average mAP by length, coverage and number of instances."""
    return _draw_buckets(analysis, analysis.sensitivity, 'Sensitivity',
                         'normalised average mAP (%)', analysis.average_normalized_map)


def draw_false_negatives(analysis: ErrorAnalysis) -> Figure:
    """Draw the share of missed instances by length, coverage and number of instances."""
    return _draw_buckets(analysis, analysis.false_negatives, 'False negatives',
                         'instances missed (%)', analysis.false_negative_rate)


def _draw_buckets(analysis: ErrorAnalysis, values: Values, title: str, label: str, overall: float
                  ) -> Figure:
    figure = _figure(12, 4.2)
    panels = figure.subplots(1, len(values), sharey=True)
    buckets = analysis.to_json()['buckets']
    for panel, colour, (characteristic, row) in zip(panels, CHARACTERISTIC_COLOURS,
                                                    values.items()):
        heights = 100 * np.array(list(row.values()))
        names = [_bucket_name(characteristic, name, buckets[characteristic][name]) for name in row]
        panel.axhline(100 * overall, color=INK, linestyle='--', linewidth=1, zorder=0.5)
        bars = panel.bar(names, np.nan_to_num(heights), width=0.72, color=colour)
        texts = ['' if np.isnan(height) else f'{height:.1f}' for height in heights]
        for text in panel.bar_label(bars, texts, padding=3, color=INK):
            text.set_bbox(dict(facecolor='white', edgecolor='none', pad=0.8))
        _style(panel, f'{title} by {_words(characteristic)}', '')
    panels[0].set_ylabel(label, color=FAINT_INK)
    highest = max([overall, *(value for row in values.values() for value in row.values()
                              if not np.isnan(value))])
    panels[0].set_ylim(0, min(108, 118 * highest + 1))
    panels[-1].annotate(f'all\n{100 * overall:.1f}', (1.01, 100 * overall), va='center', color=INK,
                        xycoords=('axes fraction', 'data'), annotation_clip=False)
    return figure


def _bucket_name(characteristic: str, name: str, bucket: dict[str, float | None]) -> str:
    """Return three lines: the name, such as XS, the bounds and the number of instances."""
    scale, unit = {'length': (1, ' s'), 'coverage': (100, ' %')}.get(characteristic, (1, ''))
    counts = characteristic == 'num_instances'  # above 1 is from 2
    first, last = scale * bucket['above'] + counts, bucket['up_to']
    if last is None:
        span = f'> {first - counts:g}{unit}'
    elif counts and first == last:
        span = f'{first:g}'
    else:
        span = f'{first:g}-{scale * last:g}{unit}'
    return f'{name}\n{span}\n({bucket["num_instances"]})'


def _words(name: str) -> str:
    return name.replace('num_', 'number of ').replace('_', ' ')


def _figure(width_inches: float, height_inches: float) -> Figure:
    return Figure(figsize=(width_inches, height_inches), dpi=150, facecolor='white',
                  layout='constrained')


def _style(axes: Axes, title: str, label: str) -> None:
    axes.set_title(title, loc='left', color=INK, weight='bold', size=11)
    axes.set_ylabel(label, color=FAINT_INK)
    style_axes(axes, 'y')
