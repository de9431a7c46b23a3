"""Measure the CPU time of suppression and voting on random segments, on one thread.

Two cases: --segments in each class, suppressed until none is left; and --segments over all
classes, of which the best --kept are kept.
"""
from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.output import write_json
from sbp_tad.apis.command_line import run_main
from sbp_tad.segments import METHODS, non_maximum_weighted, soft_nms, vote_segments

Detections = tuple[np.ndarray, np.ndarray, np.ndarray]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--segments', type=int, default=2000, metavar='N',
                        help='segments of a case (default: %(default)s)')
    parser.add_argument('--classes', type=int, default=20, metavar='N',
                        help='classes (default: %(default)s)')
    parser.add_argument('--kept', type=int, default=200, metavar='N',
                        help='segments kept in the second case (default: %(default)s)')
    parser.add_argument('--duration', type=float, nargs='+', default=[100.0, 1000.0, 10000.0],
                        metavar='SECONDS', help='duration of the video; segments take 0 to 20 '
                        'seconds, so a shorter video has more overlap (default: 100 1000 10000)')
    parser.add_argument('--min-score', type=float, default=1e-9, metavar='S',
                        help='suppression ends at this score (default: %(default)s)')
    parser.add_argument('--repeats', type=int, default=5, metavar='N',
                        help='repetitions, of which the fastest is taken (default: %(default)s)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures')
    return parser


def draw_detections(number: int, classes: int, duration: float) -> Detections:
    """Draw segments of 0 to 20 s that start anywhere, with scores, and labels in turn."""
    generator = np.random.default_rng(0)
    start = generator.uniform(0, duration, number)
    segments = np.stack([start, start + generator.uniform(0, 20, number)], axis=1)
    return segments, generator.random(number), np.arange(number) % classes


def methods_for(detections: Detections, min_score: float, limit: int | None
                ) -> dict[str, Callable[[], object]]:
    """Return the measured functions by name; voting moves the picks of Gaussian soft-NMS."""
    options = dict(min_score=min_score, max_segments=limit)
    runs = {name: partial(soft_nms, *detections, method=name, **options) for name in METHODS}
    runs['nmw'] = partial(non_maximum_weighted, *detections, **options)
    picks, _ = soft_nms(*detections, **options)
    runs['voting'] = partial(vote_segments, detections[0][picks], detections[2][picks], *detections)
    return runs


def milliseconds(run: Callable[[], object], repeats: int) -> float:
    """Return the CPU time of the fastest run."""
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        run()
        times.append(time.process_time() - begin)
    return 1000 * min(times)


def measure(arguments: argparse.Namespace) -> list[dict[str, float | str]]:
    """Return one row per case and duration, with one figure per method."""
    total = arguments.segments * arguments.classes
    cases = {f'{arguments.segments} in each of {arguments.classes} classes, all': (total, None),
             f'{arguments.segments} over all classes, {arguments.kept} kept':
                 (arguments.segments, arguments.kept)}
    rows = []
    for name, (number, limit) in cases.items():
        for duration in arguments.duration:
            detections = draw_detections(number, arguments.classes, duration)
            runs = methods_for(detections, arguments.min_score, limit)
            rows.append(dict(case=name, duration_seconds=duration, **{
                method: milliseconds(run, arguments.repeats) for method, run in runs.items()}))
    return rows


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write the file that is asked for."""
    arguments = build_parser().parse_args(argv)
    rows = measure(arguments)
    table = Table(title='CPU milliseconds', title_justify='left')
    for name in rows[0]:
        table.add_column(name, justify='left' if name == 'case' else 'right', no_wrap=True)
    for row in rows:
        table.add_row(*(value if isinstance(value, str) else f'{value:.1f}'
                        for value in row.values()))
    console = Console(markup=False, emoji=False)
    if not console.is_terminal:  # a file or a pipe has no width: never cut
        console.width = 160
    console.print(table)
    if arguments.json:
        write_json(arguments.json, rows)


if __name__ == '__main__':
    run_main(main)
