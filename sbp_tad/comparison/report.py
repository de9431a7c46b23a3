"""Report of a comparison: terminal table, JSON, CSV, Markdown and a plot."""
from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sbp_tad.comparison.runs import write_json
from sbp_tad.comparison.specs import DEFAULT_KEEP_RATIO, FULL, SPECS
from sbp_tad.comparison.summary import StrategySummary
from sbp_tad.engine.atomic_checkpoints import write_atomically
from sbp_tad.visualization.strategy_plot import StrategyPoint, draw_strategies

MIB = 2**20
STOCHASTIC_MODES = ('direct', 'deferred', 'token')
# In the order of the colours.
GROUPS = ('stochastic backpropagation', 'other ways to save memory', 'full backpropagation',
          'frozen backbone or stages')
UNKNOWN = '-'


def row_cells(row: StrategySummary, target: float | None) -> dict[str, str]:
    """Return the cells of a strategy's row, by heading.

    Args:
        row: the strategy.
        target: mAP of the column of samples to the target; None leaves the column out.
    """
    cells = {
        'strategy': row.strategy,
        'mAP %': _with_deviation(row),
        'to full': _text(row.mAP_difference, '{:+.2f}', 100),
        'backbone saves MiB': _text(row.saved_backbone_bytes, '{:.1f}', 1 / MIB),
        'share': _text(row.saved_backbone_ratio, '{:.3f}'),
        'model saves MiB': _text(row.saved_model_bytes, '{:.1f}', 1 / MIB),
        'step peak MiB': _text(row.step_peak_bytes, '{:.0f}', 1 / MIB),
        'process peak MiB': _text(row.peak_memory_bytes, '{:.0f}', 1 / MIB),
        'step s': _text(row.step_seconds, '{:.3f}'),
        'time to full': _text(row.step_time_ratio, '{:.2f}'),
        'training s': _text(row.seconds_per_update, '{:.3f}')}
    if target is not None:
        reached = _text(row.samples_to_target, '{:,.0f}')
        cells[f'samples to {100 * target:g} %'] = reached if row.seeds_at_target is None else \
            f'{reached} ({row.seeds_at_target}/{len(row.seeds)})'
    return cells


def _text(value: float | None, form: str, scale: float = 1.0) -> str:
    return UNKNOWN if value is None else form.format(value * scale)


def _with_deviation(row: StrategySummary) -> str:
    mean = _text(row.mAP, '{:.2f}', 100)
    return mean if row.mAP_deviation is None else f'{mean} ± {100 * row.mAP_deviation:.2f}'


def print_table(rows: Sequence[StrategySummary], target: float | None, console: Console) -> None:
    """Print one row per strategy and an explanation of the figures."""
    table = Table(title='Strategies on the same data and seeds', title_justify='left')
    for heading in row_cells(rows[0], target):
        table.add_column(heading, justify='left' if heading == 'strategy' else 'right')
    for row in rows:
        table.add_row(*row_cells(row, target).values())
    if not console.is_terminal:  # a file or a pipe has no width: never wrap or cut
        unbounded = Console(markup=False, emoji=False, width=10_000)
        console.width = max(80, unbounded.measure(table).maximum)
    console.print(table)
    console.print(legend(rows), markup=False, highlight=False, soft_wrap=True)


def legend(rows: Sequence[StrategySummary]) -> str:
    """Return the explanation of the figures."""
    seeds = sorted({len(row.seeds) for row in rows})
    runs = f'{seeds[0]} to {seeds[-1]}' if len(seeds) > 1 else f'{seeds[0]}'
    return (f'mAP is after the last epoch, mean ± standard deviation over {runs} seeds. The saved '
            'bytes are held for backward in one batch; the share is relative to full. A step is '
            'forward and backward of a batch; the steps of all strategies take turns in one '
            'process (CPU time, on CUDA wall time). Training s is the median wall time of an '
            'update in the runs.')


def to_markdown(rows: Sequence[StrategySummary], target: float | None) -> str:
    """Return the table and its explanation in Markdown."""
    lines = [list(row_cells(row, target).values()) for row in rows]
    headings = list(row_cells(rows[0], target))
    ruler = ['---'] + ['--:'] * (len(headings) - 1)
    return ''.join('| ' + ' | '.join(line) + ' |\n' for line in (headings, ruler, *lines)) + \
        f'\n{legend(rows)}\n'


def to_csv(rows: Sequence[StrategySummary]) -> str:
    """Return all figures as CSV; the items of a list are separated by spaces."""
    names = [field.name for field in fields(StrategySummary)]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator='\n')
    writer.writeheader()
    for row in rows:
        values = asdict(row)
        writer.writerow({name: ' '.join(map(str, value)) if isinstance(value, (list, tuple))
                         else value for name, value in values.items()})
    return stream.getvalue()


def points(rows: Sequence[StrategySummary]) -> list[StrategyPoint]:
    """Return the points of the plot: strategies with a mAP and saved bytes."""
    found = [StrategyPoint(
        row.strategy, _group(row), row.saved_model_bytes / MIB, 100 * row.mAP,
        100 * (row.mAP_deviation or 0), row.step_time_ratio) for row in rows
        if row.mAP is not None and row.saved_model_bytes is not None]
    return sorted(found, key=lambda point: GROUPS.index(point.group))


def _group(row: StrategySummary) -> str:
    """Return the group that gives a strategy its colour."""
    if row.strategy == FULL:
        return 'full backpropagation'
    if row.strategy.startswith('frozen'):
        return 'frozen backbone or stages'
    return GROUPS[0] if row.mode in STOCHASTIC_MODES else GROUPS[1]


def write_report(folder: Path, rows: Sequence[StrategySummary], target: float | None,
                 facts: dict[str, Any]) -> list[Path]:
    """Write ``comparison.json``, ``.csv``, ``.md`` and, where a mAP is known, ``.png``.

    Args:
        folder: to write into.
        rows: in the order of the tables.
        target: see :func:`row_cells`.
        facts: further entries of the JSON.

    Returns:
        Paths of the files.
    """
    paths = [folder / f'comparison.{kind}' for kind in ('json', 'csv', 'md', 'png')]
    write_json(paths[0], dict(strategies=[asdict(row) for row in rows], target_mAP=target,
                              **facts))
    write_atomically(paths[1], to_csv(rows).encode())
    write_atomically(paths[2], to_markdown(rows, target).encode())
    drawn = points(rows)
    if drawn:
        draw_strategies(paths[3], drawn)
    return paths if drawn else paths[:3]


def in_order(names: set[str]) -> list[str]:
    """Sort names of strategies as in ``SPECS``, larger numbers first, other names last."""
    def place(name: str) -> tuple:
        keyword, _, number = name.partition(':')
        if keyword not in SPECS:
            return len(SPECS), 0.0, name
        return list(SPECS).index(keyword), -float(number or DEFAULT_KEEP_RATIO), name
    return sorted(names, key=place)
