"""How fast a stream is scored, how late each score is, and what is kept of the stream."""
from __future__ import annotations

import io
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from sbp_tad.apis.errors import InferenceError
from sbp_tad.apis.inference.online_inferencer import OnlineInferencer
from sbp_tad.engine.training_state import peak_memory_bytes
from sbp_tad.models.heads.online_head import StreamState


@dataclass(frozen=True)
class StreamMeasurement:
    """Scoring one stream, frames in memory; a step is one frame at the rate of the model.

    Args:
        frames_per_second: steps a second, one after the other.
        times_real_time: that over the steps a second that the model is for; None where its
            stride is counted in frames.
        latency_seconds: ``median``, ``p95``, ``p99`` and ``max`` of the time from a frame to
            its scores; the longest are those that begin a window and read the memory.
        state_bytes: what is kept of the stream after the last step.
        peak_memory_bytes: allocated on a GPU, else resident in the process.
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
        """The fields."""
        return asdict(self)


def measure_stream(inferencer: OnlineInferencer, num_steps: int = 200, warm_up: int = 20,
                   frame_size: tuple[int, int] = (240, 320)) -> StreamMeasurement:
    """Score frames of noise.

    Args:
        inferencer: scores them.
        num_steps: that are measured.
        warm_up: steps before these.
        frame_size: height and width.

    Raises:
        InferenceError: nothing to measure.
    """
    if num_steps < 1 or warm_up < 0 or min(frame_size) < 1:
        raise InferenceError('a stream needs at least 1 step, a warm-up of at least 0 and frames '
                             f'of at least 1 pixel, got {num_steps}, {warm_up} and {frame_size}.')
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
    """Bytes that a state holds on to, with all the storage that its tensors are views of."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.tell()
