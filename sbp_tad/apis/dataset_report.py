"""Report on a data set: tables for the terminal, an object for JSON."""
from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import asdict
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sbp_tad.apis.dataset_check import DatasetReport
from sbp_tad.datasets.checks.findings import SEVERITIES, Finding
from sbp_tad.datasets.checks.window_advice import explain
from sbp_tad.wording import count_of

STYLES = dict(error='red', warning='yellow', note='dim')
EXAMPLES = 3
MEBIBYTE = 2 ** 20
WHY_WIDTH = 80  # also in a file, where rows of findings stay on one line


def print_report(report: DatasetReport, file: TextIO | None = None, examples: int = EXAMPLES
                 ) -> None:
    """Print counts, findings by kind, advice and memory.

    Args:
        report: findings and advice.
        file: stream to print to; by default stdout.
        examples: number of findings to list per kind.
    """
    console = Console(markup=False, emoji=False, file=file or sys.stdout)
    if not console.is_terminal:  # a file or a pipe has no width: keep every row on one line
        console.width = 10_000
    console.print(_counts(report))
    for severity in SEVERITIES:
        _print_findings(console, severity, report, examples)
    if report.advice is not None:
        console.print(_advice(report))
        console.print(snippet(report), markup=False, highlight=False, soft_wrap=True)
    if report.memory is not None:
        console.print(_memory(report))
    for remark in report.remarks:
        console.print(f'Remark: {remark}', markup=False, highlight=False, soft_wrap=True)
    console.print(verdict(report), markup=False, highlight=False, soft_wrap=True)


def verdict(report: DatasetReport) -> str:
    """Return one line with the number of findings per severity."""
    counts = [sum(finding.severity == severity for finding in report.findings)
              for severity in SEVERITIES]
    if not any(counts):
        return 'Clean: no findings.'
    return ', '.join(count_of(count, severity)
                     for count, severity in zip(counts, SEVERITIES)) + '.'


def snippet(report: DatasetReport) -> str:
    """Return the advice as lines of a config."""
    advice = report.advice
    rate = f'target_fps={advice.target_fps:.6g}' if advice.mixed_fps \
        else f'stride_frames={advice.stride_frames}'
    return (f'windows = dict(num_frames={advice.num_frames}, {rate})  # of every dataset\n'
            f'neck = dict(num_levels={len(advice.strides)})\n'
            f'head = dict(strides={advice.strides}, '
            f'regression_ranges={advice.regression_ranges})')


def report_to_json(report: DatasetReport, clean: bool) -> dict[str, Any]:
    """Return the whole report for JSON, sizes in bytes."""
    advice = None if report.advice is None else dict(
        asdict(report.advice), window_seconds=report.advice.window_seconds,
        reasons={name: reason for name, _, reason in explain(report.advice, report.facts)})
    memory = None if report.memory is None else dict(
        asdict(report.memory), saved={str(ratio): size for ratio, size
                                      in report.memory.saved.items()})
    return dict(
        clean=clean,
        subsets={subset: dict(videos=videos, segments=segments)
                 for subset, (videos, segments) in report.counts.items()},
        findings=[dict(severity=finding.severity, **asdict(finding))
                  for finding in report.findings],
        statistics=None if report.facts is None else asdict(report.facts),
        advice=advice, memory=memory, current_coverage=report.current_share,
        remarks=report.remarks)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify='left')
    for column in columns:
        table.add_column(column)
    return table


def _counts(report: DatasetReport) -> Table:
    table = _table('Checked data', 'subset', 'videos', 'segments')
    for subset, (videos, segments) in report.counts.items():
        table.add_row(Text(subset), str(videos), str(segments))
    return table


def _print_findings(console: Console, severity: str, report: DatasetReport, examples: int) -> None:
    kinds: dict[str, list[Finding]] = defaultdict(list)
    for finding in report.findings:
        if finding.severity == severity:
            kinds[finding.kind].append(finding)
    for kind, found in kinds.items():
        console.print(f'{severity} {kind} ({len(found)}): {found[0].remedy}', highlight=False,
                      markup=False, soft_wrap=True, style=STYLES[severity])
        for finding in found[:examples]:
            console.print(f'  {finding.subject}: {finding.message}', markup=False,
                          highlight=False, soft_wrap=True)
        if len(found) > examples:
            console.print(f'  ... and {len(found) - examples} more')


def _advice(report: DatasetReport) -> Table:
    table = _table('Advice for training', 'setting', 'value')
    table.add_column('why', max_width=WHY_WIDTH)
    for name, value, reason in explain(report.advice, report.facts):
        table.add_row(name, Text(value), Text(reason))
    if report.current_share is not None:
        table.add_row('the config now', f'{100 * report.current_share:.2f} %',
                      'the same share with the settings of the config.')
    return table


def _memory(report: DatasetReport) -> Table:
    memory, advice = report.memory, report.advice
    height, width = memory.frame_size
    table = _table(f'Expected memory, float32, batch {memory.batch_size} of {advice.num_frames} x '
                   f'{height} x {width}', 'part', 'MiB', 'source')
    how = 'measured: backbone at one and two clips, extrapolated; neck and head in full'
    for ratio, size in memory.saved.items():
        here = ', as in the config' if ratio == memory.keep_ratio else ''
        table.add_row(f'saved for backward, keep ratio {ratio:g}{here}', f'{size / MEBIBYTE:.1f}',
                      how)
        how = 'the same'
    table.add_row('of this, neck and head', f'{memory.neck_head / MEBIBYTE:.1f}', 'measured')
    table.add_row('weights, gradients, AdamW', f'{memory.weights / MEBIBYTE:.1f}',
                  'formula: 16 bytes per trained parameter, 4 per frozen parameter')
    return table
