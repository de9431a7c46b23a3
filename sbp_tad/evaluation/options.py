"""How a result is scored: protocol, thresholds and every point where evaluators differ."""
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sbp_tad.evaluation.errors import EvaluationError

PROTOCOLS = ('activitynet', 'thumos14-official')
GROUND_TRUTH_RULES = ('keep', 'drop', 'error')
EMPTY_DETECTION_RULES = ('false-positive', 'drop', 'error')
UNKNOWN_LABEL_RULES = ('drop', 'error')
OUTSIDE_VIDEO_RULES = ('false-positive', 'drop', 'drop-without-instances', 'error')


@dataclass(frozen=True)
class EvaluationOptions:
    """The rules of a score. The defaults are what both published tools do.

    Args:
        protocol: ``'activitynet'`` or ``'thumos14-official'``.
        tiou_thresholds: in (0, 1], each once.
        ignored_labels: never classes. Their ground truth forgives false
            positives in ``thumos14-official``; detections of them are dropped.
        excluded_videos: ground truth and detections of them are dropped; the
            THUMOS'14 test sets of 212, 211 and 210 videos are stated so.
        outside_videos: what detections are in videos that the ground truth
            does not list: false positives, dropped or an error;
            ``'drop-without-instances'`` drops them and also those in listed
            videos where no class has an instance.
        unknown_labels: what happens to detections whose label has no ground
            truth: such a class has no AP, so ``'drop'`` or ``'error'``.
        empty_detections: detections that do not start before they end.
            Where they stay they overlap nothing, save that
            ``thumos14-official`` swaps the ends of one that is reversed.
        duplicate_ground_truth: equal video, label, start and end. ``'keep'``
            asks for two detections, ``'drop'`` keeps the first.
        zero_length_ground_truth: ``'keep'`` counts what nobody can find.
        late_ground_truth: segments that begin after their video ends, where
            its duration is known; 30 of THUMOS'14 do. ``'keep'`` counts them.

    Raises:
        EvaluationError: a value is not one of the above.
    """

    protocol: str = 'activitynet'
    tiou_thresholds: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.7)
    ignored_labels: tuple[str, ...] = ('Ambiguous',)
    excluded_videos: tuple[str, ...] = ()
    outside_videos: str = 'false-positive'
    unknown_labels: str = 'drop'
    empty_detections: str = 'false-positive'
    duplicate_ground_truth: str = 'keep'
    zero_length_ground_truth: str = 'keep'
    late_ground_truth: str = 'keep'

    def __post_init__(self) -> None:
        self._check_choice('protocol', PROTOCOLS)
        self._check_choice('outside_videos', OUTSIDE_VIDEO_RULES)
        self._check_choice('unknown_labels', UNKNOWN_LABEL_RULES)
        self._check_choice('empty_detections', EMPTY_DETECTION_RULES)
        self._check_choice('duplicate_ground_truth', GROUND_TRUTH_RULES)
        self._check_choice('zero_length_ground_truth', GROUND_TRUTH_RULES)
        self._check_choice('late_ground_truth', GROUND_TRUTH_RULES)
        thresholds = tuple(float(value) for value in self.tiou_thresholds)
        object.__setattr__(self, 'tiou_thresholds', thresholds)
        for name in ('ignored_labels', 'excluded_videos'):
            if isinstance(getattr(self, name), str):
                raise EvaluationError(f'{name} must be a sequence of names, got the single string '
                                      f'{getattr(self, name)!r}. Put it into a tuple.')
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not thresholds or not all(0 < value <= 1 for value in thresholds):
            raise EvaluationError(
                f'tIoU thresholds must lie in (0, 1], at least one, got {list(thresholds)}.')
        if len(set(thresholds)) < len(thresholds):
            raise EvaluationError(f'tIoU thresholds must differ, got {list(thresholds)}.')

    def _check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value not in choices:
            raise EvaluationError(f'{name} must be one of {", ".join(choices)}, got {value!r}.')


def dataset_rules(metainfo: Mapping[str, Any]) -> dict[str, Any]:
    """Those of :class:`EvaluationOptions` that the ``metainfo`` of a test dataset states."""
    # A dataset that clips annotations to the video has no segments beyond it either.
    late = 'drop' if metainfo['out_of_range'] == 'clip' else 'keep'
    rules = {name: metainfo[name] for name in ('tiou_thresholds', 'ignored_labels',
                                               'excluded_videos') if name in metainfo}
    return dict(rules, late_ground_truth=late)


def parse_tiou_thresholds(text: str) -> tuple[float, ...]:
    """``'0.3:0.7:0.1'`` (start, inclusive end, step) or ``'0.3,0.5'`` to thresholds.

    A range gives the decimals that a list would give (0.6, never
    0.6000000000000001): at exact boundaries the last bit decides matches.

    Raises:
        EvaluationError: the text is neither of the two.
    """
    try:
        if ':' not in text:
            return tuple(float(part) for part in text.split(','))
        start, stop, step = (float(part) for part in text.split(':'))
    except ValueError as error:
        raise EvaluationError('tIoU thresholds must be a list like 0.3,0.5 or a range '
                              f'start:end:step like 0.3:0.7:0.1, got {text!r}.') from error
    if not (all(map(math.isfinite, (start, stop, step))) and 1e-6 <= step and start <= stop <= 1):
        raise EvaluationError(
            'A tIoU range start:end:step needs start <= end <= 1 and a step above 0, got '
            f'{text!r}.')
    steps = np.arange(math.floor((stop - start) / step + 1e-6) + 1)
    return tuple((start + steps * step).round(10).tolist())


def threshold_name(tiou: float) -> str:
    """``0.3`` to ``'0.30'``; more decimals only where two do not hold the value."""
    return f'{tiou:.2f}' if round(tiou, 2) == tiou else repr(tiou)
