"""Scalars of a training run, from the JSON lines that mmengine writes."""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sbp_tad.visualization.errors import VisualizationError

Row = dict[str, Any]
Curve = tuple[np.ndarray, np.ndarray]  # iterations (N,) and values (N,)


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """Scalars of one run.

    Args:
        name: of the run, for the legend.
        curves: values over iterations, by the name of the scalar. The scores of a validation
            are at the last iteration before it; its times are left out.
    """

    name: str
    curves: dict[str, Curve]


def read_training_log(source: str | Path) -> TrainingLog:
    """Read the log of a work dir, resumed runs included, or one JSON file of a run.

    Raises:
        VisualizationError: no log, or a log without a line of training.
    """
    source = Path(source)
    files = sorted(source.glob('*/vis_data/scalars.json')) if source.is_dir() else [source]
    if not files:
        raise VisualizationError(f'{source} has no */vis_data/scalars.json; give the work dir of '
                                 'a training with a LocalVisBackend, or its JSON file.')
    rows: list[Row] = []
    for file in files:
        rows = _continue(rows, _read_rows(file))
    curves = _curves(rows)
    if not curves:
        raise VisualizationError(f'{source} has no line of training (with "iter"); give the log '
                                 'of a training, not of a test.')
    name = source.name if source.is_dir() else next(
        (part.name for part in source.absolute().parents
         if part.name != 'vis_data' and not part.name.replace('_', '').isdigit()), source.stem)
    return TrainingLog(name, curves)


def _read_rows(path: Path) -> list[Row]:
    try:
        lines = path.read_text(encoding='utf8').splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
    except OSError as error:
        raise VisualizationError(f'Cannot read the log {path}: {error.strerror}.') from error
    except ValueError as error:
        raise VisualizationError(f'{path} is not a log of JSON lines: {error}.') from error
    if not all(isinstance(row, dict) for row in rows):
        raise VisualizationError(f'{path} is not a log of JSON lines: expected an object per line.')
    return rows


def _continue(rows: list[Row], later: list[Row]) -> list[Row]:
    """Append the rows of a resumed run to those before the iteration from which it resumed."""
    first = next((row for row in later if 'iter' in row), None)
    if first is None:  # a test
        return rows
    end = next((number for number, row in enumerate(rows)
                if row.get('iter', -1) >= first['iter']), len(rows))
    return rows[:end] + later


def _curves(rows: list[Row]) -> dict[str, Curve]:
    points: dict[str, list[tuple[float, float]]] = {}
    iteration = None
    for row in rows:
        iteration = row.get('iter', iteration)
        skipped = ('iter', 'step', 'epoch') if 'iter' in row else ('step', 'time', 'data_time')
        for name, value in row.items():
            if iteration is not None and name not in skipped and isinstance(value, (int, float)):
                points.setdefault(name, []).append((iteration, value))
    return {name: tuple(np.array(column, dtype=float) for column in zip(*pairs))
            for name, pairs in points.items()}
