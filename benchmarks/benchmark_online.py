#!/usr/bin/env python
"""Measure how fast a detector scores a stream: frames a second, latency, memory."""
from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.online_benchmark import StreamMeasurement, measure_stream
from sbp_tad.apis import launch
from sbp_tad.apis.command_line import run_main
from sbp_tad.apis.errors import InferenceError
from sbp_tad.apis.inference.online_inferencer import OnlineInferencer


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; ``--help`` explains every option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of an online detector, or the name of a recipe')
    parser.add_argument('--checkpoint', help='trained weights (default: as they are drawn, which '
                                             'takes as long)')
    parser.add_argument('--steps', type=int, default=200, help='frames that are measured')
    parser.add_argument('--warm-up', type=int, default=20, help='frames before these')
    parser.add_argument('--size', type=int, nargs=2, default=(240, 320),
                        metavar=('HEIGHT', 'WIDTH'), help='of the frames, before the pipeline')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--threads', type=int, default=1, help='of PyTorch on the CPU')
    parser.add_argument('--json', type=Path, help='write the figures there')
    return parser.parse_args(argv)


def print_measurement(name: str, result: StreamMeasurement) -> None:
    """The figures as a table."""
    table = Table(title=f'{name}, {result.device}, {result.threads} threads', title_justify='left')
    table.add_column('figure')
    table.add_column('value', justify='right')
    table.add_row('frames a second', f'{result.frames_per_second:.1f}')
    if result.times_real_time is not None:
        table.add_row('times real time', f'{result.times_real_time:.1f}')
    for word, seconds in result.latency_seconds.items():
        table.add_row(f'latency, {word}', f'{1000 * seconds:.1f} ms')
    table.add_row('kept of the stream', f'{result.state_bytes / 2**20:.2f} MiB')
    table.add_row('peak memory', f'{result.peak_memory_bytes / 2**20:.0f} MiB')
    Console().print(table)


def main(argv: list[str] | None = None) -> None:
    """Build the detector, measure, print, and write where asked."""
    arguments = parse_arguments(argv)
    if arguments.threads < 1:
        raise InferenceError(f'--threads must be at least 1, got {arguments.threads}.')
    torch.set_num_threads(arguments.threads)
    config = launch.find_config(arguments.config)
    inferencer = OnlineInferencer(config, arguments.checkpoint, arguments.device)
    result = measure_stream(inferencer, arguments.steps, arguments.warm_up, tuple(arguments.size))
    print_measurement(Path(config).stem, result)
    if arguments.json:
        content = dict(config=Path(config).stem, torch_version=torch.__version__,
                       **result.to_json())
        arguments.json.write_text(json.dumps(content, indent=2) + '\n', encoding='utf8')


if __name__ == '__main__':
    run_main(main)
