"""Sweep of post-processing settings over raw predictions, without the model."""
from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from multiprocessing import get_context
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.evaluate import EvaluationResult, evaluate_detections
from sbp_tad.evaluation.merged_videos import merge_videos
from sbp_tad.evaluation.options import EvaluationOptions, threshold_name
from sbp_tad.evaluation.raw_predictions import RawPredictions
from sbp_tad.evaluation.score_fusion import ScoreFusion
from sbp_tad.segments.merging import PostProcessing
from sbp_tad.segments.overlap import SegmentError


@dataclass(frozen=True, eq=False)
class TunedSetting:
    """One setting and its evaluation."""

    rules: PostProcessing
    result: EvaluationResult

    def to_json(self) -> dict[str, Any]:
        """Return the setting, the mAP at each threshold and their average, as fractions."""
        full = self.result.to_json()
        return dict(post_processing=asdict(self.rules), mAP=full['mAP'],
                    average_mAP=full['average_mAP'])


def parse_grid(words: Sequence[str]) -> dict[str, list[Any]]:
    """Parse ``['method=gaussian,hard', 'sigma=0.3,0.5']`` into the values of each option.

    Raises:
        EvaluationError: a word that is not ``option=value,value``.
    """
    grid: dict[str, list[Any]] = {}
    known = [field.name for field in fields(PostProcessing)]
    for word in words:
        name, equals, values = word.partition('=')
        if name not in known or not equals or not values:
            raise EvaluationError('--grid takes words like sigma=0.3,0.5 with a post-processing '
                                  f'option ({", ".join(known)}), got {word!r}.')
        grid[name] = [_value(text) for text in values.split(',')]
    return grid


def grid_settings(base: PostProcessing, grid: Mapping[str, Sequence[Any]]) -> list[PostProcessing]:
    """Return ``base`` and every combination of the grid on top of it.

    Combinations that have the same effect are returned once.

    Raises:
        EvaluationError: a value of a wrong type or range.
    """
    try:
        combined = [base.with_options(dict(zip(grid, values)))
                    for values in itertools.product(*grid.values())]
    except SegmentError as error:
        raise EvaluationError(f'the grid {dict(grid)} has a value that cannot be used: '
                              f'{error}') from error
    return list({_effect(rules): rules for rules in reversed([base, *combined])}.values())[::-1]


def sweep(raw: RawPredictions, annotations: Mapping[str, VideoAnnotation],
          settings: Sequence[PostProcessing], options: EvaluationOptions,
          fusion: ScoreFusion | None = None, processes: int = 1) -> Iterator[TunedSetting]:
    """Score each setting, in the given order, as a test with this setting does.

    Args:
        raw: predictions of every window.
        annotations: annotated videos of the scored subsets.
        settings: settings to score.
        options: evaluation options.
        fusion: scores of a video-level classifier, fused after merging.
        processes: number of parallel processes.
    """
    score = partial(_score, raw, annotations, options, fusion)
    if processes == 1:
        yield from map(score, settings)
        return
    # spawn: threads of loaded libraries do not survive a fork
    with ProcessPoolExecutor(processes, get_context('spawn'), _keep, (score, )) as pool:
        yield from pool.map(_score_kept, settings)


def print_settings(found: Sequence[TunedSetting], varied: Sequence[str],
                   file: TextIO | None = None) -> None:
    """Print a table of the varied options and the mAP (%), in the given order."""
    table = Table(title='Post-processing by average mAP (%)', title_justify='left')
    thresholds = found[0].result.options.tiou_thresholds
    for name in varied:
        table.add_column(name, no_wrap=True)
    for name in (*map(threshold_name, thresholds), 'average'):
        table.add_column(name, justify='right', no_wrap=True)
    for one in found:
        row = (*one.result.mean_average_precision, one.result.average_mean_average_precision)
        idle = idle_options(one.rules)
        table.add_row(*('-' if name in idle else str(getattr(one.rules, name)) for name in varied),
                      *(f'{100 * value:.2f}' for value in row))
    console = Console(markup=False, emoji=False, file=file or sys.stdout)
    if not console.is_terminal:  # a file has no width: never wrap or cut lines
        unbounded = Console(markup=False, emoji=False, width=10_000)
        console.width = max(80, unbounded.measure(table).maximum)
    console.print(table)


def _score(raw: RawPredictions, annotations: Mapping[str, VideoAnnotation],
           options: EvaluationOptions, fusion: ScoreFusion | None, rules: PostProcessing
           ) -> TunedSetting:
    detections = merge_videos(raw.windows, raw.class_names, rules, fusion, raw.durations)
    return TunedSetting(rules, evaluate_detections(annotations, detections, options))


_kept: list[partial] = []  # one per worker process, so that predictions are sent once


def _keep(score: partial) -> None:
    _kept.append(score)


def _score_kept(rules: PostProcessing) -> TunedSetting:
    return _kept[0](rules)


def _value(text: str) -> Any:
    try:
        return {'None': None, 'True': True, 'False': False}[text] \
            if text in ('None', 'True', 'False') else json.loads(text)
    except ValueError:
        return text


def _effect(rules: PostProcessing) -> PostProcessing:
    """Return the rules with defaults for options without effect."""
    default = PostProcessing()
    return replace(rules, voting_iou=rules.voting_threshold,
                   **{name: getattr(default, name) for name in idle_options(rules)})


def idle_options(rules: PostProcessing) -> set[str]:
    """Return options without effect next to the others, such as sigma of hard NMS."""
    idle = set()
    if rules.method != 'gaussian':
        idle.add('sigma')
    if rules.method in ('gaussian', 'none'):
        idle.add('iou_threshold')
    if rules.voting_threshold is None:
        idle.add('voting_weight')
        if rules.method == 'none':
            idle.add('class_agnostic')
    return idle
