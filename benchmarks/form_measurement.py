"""Measurement of the forms of SBP beside full backpropagation, each case in a fresh process."""
from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.errors import BenchmarkError
from benchmarks.networks import BENCHMARK_MODELS, VARIANTS, BenchmarkCase, build_network, check_case
from sbp_tad.comparison.step_meter import (
    StepMeter,
    StepSeconds,
    in_fresh_process,
    median_seconds,
    step_ratios,
    take_turns,
    take_turns_with_full,
)


@dataclass(frozen=True)
class BenchmarkSettings:
    """Cases to measure; checks their names and numbers.

    Args:
        model: a name in ``BENCHMARK_MODELS``.
        variants: names in ``VARIANTS``; empty takes all that exist for the model.
        keep_ratios: each of them for each SBP variant.
        frames: T; None takes the default of the model.
        options: other fields of :class:`BenchmarkCase`.

    Raises:
        BenchmarkError: an unknown name, or a number out of range.
    """

    model: str
    variants: Sequence[str]
    keep_ratios: Sequence[float]
    frames: int | None
    options: dict[str, Any]

    def __post_init__(self) -> None:
        _check_names('model', [self.model], BENCHMARK_MODELS)
        _check_names('variant', self.variants, VARIANTS)
        for name in ('size', 'batch', 'threads', 'repeats', 'clips_at_once'):
            value = self.options.get(name)
            if value is not None and value < 1:
                raise BenchmarkError(f'--{name.replace("_", "-")} must be at least 1, '
                                     f'got {value}.')
        _check_device(self.options.get('device', 'cpu'))

    def cases(self) -> list[BenchmarkCase]:
        """Return one case per variant and keep ratio; some variants take no ratio.

        Raises:
            BenchmarkError, SBPError: an impossible case, before any is measured.
        """
        cases = [self._case(variant, ratio) for variant in self.variants or VARIANTS
                 for ratio in self._ratios(variant)]
        if not self.variants:
            cases = [case for case in cases if _exists(case)]
        for case in cases:
            build_network(case)
        return cases

    def _ratios(self, variant: str) -> Sequence[float]:
        share = VARIANTS[variant].share
        return self.keep_ratios if share is None else [share]

    def _case(self, variant: str, ratio: float) -> BenchmarkCase:
        model = BENCHMARK_MODELS[self.model]
        frames = model.frames if self.frames is None else self.frames
        return BenchmarkCase(model, variant, ratio, frames, **self.options)


