"""Cost of one training step: saved bytes, peak memory and time of its forward and backward.

Every measurement of the project uses this meter. Times of several networks are taken in
turns, so that other work on the machine slows all of them alike.
"""
from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch
from torch import Tensor, nn

from sbp_tad.engine.training_state import peak_memory_bytes
from sbp_tad.planning.saved_memory import meter_saved_memory

STATUS, CLEAR_REFS = Path('/proc/self/status'), Path('/proc/self/clear_refs')
Result = TypeVar('Result')


@dataclass(frozen=True)
class StepSeconds:
    """Seconds of one training step without the optimizer, whose cost is the same for all.

    Args:
        forward, backward: CPU time on the CPU, wall time on CUDA.
        wall: wall time of both.
    """

    forward: float
    backward: float
    wall: float

    @property
    def step(self) -> float:
        """Forward and backward."""
        return self.forward + self.backward


@dataclass(frozen=True)
class StepMeter:
    """Measures forward and backward of a whole batch, without an update.

    Args:
        network: in training mode.
        losses: each returns a scalar loss of the network; several where the batch is
            processed in parts and gradients are accumulated.
    """

    network: nn.Module
    losses: Sequence[Callable[[], Tensor]]

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return next(self.network.parameters()).device

    def seconds(self) -> StepSeconds:
        """Run one step and return its time, the sum over the parts of the batch."""
        parts = [time_step(self.network, loss, self.device) for loss in self.losses]
        return StepSeconds(sum(part.forward for part in parts),
                           sum(part.backward for part in parts), sum(part.wall for part in parts))

    def saved_bytes(self) -> int:
        """Run the first part and return the most bytes that are held for backward at one time.

        The backward is measured too: some ways of training encode again there, and hold
        memory only then.
        """
        self.network.zero_grad()
        with meter_saved_memory(self.network) as meter:
            self.losses[0]().backward()
        self.network.zero_grad()
        return meter.bytes

    def peak_bytes(self) -> int:
        """Run one step and return its peak memory; call it first in a fresh process.

        Returns:
            On CUDA the most memory allocated; on the CPU the largest resident memory above
            the memory before the step.
        """
        if self.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self.device)
            self.seconds()
            return torch.cuda.max_memory_allocated(self.device)
        return _peak_resident_bytes(self.seconds)


def forward_bytes(network: nn.Module, loss: Callable[[], Tensor]) -> int:
    """Return the bytes that the forward of ``loss()`` saves for backward."""
    with meter_saved_memory(network) as meter:
        loss()
    return meter.bytes


def time_step(network: nn.Module, loss: Callable[[], Tensor], device: torch.device) -> StepSeconds:
    """Return the time of ``loss()``, a scalar of the network, and of its backward."""
    network.zero_grad()
    start, wall_start = _now(device), time.perf_counter()
    value = loss()
    middle = _now(device)
    value.backward()
    end = _now(device)
    return StepSeconds(middle - start, end - middle, time.perf_counter() - wall_start)


def take_turns(steps: Sequence[Callable[[], StepSeconds]], repeats: int
               ) -> list[list[StepSeconds]]:
    """Take every step once per round; return the times of each step over the rounds."""
    rounds = [[step() for step in steps] for _ in range(repeats)]
    return [list(times) for times in zip(*rounds)]


def take_turns_with_full(meter: StepMeter, full: StepMeter, repeats: int
                         ) -> tuple[list[StepSeconds], list[StepSeconds]]:
    """Return times of steps, and of steps of full backpropagation taken in turns with them.

    One more step of full backpropagation comes first to warm up.
    """
    full.seconds()
    full_times, times = take_turns([full.seconds, meter.seconds], repeats)
    return times, full_times


def step_ratios(times: Sequence[StepSeconds], full_times: Sequence[StepSeconds]) -> list[float]:
    """Return the time of each step divided by that of full backpropagation in its round."""
    return [own.step / full.step for own, full in zip(times, full_times)]


def median_seconds(times: Sequence[StepSeconds]) -> StepSeconds:
    """Return the median of the forward, the backward and the wall time."""
    return StepSeconds(*(median(getattr(step, name) for step in times)
                         for name in ('forward', 'backward', 'wall')))


def in_fresh_process(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function in a new process, whose memory nothing else has used.

    Args:
        function: of a module, so that the process can import it.
        arguments: of the function; they must be picklable, as must the result.

    Raises:
        BrokenProcessPool: the process was killed, mostly because memory ran out.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn')) as pool:
        return pool.submit(function, *arguments).result()


def _now(device: torch.device) -> float:
    """CPU time on the CPU, which other processes do not stretch; wall time on CUDA."""
    if device.type == 'cpu':
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def _peak_resident_bytes(step: Callable[[], object]) -> int:
    try:
        CLEAR_REFS.write_text('5')  # Linux: forget the peak so far
        before = _status_bytes('VmRSS')
        step()
        return _status_bytes('VmHWM') - before
    except OSError:  # no /proc: the peak since the process began, reached by this step
        before = peak_memory_bytes(resource.RUSAGE_SELF)
        step()
        return peak_memory_bytes(resource.RUSAGE_SELF) - before


def _status_bytes(field: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(field + ':'):
            return int(line.split()[1]) * 1024
    raise OSError(f'{STATUS} has no {field}')
