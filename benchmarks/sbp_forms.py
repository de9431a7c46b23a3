"""Measure memory and time of the forms of SBP beside full backpropagation.

Each variant runs in a fresh process. Its timed steps take turns with steps of full
backpropagation, so that the ratios are correct on a busy machine too.
"""
from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from benchmarks.errors import BenchmarkError
from benchmarks.form_measurement import BenchmarkSettings, run_benchmark
from benchmarks.form_report import draw_results, print_results
from benchmarks.networks import BENCHMARK_MODELS, VARIANTS
from benchmarks.output import write_json
from sbp_tad.apis.command_line import run_main


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='tsn_r50', metavar='NAME',
                        help=f'{", ".join(BENCHMARK_MODELS)} (default: %(default)s)')
    parser.add_argument('--frames', type=int, metavar='T',
                        help='frames of a window (default: that of the model)')
    parser.add_argument('--size', type=int, default=112, metavar='S',
                        help='height and width in pixels (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=1, metavar='B',
                        help='windows per batch (default: %(default)s)')
    parser.add_argument('--variant', nargs='+', default=[], metavar='NAME',
                        help=f'{", ".join(VARIANTS)} (default: all that the model has)')
    parser.add_argument('--keep-ratio', nargs='+', type=float, default=[0.25], metavar='R',
                        help='measure every SBP variant with each of them; the other variants are '
                             'measured once, their keep ratio is the share of the backward that '
                             'they keep (default: 0.25)')
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    parser.add_argument('--amp', action='store_true', help='autocast to bfloat16')
    parser.add_argument('--threads', type=int, default=1, metavar='N',
                        help='threads of PyTorch on the CPU (default: %(default)s)')
    parser.add_argument('--repeats', type=int, default=5, metavar='N',
                        help='timed steps, of which the median is taken (default: %(default)s)')
    parser.add_argument('--json', type=Path, metavar='FILE',
                        help='write the results, one object per variant and ratio')
    parser.add_argument('--plot', type=Path, metavar='FILE.png',
                        help='plot memory and time over the keep ratio')
    group = parser.add_argument_group('SBP variants')
    group.add_argument('--sampler', metavar='NAME', help='sampler of the kept clips')
    group.add_argument('--no-fold-bn', action='store_false', dest='fold_bn',
                       help='do not fold frozen batch normalization')
    group.add_argument('--clips-at-once', type=int, metavar='N', help='clips encoded in one pass')
    for name, meaning in (('mask', 'layout of the kept tokens'),
                          ('kv', 'gradient of keys and values: full or kept'),
                          ('shortcut', 'gradient of the residual connections: full or dropped')):
        group.add_argument(f'--{name}', metavar='NAME', help=f'sbp-token: {meaning}')
    return parser


def check_outputs(*paths: Path | None) -> None:
    """Check that the output folders exist, before minutes of measuring."""
    for path in paths:
        if path and not path.absolute().parent.is_dir():
            raise BenchmarkError(f'Cannot write {path}: the folder {path.parent} does not exist; '
                                 'create it first.')


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and write the files that are asked for."""
    arguments = build_parser().parse_args(argv)
    check_outputs(arguments.json, arguments.plot)
    names = ('size', 'batch', 'device', 'amp', 'threads', 'repeats', 'sampler', 'fold_bn',
             'clips_at_once', 'mask', 'kv', 'shortcut')
    settings = BenchmarkSettings(arguments.model, arguments.variant, arguments.keep_ratio,
                                 arguments.frames,
                                 {name: getattr(arguments, name) for name in names})
    with Console(markup=False, emoji=False, stderr=True).status('') as status:
        results = run_benchmark(settings, report=lambda case: status.update(
            f'{arguments.model}: {case.variant}, keep ratio {case.keep_ratio:g}'))
    print_results(results)
    if arguments.json:
        write_json(arguments.json, [result.to_json() for result in results])
    if arguments.plot:
        draw_results(arguments.plot, results)
    return 0


if __name__ == '__main__':
    run_main(main)