@dataclass(frozen=True)
class BenchmarkResult:
    """A case beside full backpropagation; seconds are medians, ratios are relative to full.

    ``forward_seconds``, ``backward_seconds`` and ``step_seconds`` are CPU time on
    the CPU and wall time on CUDA. ``full_*_seconds`` are times of the full steps
    taken in turns with them. ``time_bound`` is the least time of the method, from
    the measured forward and backward of full backpropagation; ``saved_bound`` is
    the least it saves (None where the keep ratio does not determine it).
    """

    model: str
    variant: str
    keep_ratio: float
    saved_bytes: int
    saved_ratio: float
    saved_bound: float | None
    peak_bytes: int
    peak_ratio: float
    forward_seconds: float
    backward_seconds: float
    step_seconds: float
    wall_seconds: float
    full_forward_seconds: float
    full_backward_seconds: float
    full_step_seconds: float
    time_ratio: float
    time_bound: float
    wall_ratio: float
    step_ratios: list[float]
    settings: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the fields and the settings in one dictionary."""
        fields = asdict(self)
        return fields | fields.pop('settings')


def run_benchmark(settings: BenchmarkSettings,
                  run: Callable[[BenchmarkCase], CaseMeasurement] | None = None,
                  report: Callable[[BenchmarkCase], None] = lambda case: None
                  ) -> list[BenchmarkResult]:
    """Measure every case, and full backpropagation with it.

    Args:
        settings: cases to measure.
        run: measures a case; by default in a fresh process.
        report: called before each case.

    Raises:
        BenchmarkError, SBPError: a case is impossible or did not fit in memory.
    """
    run = run or run_in_process
    cases = settings.cases()
    full_case = settings._case('full', 1.0)
    report(full_case)
    full = run(full_case)
    results = []
    for case in cases:
        if case.variant != 'full':
            report(case)
        measured = full if case.variant == 'full' else run(case)
        results.append(compare(settings.model, case, measured, full))
    return results


def run_in_process(case: BenchmarkCase) -> CaseMeasurement:
    """Measure in a fresh process, whose memory no other case has used.

    Raises:
        BenchmarkError: the process ran out of memory.
    """
    try:
        return in_fresh_process(measure, case)
    except (BrokenProcessPool, torch.cuda.OutOfMemoryError) as error:
        raise BenchmarkError(
            f'the process of {case.variant} (keep ratio {case.keep_ratio:g}) ran out of memory or '
            'was killed; choose fewer --frames, a smaller --size or --batch.') from error


@dataclass(frozen=True)
class CaseMeasurement:
    """Figures of one case.

    Args:
        saved_bytes, peak_bytes: of a step.
        steps: times of steps.
        full: times of steps of full backpropagation, taken in turns with them.
    """

    saved_bytes: int
    peak_bytes: int
    steps: list[StepSeconds]
    full: list[StepSeconds]


def measure(case: BenchmarkCase) -> CaseMeasurement:
    """Measure a case; call it in a fresh process, whose memory nothing else has used.

    The first step gives the peak of memory, the second the saved bytes. The steps after
    them give the times, in turns with a network that is backpropagated in full.
    """
    torch.set_num_threads(case.threads)
    # mmaction leaves the form of checkpointing to torch's default.
    warnings.filterwarnings('ignore', 'torch.utils.checkpoint: the use_reentrant')
    video = torch.randn(case.batch, 3, case.frames, case.size, case.size, device=case.device)
    meter = case_meter(case, video)
    peak, saved = meter.peak_bytes(), meter.saved_bytes()
    if case.variant == 'full':
        steps, = take_turns([meter.seconds], case.repeats)
        return CaseMeasurement(saved, peak, steps, steps)
    full_meter = case_meter(replace(case, variant='full', keep_ratio=1.0), video)
    return CaseMeasurement(saved, peak, *take_turns_with_full(meter, full_meter, case.repeats))


def case_meter(case: BenchmarkCase, video: Tensor) -> StepMeter:
    """Return the meter of a step of a case on frames (B, 3, T, S, S)."""
    torch.manual_seed(0)
    network = build_network(case).to(case.device)

    def loss() -> Tensor:
        with torch.autocast(video.device.type, torch.bfloat16, enabled=case.amp):
            return network(video)

    return StepMeter(network, [loss])


def compare(model: str, case: BenchmarkCase, measured: CaseMeasurement, full: CaseMeasurement
            ) -> BenchmarkResult:
    """Return medians and ratios of a case; ``full`` is the case of full backpropagation."""
    variant = VARIANTS[case.variant]
    own, beside = median_seconds(measured.steps), median_seconds(measured.full)
    settings = asdict(case)
    for name in ('model', 'variant', 'keep_ratio'):
        del settings[name]
    return BenchmarkResult(
        model, case.variant, case.keep_ratio,
        saved_bytes=measured.saved_bytes,
        saved_ratio=measured.saved_bytes / full.saved_bytes,
        saved_bound=variant.saved_bound(case.keep_ratio),
        peak_bytes=measured.peak_bytes,
        peak_ratio=measured.peak_bytes / full.peak_bytes,
        forward_seconds=own.forward, backward_seconds=own.backward, step_seconds=own.step,
        wall_seconds=own.wall,
        full_forward_seconds=beside.forward, full_backward_seconds=beside.backward,
        full_step_seconds=beside.step,
        time_ratio=own.step / beside.step,
        time_bound=variant.ideal(case.keep_ratio, beside.forward, beside.backward) / beside.step,
        wall_ratio=own.wall / beside.wall,
        step_ratios=step_ratios(measured.steps, measured.full),
        settings=settings)


def _check_names(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise BenchmarkError(f'unknown {kind} {name!r}; choose from '
                                 f'{", ".join(known)}.')


def _check_device(device: str) -> None:
    kind = device.partition(':')[0]
    if kind not in ('cpu', 'cuda'):
        raise BenchmarkError(f'--device must be cpu or cuda, got {device!r}.')
    if kind == 'cuda' and not torch.cuda.is_available():
        raise BenchmarkError('--device cuda: PyTorch finds no CUDA device; choose --device cpu.')


def _exists(case: BenchmarkCase) -> bool:
    try:
        check_case(case)
    except BenchmarkError:
        return False
    return True
