#!/usr/bin/env python3
"""Measure how fast windows of frames are decoded, by each decoder and by whole pipelines.

Writes an H.264 file for every --gop, reads windows from it with the bare
decoders that are installed, the default pipeline and those on mmaction's
decoders, in turns and with one thread, and compares the frames.
"""
from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.decoding_benchmark import (DecodingResult, DecodingSettings, measure_decoding,
                                           readers, write_benchmark_video)
from benchmarks.errors import BenchmarkError
from sbp_tad.apis.command_line import run_main


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; ``--help`` explains every option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--gop', nargs='+', type=int, default=[48, 250], metavar='N',
                        help='frames between key frames, a file each (default: 48 250)')
    for name, meaning in (('seconds', 'length of the file'), ('width', 'pixels'),
                          ('height', 'pixels'), ('num-frames', 'of a window'),
                          ('stride-frames', 'from one frame of a window to the next'),
                          ('windows', 'places in the file'),
                          ('repeats', 'of each window, the fastest counts')):
        default = getattr(DecodingSettings, name.replace('-', '_'))
        parser.add_argument(f'--{name}', type=int, default=default, metavar='N',
                            help=f'{meaning} (default: {default})')
    parser.add_argument('--slow', action='store_true',
                        help="also mmaction's OpenCVDecode and PyAVDecode: seconds a window")
    parser.add_argument('--json', type=Path, metavar='FILE',
                        help='write the results, a list with one object a file and reader')
    return parser.parse_args(argv)


def results_table(results: list[DecodingResult]) -> Table:
    """One row a reader."""
    settings = DecodingSettings(**results[0].settings)
    table = Table(title=f'{settings.num_frames} frames at stride {settings.stride_frames}, '
                        f'{settings.width} x {settings.height}, a key frame every {settings.gop}',
                  title_justify='left')
    for name in ('reader', 'frames', 'CPU ms', 'of fastest bare', 'wall ms', 'of fastest bare'):
        table.add_column(name, justify='left' if name == 'reader' else 'right', no_wrap=True)
    for row in results:
        table.add_row(('bare ' if row.bare else '') + row.reader,
                      'same' if row.same_frames else 'OTHER',
                      f'{1000 * row.cpu_seconds:.1f}', f'{row.cpu_ratio:.3f}',
                      f'{1000 * row.wall_seconds:.1f}', f'{row.wall_ratio:.3f}')
    return table


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and write where asked."""
    arguments = vars(parse_arguments(argv))
    gops, slow, path = (arguments.pop(name) for name in ('gop', 'slow', 'json'))
    cases = [DecodingSettings(gop=gop, **arguments) for gop in gops]
    console, rows = Console(width=110), []
    with tempfile.TemporaryDirectory() as folder:
        for number, settings in enumerate(cases):
            filename = f'{folder}/{number}.mp4'
            write_benchmark_video(filename, settings)
            results = measure_decoding(filename, settings, *readers(slow))
            console.print(results_table(results))
            rows += [result.to_json() for result in results]
    if path:
        try:
            path.write_text(json.dumps(rows, indent=2) + '\n', encoding='utf8')
        except OSError as error:
            raise BenchmarkError(f'Cannot write the results to {path}: '
                                 f'{error.strerror}.') from error
    return 0


if __name__ == '__main__':
    run_main(main)
