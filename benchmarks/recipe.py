"""Measure a recipe: the bytes that a training step saves for backward, and its time.

It runs on the CPU with one thread in float32, and needs neither data nor weights. Bytes are
those of one window, clip or image of the recipe. A detector is measured on one and on two clips;
the difference gives any number of clips. Time is the ratio to full backpropagation of the same
network, whose steps take turns with those of the recipe.
"""
from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger

from benchmarks.errors import BenchmarkError
from benchmarks.recipe_measurement import RecipeMeasurement, RecipeSettings, measure_recipe
from sbp_tad.apis.command_line import run_main
from sbp_tad.apis.config.options import add_config_options
from sbp_tad.apis.launch import load_config


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a detector or recognizer')
    parser.add_argument('--clips', type=int, default=RecipeSettings.clips, metavar='N',
                        help='clips of the timed window, or of the batch of a recognizer '
                             '(default: %(default)s)')
    parser.add_argument('--size', type=int, metavar='S',
                        help='height and width in pixels (default: that of the pipeline)')
    parser.add_argument('--repeats', type=int, default=RecipeSettings.repeats, metavar='N',
                        help='timed pairs of steps, 0 to measure bytes only (default: %(default)s)')
    add_config_options(parser)
    parser.add_argument('--json', type=Path, metavar='FILE',
                        help='write the figures, in place of those of the same command')
    return parser


def describe(row: RecipeMeasurement) -> str:
    """Return the figures as text."""
    lines = [f'saved for backward, {"x".join(map(str, row.saved_shape))}:']
    lines += [f'  r = {ratio:g}: {size / 2**20:.0f} MiB' for ratio, size in row.saved_bytes.items()]
    if row.full_saved_bytes is not None:
        lines.append(f'  without SBP: {row.full_saved_bytes / 2**20:.0f} MiB')
    if row.time_ratio is not None:
        lines.append(f'time of a step, {"x".join(map(str, row.time_shape))}, to full '
                     f'backpropagation: {row.time_ratio:.2f}')
    return '\n'.join(lines)


def write_row(path: Path, row: dict[str, Any]) -> None:
    """Put a row into a JSON list, in place of the one with the same config and options.

    Raises:
        BenchmarkError: the file cannot be written, or holds no such list.
    """
    keys = ('config', 'clips', 'size', 'cfg_options')
    try:
        rows = json.loads(path.read_text(encoding='utf-8')) if path.exists() else []
        rows = [other for other in rows if any(other[key] != row[key] for key in keys)]
        rows = sorted([*rows, row], key=lambda one: one['config'])
        path.write_text(json.dumps(rows, indent=1) + '\n', encoding='utf-8')
    except OSError as error:
        raise BenchmarkError(f'Cannot write the results to {path}: {error.strerror}.') from error
    except (ValueError, TypeError, KeyError) as error:
        raise BenchmarkError(f'{path} holds no list of recipes that this program wrote; give '
                             'another file.') from error


def main(argv: list[str] | None = None) -> None:
    """Measure, print, and write the file that is asked for."""
    arguments = build_parser().parse_args(argv)
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel('ERROR')  # no lines on initial weights
    settings = RecipeSettings(arguments.clips, arguments.size, arguments.repeats)
    result = measure_recipe(load_config(arguments.config, arguments.cfg_options), settings)
    print(describe(result))
    if arguments.json:
        write_row(arguments.json, dict(config=Path(arguments.config).as_posix(),
                                       cfg_options=arguments.cfg_options, **asdict(settings),
                                       **asdict(result), torch=torch.__version__))


if __name__ == '__main__':
    run_main(main)
