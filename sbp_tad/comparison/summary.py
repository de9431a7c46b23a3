"""Figures of each strategy over its seeds, from finished runs and measured steps."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from sbp_tad.comparison.errors import ComparisonError
from sbp_tad.comparison.runs import RESULT, read_json
from sbp_tad.comparison.specs import FULL

Row = dict[str, Any]


@dataclass(frozen=True)
class StrategySummary:
    """Figures of one strategy; an unknown figure is None.

    Ratios and differences are relative to full backpropagation. Saved bytes come from the
    measured step where there is one, else from the runs.

    Args:
        strategy, mode, keep_ratio: its name, its mode of SBPBackbone and its keep ratio.
        seeds, mAPs: of the finished runs, after the last epoch.
        mAP, mAP_deviation: mean and sample standard deviation over seeds.
        mAP_difference: mean over the seeds of both this strategy and full backpropagation.
        saved_backbone_bytes, saved_model_bytes: most bytes held for backward at one time in one
            training batch.
        peak_memory_bytes: largest resident memory of a run's process, mean over seeds.
        step_peak_bytes: memory that a step adds in a fresh process.
        step_seconds, step_time_ratio: CPU time (wall time on CUDA) of forward and backward of a
            whole batch; the steps of all strategies take turns.
        seconds_per_update, cpu_seconds_per_update: wall and CPU time of an update in training,
            medians of the runs' medians.
        updates, samples: of a run.
        samples_to_target: samples seen until the first validation at the target, median of the
            seeds that reach it.
        seeds_at_target: number of seeds that reach it.
    """

    strategy: str
    mode: str | None = None
    keep_ratio: float | None = None
    seeds: Sequence[int] = ()
    mAPs: Sequence[float] = ()
    mAP: float | None = None
    mAP_deviation: float | None = None
    mAP_difference: float | None = None
    saved_backbone_bytes: float | None = None
    saved_backbone_ratio: float | None = None
    saved_model_bytes: float | None = None
    saved_model_ratio: float | None = None
    peak_memory_bytes: float | None = None
    peak_memory_ratio: float | None = None
    step_peak_bytes: float | None = None
    step_peak_ratio: float | None = None
    step_seconds: float | None = None
    step_wall_seconds: float | None = None
    step_time_ratio: float | None = None
    seconds_per_update: float | None = None
    cpu_seconds_per_update: float | None = None
    updates: int | None = None
    samples: int | None = None
    samples_to_target: float | None = None
    seeds_at_target: int | None = None


def read_results(work_dir: str | Path) -> list[Row]:
    """Read the results of all finished runs below a work dir, sorted by strategy and seed."""
    rows = [read_json(path) for path in Path(work_dir).glob(f'*/seed_*/{RESULT}')
            if path.parent.name.rpartition('_')[2].isdigit()]  # no renamed folder of another config
    return sorted(rows, key=lambda row: (row['strategy'], row['seed']))


def shorten(row: Row) -> Row:
    """Return a result with the mAP of each validation and all scores of the last one only."""
    curve = [dict(samples=point['samples'], mAP=point['mAP']) for point in row['curve']]
    return row | dict(curve=curve, scores=row['curve'][-1].get('scores', {}))


def summarize(results: Sequence[Row], measured: Sequence[Row], names: Sequence[str],
              target: float | None = None) -> list[StrategySummary]:
    """Return one summary for each name with a finished run or a measured step, in that order.

    Args:
        results: of finished runs.
        measured: measured steps.
        names: of strategies.
        target: mAP in (0, 1] for ``samples_to_target``.

    Raises:
        ComparisonError: a target outside (0, 1], or no run and no step of any name.
    """
    if target is not None and not 0 < target <= 1:
        raise ComparisonError(f'--target-map must be in (0, 1], got {target:g}; 0.5 is 50 %.')
    runs = {name: [row for row in results if row['strategy'] == name] for name in {FULL, *names}}
    steps = {row['strategy']: row for row in measured}
    full = {row['seed']: row['mAP'] for row in runs[FULL]}
    facts = {name: _facts(runs[name], steps.get(name, {})) for name in {FULL, *names}
             if runs[name] or name in steps}
    found = [name for name in names if name in facts]
    if not found:
        raise ComparisonError('no run is finished and no step is measured of '
                              f'{", ".join(names) or "any strategy"}; train or measure one first.')
    return [StrategySummary(
        name, **facts[name], **_ratios(facts[name], facts.get(FULL, {})),
        **_scores(runs[name], full), **_to_target(runs[name], target)) for name in found]


def _facts(runs: Sequence[Row], step: Row) -> Row:
    """Return bytes, times and counts."""
    def over_seeds(name: str, average: Any = mean) -> float | None:
        values = [row[name] for row in runs if name in row]
        return average(values) if values else None

    first = runs[0] if runs else step
    saved = {name: step[name] if name in step else over_seeds(name)
             for name in ('saved_backbone_bytes', 'saved_model_bytes')}
    return saved | dict(
        mode=first.get('mode'), keep_ratio=first.get('keep_ratio'),
        updates=first.get('updates'), samples=first.get('samples'),
        **{name: over_seeds(name, median)
           for name in ('seconds_per_update', 'cpu_seconds_per_update')},
        peak_memory_bytes=over_seeds('peak_memory_bytes'),
        **{name: step.get(name) for name in ('step_peak_bytes', 'step_seconds',
                                             'step_wall_seconds', 'step_time_ratio')})


def _ratios(own: Row, full: Row) -> Row:
    """Return bytes divided by those of full backpropagation."""
    names = ('saved_backbone', 'saved_model', 'peak_memory', 'step_peak')
    pairs = {name: (own[f'{name}_bytes'], full.get(f'{name}_bytes')) for name in names}
    return {f'{name}_ratio': value / whole if value is not None and whole else None
            for name, (value, whole) in pairs.items()}


def _scores(runs: Sequence[Row], full: dict[int, float]) -> Row:
    """Return mAP over the seeds, and its difference to full backpropagation on the same seeds."""
    values = [row['mAP'] for row in runs]
    differences = [row['mAP'] - full[row['seed']] for row in runs if row['seed'] in full]
    return dict(seeds=[row['seed'] for row in runs], mAPs=values,
                mAP=mean(values) if values else None,
                mAP_deviation=stdev(values) if len(values) > 1 else None,
                mAP_difference=mean(differences) if differences else None)


def _to_target(runs: Sequence[Row], target: float | None) -> Row:
    if target is None or not runs:
        return {}
    reached = [samples for row in runs if (samples := samples_until(row['curve'], target))]
    return dict(samples_to_target=median(reached) if reached else None,
                seeds_at_target=len(reached))


def samples_until(curve: Iterable[Row], target: float) -> int | None:
    """Return the samples seen at the first validation that reaches the target; None if none."""
    return next((point['samples'] for point in curve if point['mAP'] >= target), None)
