#!/usr/bin/env python3
"""Measure what stochastic backpropagation saves: memory and time, beside full backpropagation.

Each variant runs in a process of its own; its timed steps alternate with
steps of full backpropagation, so that the ratios hold on a busy machine.
"""
from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.errors import BenchmarkError
from benchmarks.networks import BENCHMARK_MODELS, VARIANTS
from benchmarks.sbp_forms import BenchmarkResult, BenchmarkSettings, run_benchmark
from benchmarks.sbp_report import draw_results, print_results
from sbp_tad.apis.command_line import run_main


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; ``--help`` explains every option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='tsn_r50', metavar='NAME',
                        help=f'{", ".join(BENCHMARK_MODELS)} (default: %(default)s)')
    parser.add_argument('--frames', type=int, metavar='T', help='default: as usual for the model')
    parser.add_argument('--size', type=int, default=112, metavar='S',
                        help='height and width in pixels (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=1, metavar='B')
    parser.add_argument('--variant', nargs='+', default=[], metavar='NAME',
                        help=f'{", ".join(VARIANTS)}; default: all that exist for the model')
    parser.add_argument('--keep-ratio', nargs='+', type=float, default=[0.25], metavar='R',
                        help='each of them for each SBP variant; the others know none and are '
                             'measured once, keep_ratio being the share of the backward that '
                             'they keep (default: 0.25)')
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    parser.add_argument('--amp', action='store_true', help='autocast to bfloat16')
    parser.add_argument('--threads', type=int, default=1, metavar='N',
                        help='of PyTorch on the CPU (default: %(default)s)')
    parser.add_argument('--repeats', type=int, default=5, metavar='N',
                        help='timed steps, the median counts (default: %(default)s)')
    parser.add_argument('--json', type=Path, metavar='FILE',
                        help='write the results, a list with one object a variant and ratio')
    parser.add_argument('--plot', type=Path, metavar='FILE.png',
                        help='draw memory and time against the keep ratio')
    group = parser.add_argument_group('SBP variants')
    group.add_argument('--sampler', metavar='NAME', help='which clips are kept')
    group.add_argument('--no-fold-bn', action='store_false', dest='fold_bn',
                       help='do not fold frozen batch normalization')
    group.add_argument('--clips-at-once', type=int, metavar='N', help='clips encoded in one pass')
    for name, meaning in (('mask', 'how the kept tokens lie'),
                          ('kv', 'gradient of keys and values: full or kept'),
                          ('shortcut', 'gradient of the residual connections: full or dropped')):
        group.add_argument(f'--{name}', metavar='NAME', help=f'sbp-token: {meaning}')
    return parser.parse_args(argv)


def write_json(path: Path, results: Sequence[BenchmarkResult]) -> None:
    """Write the results in full precision."""
    text = json.dumps([result.to_json() for result in results], indent=2) + '\n'
    try:
        path.write_text(text, encoding='utf8')
    except OSError as error:
        raise BenchmarkError(f'Cannot write the results to {path}: {error.strerror}.') from error


def check_outputs(*paths: Path | None) -> None:
    """Refuse a file that cannot be written before minutes of measuring."""
    for path in paths:
        if path and not path.absolute().parent.is_dir():
            raise BenchmarkError(f'Cannot write {path}: the folder {path.parent} does not exist; '
                                 'create it first.')


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and write where asked."""
    arguments = parse_arguments(argv)
    check_outputs(arguments.json, arguments.plot)
    names = ('size', 'batch', 'device', 'amp', 'threads', 'repeats', 'sampler', 'fold_bn',
             'clips_at_once', 'mask', 'kv', 'shortcut')
    settings = BenchmarkSettings(arguments.model, arguments.variant, arguments.keep_ratio,
                                 arguments.frames,
                                 {name: getattr(arguments, name) for name in names})
    with Console(stderr=True).status('') as status:
        results = run_benchmark(settings, report=lambda case: status.update(
            f'{arguments.model}: {case.variant}, keep ratio {case.keep_ratio:g}'))
    print_results(results)
    if arguments.json:
        write_json(arguments.json, results)
    if arguments.plot:
        draw_results(arguments.plot, results)
    return 0


if __name__ == '__main__':
    run_main(main)
