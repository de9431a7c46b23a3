"""Measure stochastic backpropagation against full backpropagation, each case in a process."""
from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch

from benchmarks.errors import BenchmarkError
from benchmarks.networks import BENCHMARK_MODELS, VARIANTS, BenchmarkCase, build_network, check_case
from sbp_tad.comparison.step_meter import Measurement, StepSeconds, measure


@dataclass(frozen=True)
class BenchmarkSettings:
    """What to measure; checks the words and numbers.

    Args:
        model: a name in ``BENCHMARK_MODELS``.
        variants: names in ``VARIANTS``; empty takes all that exist for the model.
        keep_ratios: each of them for each SBP variant.
        frames: T; None takes the usual one of the model.
        options: other fields of :class:`BenchmarkCase`.

    Raises:
        BenchmarkError: a name or number outside of these.
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
        """One case a variant and ratio; ``full``, ``frozen``, ``checkpoint`` know no ratio.

        Raises:
            BenchmarkError, SBPError: a case that cannot be, before any is measured.
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
    """A case beside full backpropagation; seconds are medians, ratios are to full.

    ``forward_seconds``, ``backward_seconds``, ``step_seconds`` are CPU time on
    the CPU and wall time on CUDA; ``full_*_seconds`` are of the full steps that
    alternated with these. ``time_bound`` is the least that the method could
    take by the measured full forward and backward, ``saved_bound`` the least
    that it could save (None where that does not follow from the ratio).
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
        """The fields, the settings among them."""
        fields = asdict(self)
        return fields | fields.pop('settings')


def run_benchmark(settings: BenchmarkSettings,
                  run: Callable[[BenchmarkCase], Measurement] | None = None,
                  report: Callable[[BenchmarkCase], None] = lambda case: None
                  ) -> list[BenchmarkResult]:
    """Measure every case, and full backpropagation with it.

    Args:
        settings: what to measure.
        run: measures a case; by default in a process of its own.
        report: called before each case.

    Raises:
        BenchmarkError, SBPError: a case cannot be or did not fit in memory.
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


def run_in_process(case: BenchmarkCase) -> Measurement:
    """Measure in a new process, so that no case finds memory that another has used.

    Raises:
        BenchmarkError: the process ran out of memory.
    """
    context = multiprocessing.get_context('spawn')
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(measure, case).result()
    except (BrokenProcessPool, torch.cuda.OutOfMemoryError) as error:
        raise BenchmarkError(
            f'the process of {case.variant} (keep ratio {case.keep_ratio:g}) ran out of memory or '
            'was killed; choose fewer --frames, a smaller --size or --batch.') from error


def compare(model: str, case: BenchmarkCase, measured: Measurement, full: Measurement
            ) -> BenchmarkResult:
    """Medians and ratios of a case; ``full`` is the case of full backpropagation."""
    variant = VARIANTS[case.variant]
    own, beside = _median(measured.steps), _median(measured.full)
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
        step_ratios=[a.step / b.step for a, b in zip(measured.steps, measured.full)],
        settings=settings)


def _median(steps: list[StepSeconds]) -> StepSeconds:
    return StepSeconds(median(step.forward for step in steps),
                       median(step.backward for step in steps),
                       median(step.wall for step in steps))


def _check_names(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise BenchmarkError(f'no {kind} is called {name!r}; choose from '
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
