"""Options of an evaluation: protocol, thresholds and rules where evaluators differ."""
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
    """Rules of an evaluation. The defaults are those of both published tools.

    Args:
        protocol: ``'activitynet'`` or ``'thumos14-official'``.
        tiou_thresholds: different values in (0, 1].
        ignored_labels: labels that are not classes. In ``thumos14-official``
            detections that overlap their ground truth are not false
            positives. Detections with these labels are dropped.
        excluded_videos: drop ground truth and detections of these videos,
            for the THUMOS'14 test sets of 212, 211 and 210 videos.
        outside_videos: rule for detections in videos that the ground truth
            does not list: ``'false-positive'``, ``'drop'`` or ``'error'``.
            ``'drop-without-instances'`` drops them and also the detections in
            listed videos without an instance of a class.
        unknown_labels: rule for detections whose label has no ground truth.
            Such a class has no AP, so they are dropped or an error.
        empty_detections: rule for detections that do not start before they
            end. A false positive overlaps nothing, but ``thumos14-official``
            swaps the ends of a reversed detection.
        duplicate_ground_truth: rule for segments with equal video, label,
            start and end. ``'keep'`` expects two detections, ``'drop'``
            keeps the first.
        zero_length_ground_truth: rule for segments without length. No
            detection can match them, so ``'keep'`` counts them as missed.
        late_ground_truth: rule for segments that begin after the end of their
            video, if its duration is known; THUMOS'14 has 30.

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
    """Return the :class:`EvaluationOptions` that the ``metainfo`` of a test dataset states."""
    # The ground truth is what the dataset has: it drops segments of zero length and, if it
    # clips segments to the video, those beyond its end.
    late = metainfo.get('late_ground_truth') or (
        'drop' if metainfo['out_of_range'] == 'clip' else 'keep')
    rules = {name: metainfo[name] for name in ('tiou_thresholds', 'ignored_labels',
                                               'excluded_videos') if name in metainfo}
    if 'evaluation_protocol' in metainfo:
        rules['protocol'] = metainfo['evaluation_protocol']
    return dict(rules, late_ground_truth=late, zero_length_ground_truth='drop')


def parse_tiou_thresholds(text: str) -> tuple[float, ...]:
    """Parse ``'0.3:0.7:0.1'`` (start, inclusive end, step) or ``'0.3,0.5'``.

    A range gives the same floats as a list (0.6, not 0.6000000000000001),
    because the last bit decides matches at exact boundaries.

    Raises:
        EvaluationError: the text is not of these forms.
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
    """Return ``'0.30'`` for 0.3; more decimals only if two are not exact."""
    return f'{tiou:.2f}' if round(tiou, 2) == tiou else repr(tiou)
