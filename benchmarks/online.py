"""Measure the scoring of a stream by an online detector: frames per second, latency, memory."""
from __future__ import annotations

import argparse
import io
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.errors import BenchmarkError
from benchmarks.output import write_json
from sbp_tad.apis.command_line import run_main
from sbp_tad.apis.inference.online_inferencer import OnlineInferencer
from sbp_tad.apis.named_files import find_config
from sbp_tad.engine.training_state import peak_memory_bytes
from sbp_tad.models.heads.online_head import StreamState


@dataclass(frozen=True)
class StreamMeasurement:
    """Figures of scoring one stream with frames in memory; a step is one frame of the model.

    Args:
        frames_per_second: steps per second.
        times_real_time: frames_per_second divided by the frame rate of the model; None where
            its stride is counted in frames.
        latency_seconds: ``median``, ``p95``, ``p99`` and ``max`` of the time from a frame to
            its scores; the longest begin a window and read the long memory.
        state_bytes: bytes kept of the stream after the last step.
        peak_memory_bytes: memory allocated on a GPU, else resident memory of the process.
        num_steps: measured steps.
        frame_size: height and width of the frames before the pipeline.
        device: of the model.
        threads: of PyTorch.
    """

    frames_per_second: float
    times_real_time: float | None
    latency_seconds: dict[str, float]
    state_bytes: int
    peak_memory_bytes: int
    num_steps: int
    frame_size: tuple[int, int]
    device: str
    threads: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


def measure_stream(inferencer: OnlineInferencer, num_steps: int = 200, warm_up: int = 20,
                   frame_size: tuple[int, int] = (240, 320)) -> StreamMeasurement:
    """Measure the scoring of frames of noise.

    Args:
        inferencer: of the detector.
        num_steps: measured steps.
        warm_up: steps before the measured ones.
        frame_size: height and width.

    Raises:
        BenchmarkError: no step to measure, or no pixel.
    """
    if num_steps < 1 or warm_up < 0 or min(frame_size) < 1:
        raise BenchmarkError('--steps and --size must be at least 1, --warm-up at least 0, got '
                             f'{num_steps}, {frame_size} and {warm_up}.')
    frames = np.random.default_rng(0).integers(0, 256, (8, *frame_size, 3), np.uint8)
    state, seconds = inferencer.model.init_state(), []
    for index in range(warm_up + num_steps):
        start = time.perf_counter()
        _, state = inferencer.step(state, frames[index % len(frames)])
        seconds.append(time.perf_counter() - start)
    measured = np.array(seconds[warm_up:])
    rate = num_steps / measured.sum()
    target_fps = inferencer.dataset.window_size.target_fps
    percentiles = np.percentile(measured, (50, 95, 99, 100)).tolist()
    device = next(inferencer.model.parameters()).device
    return StreamMeasurement(
        float(rate), float(rate / target_fps) if target_fps else None,
        dict(zip(('median', 'p95', 'p99', 'max'), percentiles)), held_bytes(state),
        torch.cuda.max_memory_allocated(device) if device.type == 'cuda' else peak_memory_bytes(),
        num_steps, tuple(frame_size), str(device), torch.get_num_threads())


def held_bytes(state: StreamState) -> int:
    """Return the bytes of a state, with the whole storage of tensors that are views."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.tell()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of an online detector, or the name of a recipe')
    parser.add_argument('--checkpoint', help='trained weights (default: random ones, which take as '
                                             'long)')
    parser.add_argument('--steps', type=int, default=200, help='measured frames')
    parser.add_argument('--warm-up', type=int, default=20, help='frames before the measured ones')
    parser.add_argument('--size', type=int, nargs=2, default=(240, 320),
                        metavar=('HEIGHT', 'WIDTH'), help='size of the frames before the pipeline')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--threads', type=int, default=1, help='threads of PyTorch on the CPU')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures')
    return parser


def print_measurement(name: str, result: StreamMeasurement) -> None:
    """Print the figures as a table."""
    table = Table(title=f'{name}, {result.device}, {result.threads} threads', title_justify='left')
    table.add_column('figure')
    table.add_column('value', justify='right')
    table.add_row('frames per second', f'{result.frames_per_second:.1f}')
    if result.times_real_time is not None:
        table.add_row('times real time', f'{result.times_real_time:.1f}')
    for word, seconds in result.latency_seconds.items():
        table.add_row(f'latency, {word}', f'{1000 * seconds:.1f} ms')
    table.add_row('kept of the stream', f'{result.state_bytes / 2**20:.2f} MiB')
    table.add_row('peak memory', f'{result.peak_memory_bytes / 2**20:.0f} MiB')
    Console(markup=False, emoji=False).print(table)


def main(argv: list[str] | None = None) -> None:
    """Build the detector, measure, print, and write the file that is asked for."""
    arguments = build_parser().parse_args(argv)
    if arguments.threads < 1:
        raise BenchmarkError(f'--threads must be at least 1, got {arguments.threads}.')
    torch.set_num_threads(arguments.threads)
    config = find_config(arguments.config)
    inferencer = OnlineInferencer(config, arguments.checkpoint, arguments.device)
    result = measure_stream(inferencer, arguments.steps, arguments.warm_up, tuple(arguments.size))
    print_measurement(Path(config).stem, result)
    if arguments.json:
        write_json(arguments.json, dict(config=Path(config).stem, torch_version=torch.__version__,
                                        **result.to_json()))


if __name__ == '__main__':
    run_main(main)
