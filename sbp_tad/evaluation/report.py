"""An evaluation result as tables for the terminal, in percent."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sbp_tad.evaluation.evaluate import EvaluationResult
from sbp_tad.evaluation.options import threshold_name


def print_result(result: EvaluationResult, file: TextIO | None = None) -> None:
    """Print AP per class, mAP per threshold, and what the rules did."""
    console = Console(file=file or sys.stdout)
    tables = [class_table(result), mean_table(result)]
    if not console.is_terminal:  # a file or a pipe has no width: never wrap or cut
        unbounded = Console(width=10_000)
        console.width = max(80, *(unbounded.measure(table).maximum for table in tables))
    for table in tables:
        console.print(table)
    console.print(summary(result), markup=False, highlight=False, soft_wrap=True)


def class_table(result: EvaluationResult) -> Table:
    """AP (%) per class at each tIoU threshold and their average."""
    table = _table('Average precision per class (%)', result, 'class')
    for name, row in zip(result.class_names, result.average_precision):
        table.add_row(Text(name), *_percent(row))
    return table


def mean_table(result: EvaluationResult) -> Table:
    """mAP (%) at each tIoU threshold and their average."""
    table = _table('Mean average precision (%)', result, 'tIoU')
    table.add_row(f'mAP of {len(result.class_names)} classes',
                  *_percent(result.mean_average_precision), style='bold')
    return table


def summary(result: EvaluationResult) -> str:
    """One line on what was scored, and one on each rule that touched a detection."""
    lines = [f'{result.options.protocol} protocol, subset {result.subset}: '
             f'{result.num_ground_truth} instances in {result.num_videos} videos, '
             f'{result.num_predictions} detections.']
    actions = {'excluded_videos': 'drop', 'unknown_labels': result.options.unknown_labels,
               'outside_videos': result.options.outside_videos,
               'empty_detections': result.options.empty_detections}
    lines += [f'{count} detections under the rule {name}: {actions[name]}.'
              for name, count in result.rule_counts.items() if count]
    return '\n'.join(lines)


def _table(title: str, result: EvaluationResult, corner: str) -> Table:
    table = Table(title=title, title_justify='left')
    table.add_column(corner, no_wrap=True)
    for tiou in result.options.tiou_thresholds:
        table.add_column(threshold_name(tiou), justify='right', no_wrap=True)
    table.add_column('average', justify='right', no_wrap=True)
    return table


def _percent(fractions: np.ndarray | Sequence[float]) -> list[str]:
    return [f'{100 * value:.2f}' for value in (*fractions, np.mean(fractions))]
