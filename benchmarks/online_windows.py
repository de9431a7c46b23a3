"""Measure the time per frame of LSTR with tiles and with windows that slide by one frame."""
from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

import sbp_tad.models  # noqa: F401, registers the head
from benchmarks.errors import BenchmarkError
from benchmarks.output import write_json
from sbp_tad.apis.command_line import run_main
from sbp_tad.apis.launch import load_config
from sbp_tad.apis.named_files import find_config
from sbp_tad.models.heads.lstr_head import LSTRHead
from sbp_tad.models.heads.online_head import StreamState
from sbp_tad.registry import MODELS

RECIPE = 'lstr_kinetics-features_512s+32_thumos14'


def ways(head: LSTRHead, features: torch.Tensor) -> dict[str, tuple[Callable[[], object], int]]:
    """Return the ways to score frames at full history: what runs, and the frames that it scores.

    Args:
        head: with ``windows='sliding'``, in evaluation mode.
        features: (n, C') of a video that fills the history.
    """
    history = features[None, :head.memory_frames].transpose(1, 2)  # values take no time
    mask = torch.ones(1, head.memory_frames, dtype=torch.bool)
    window = features[None, :head.num_frames].transpose(1, 2)
    batch, count = head.windows_at_once, len(features)
    video, kept = head.encode_frames(features), head.encode_frames(features[-head.limit:])
    state = StreamState(count, features[:0], kept)
    ends = range(count - batch + 1, count + 1)

    def slide_over_a_video() -> None:
        head.encode_frames(features[:batch], kept)  # each window adds one frame
        head.score_last(video, ends, 0)

    return {
        'tiles': (lambda: head.predict(history, mask, window), head.num_frames),
        'sliding, of a video': (slide_over_a_video, batch),
        'sliding, of a stream': (lambda: head.step(state, features[0]), 1),
        'sliding, each window encoded anew': (lambda: head.predict(history, mask, window), 1)}


@torch.no_grad()
def measure(head: LSTRHead, repetitions: int) -> dict[str, float]:
    """Return the CPU seconds per frame of each way, the median of several runs in turns.

    Raises:
        BenchmarkError: no repetition.
    """
    if repetitions < 1:
        raise BenchmarkError(f'--repetitions must be at least 1, got {repetitions}.')
    found = ways(head, torch.randn(head.limit + head.windows_at_once, head.in_channels))
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(1 + repetitions):  # the first one warms up
        for name, (run, num_frames) in found.items():
            start = time.process_time()
            run()
            if turn:
                seconds[name].append((time.process_time() - start) / num_frames)
    return {name: median(values) for name, values in seconds.items()}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='?', default=RECIPE,
                        help=f'config with an LSTRHead, by path or name (default: {RECIPE})')
    parser.add_argument('--repetitions', type=int, default=10, help='measured runs of each way')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures')
    return parser


def main(argv: list[str] | None = None) -> None:
    """Build the head, measure on one thread, print, and write the file that is asked for."""
    arguments = build_parser().parse_args(argv)
    torch.set_num_threads(1)
    config = find_config(arguments.config)
    settings = dict(load_config(config).model.head, windows='sliding')
    seconds = measure(MODELS.build(settings).eval(), arguments.repetitions)
    table = Table(title=f'{Path(config).stem}, one CPU thread', title_justify='left')
    table.add_column('windows')
    table.add_column('ms per frame', justify='right')
    for name, value in seconds.items():
        table.add_row(name, f'{1000 * value:.1f}')
    Console(markup=False, emoji=False).print(table)
    if arguments.json:
        write_json(arguments.json, dict(config=Path(config).stem, threads=1,
                                        repetitions=arguments.repetitions,
                                        torch_version=torch.__version__,
                                        cpu_seconds_per_frame=seconds))


if __name__ == '__main__':
    run_main(main)
