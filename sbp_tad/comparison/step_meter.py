"""What one training step costs: bytes saved, peak memory, time. Runs in a process of its own."""
from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.networks import BenchmarkCase, BenchmarkNetwork, build_network
from sbp_tad.planning.saved_memory import meter_saved_memory

STATUS, CLEAR_REFS = Path('/proc/self/status'), Path('/proc/self/clear_refs')


@dataclass(frozen=True)
class StepSeconds:
    """Time of one training step; the optimizer is left out, the same for all."""

    forward: float
    backward: float
    wall: float

    @property
    def step(self) -> float:
        """Forward and backward."""
        return self.forward + self.backward


@dataclass(frozen=True)
class Measurement:
    """One case: ``full`` are steps of full backpropagation that alternated with ``steps``."""

    saved_bytes: int
    peak_bytes: int
    steps: list[StepSeconds]
    full: list[StepSeconds]


def measure(case: BenchmarkCase) -> Measurement:
    """Measure a case; call it in a fresh process, whose memory nothing else has touched.

    The first step gives the peak of memory, the second the saved bytes, the
    ones after these the time, in turns with a network trained in full.
    """
    torch.set_num_threads(case.threads)
    # mmaction leaves it to torch which form of checkpointing is the default.
    warnings.filterwarnings('ignore', 'torch.utils.checkpoint: the use_reentrant')
    video = torch.randn(case.batch, 3, case.frames, case.size, case.size, device=case.device)
    network = _build(case)
    peak = peak_bytes(lambda: _step(network, video, case), video.device)
    with meter_saved_memory(network) as meter:
        _step(network, video, case)
    saved = meter.bytes
    if case.variant == 'full':
        steps = [_step(network, video, case) for _ in range(case.repeats)]
        return Measurement(saved, peak, steps, steps)
    full_network = _build(replace(case, variant='full', keep_ratio=1.0))
    steps, full = alternate(lambda: _step(network, video, case),
                            lambda: _step(full_network, video, case), case.repeats)
    return Measurement(saved, peak, steps, full)


def alternate(step: Callable[[], StepSeconds], full_step: Callable[[], StepSeconds], repeats: int
              ) -> tuple[list[StepSeconds], list[StepSeconds]]:
    """Steps and steps of full backpropagation in turns, after one of these to warm up."""
    full_step()
    full, steps = interleave([full_step, step], repeats)
    return steps, full


def interleave(steps: Sequence[Callable[[], StepSeconds]], repeats: int
               ) -> list[list[StepSeconds]]:
    """Rounds in which every step is taken once; the times of each step over the rounds."""
    rounds = [[step() for step in steps] for _ in range(repeats)]
    return [list(times) for times in zip(*rounds)]


def _build(case: BenchmarkCase) -> BenchmarkNetwork:
    torch.manual_seed(0)
    return build_network(case).to(case.device)


def _step(network: nn.Module, video: Tensor, case: BenchmarkCase) -> StepSeconds:
    def loss() -> Tensor:
        with torch.autocast(video.device.type, torch.bfloat16, enabled=case.amp):
            return network(video)

    return time_step(network, loss, video.device)


def time_step(network: nn.Module, loss: Callable[[], Tensor], device: torch.device) -> StepSeconds:
    """Time of ``loss()``, a scalar of the network, and of its backward."""
    network.zero_grad()
    start, wall_start = _now(device), time.perf_counter()
    value = loss()
    middle = _now(device)
    value.backward()
    end = _now(device)
    return StepSeconds(middle - start, end - middle, time.perf_counter() - wall_start)


def _now(device: torch.device) -> float:
    """CPU time on the CPU, which other processes do not stretch; wall time on CUDA."""
    if device.type == 'cpu':
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def peak_bytes(step: Callable[[], object], device: torch.device) -> int:
    """CUDA: the most memory allocated. CPU: resident memory above that before the step."""
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device)
    try:
        CLEAR_REFS.write_text('5')  # Linux: forget the peak so far
        before = _status_bytes('VmRSS')
        step()
        return _status_bytes('VmHWM') - before
    except OSError:  # no /proc: the peak of the process' life, reached by this step
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        step()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def _status_bytes(field: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(field + ':'):
            return int(line.split()[1]) * 1024
    raise OSError(f'{STATUS} has no {field}')
