"""Measure the decoding time of windows of frames, by bare decoders and by whole pipelines.

Write an H.264 file for every --gop. Read windows from it with the installed bare
decoders, the default pipeline and the pipelines of mmaction's decoders, in turns
and with one thread. Compare their frames.
"""
from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.decoders import (
    DecodingResult,
    DecodingSettings,
    measure_decoding,
    readers,
    write_benchmark_video,
)
from benchmarks.output import write_json
from sbp_tad.apis.command_line import run_main


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--gop', nargs='+', type=int, default=[48, 250], metavar='N',
                        help='frames between key frames, one file for each (default: 48 250)')
    for name, meaning in (('seconds', 'length of the file'), ('width', 'pixels'),
                          ('height', 'pixels'), ('num-frames', 'frames of a window'),
                          ('stride-frames', 'distance of two frames of a window'),
                          ('windows', 'windows per file'),
                          ('repeats', 'repetitions per window, of which the fastest is taken')):
        default = getattr(DecodingSettings, name.replace('-', '_'))
        parser.add_argument(f'--{name}', type=int, default=default, metavar='N',
                            help=f'{meaning} (default: {default})')
    parser.add_argument('--slow', action='store_true',
                        help="measure mmaction's OpenCVDecode and PyAVDecode, which take seconds")
    parser.add_argument('--json', type=Path, metavar='FILE',
                        help='write the results, one object per file and reader')
    return parser


def results_table(results: list[DecodingResult]) -> Table:
    """Return a table with one row per reader."""
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
    """Measure, print, and write the file that is asked for."""
    arguments = vars(build_parser().parse_args(argv))
    gops, slow, path = (arguments.pop(name) for name in ('gop', 'slow', 'json'))
    cases = [DecodingSettings(gop=gop, **arguments) for gop in gops]
    console, rows = Console(markup=False, emoji=False, width=110), []
    with tempfile.TemporaryDirectory() as folder:
        for number, settings in enumerate(cases):
            filename = f'{folder}/{number}.mp4'
            write_benchmark_video(filename, settings)
            results = measure_decoding(filename, settings, *readers(slow))
            console.print(results_table(results))
            rows += [result.to_json() for result in results]
    if path:
        write_json(path, rows)
    return 0


if __name__ == '__main__':
    run_main(main)
