"""Error analysis of mAP: kinds of false positives, sensitivity, false negatives.

It follows DETAD (Alwassel et al., "Diagnosing Error in Temporal Action Detectors",
ECCV 2018); ``error_kinds`` defines the kinds. These points differ from the
published code (its commit 24f7d95):

- Instances of zero length, and with a coverage above 1, stay in the ground
  truth. The published code removes them.
- Detections in videos without ground truth are background. There, all but the
  first of such a video are compared with the ground truth of another video.
- Sensitivity leaves out the matches with other instances at the same
  threshold; there, the matches at any threshold.
- If a detection overlaps instances of its own and of another label equally,
  its own label counts; there, the label that comes first in the file.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.error_kinds import ERROR_KINDS, KINDS, MatchedRanking
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.evaluate import EvaluationCase, prepare_case
from sbp_tad.evaluation.instance_characteristics import (
    BUCKET_BORDERS,
    BUCKET_NAMES,
    CHARACTERISTICS,
    characteristic_values,
    in_buckets,
)
from sbp_tad.evaluation.options import EvaluationOptions

Values = dict[str, dict[str, float]]  # characteristic -> bucket -> value, NaN where it is empty
Buckets = dict[str, dict[str, np.ndarray]]  # characteristic -> bucket -> instances (M,) bool


@dataclass(frozen=True)
class ErrorAnalysisOptions:
    """Options of the error analysis.

    Args:
        evaluation: thresholds and rules of the score, with the protocol
            ``'activitynet'``. Every value is averaged over the thresholds.
        buckets: bucket borders of ``'thumos14'`` or ``'activitynet'``.
        background_tiou: a detection with less overlap is background.
        num_multiples: the profile uses the best ``num_multiples * G``
            detections of each class with G instances.
        min_normalized_precision: an instance counts as missed if the
            normalised precision at the rank of its match is not above this.

    Raises:
        EvaluationError: a value is not one of the above.
    """

    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)
    buckets: str = 'thumos14'
    background_tiou: float = 0.1
    num_multiples: int = 10
    min_normalized_precision: float = 0.05

    def __post_init__(self) -> None:
        if self.evaluation.protocol != 'activitynet':
            raise EvaluationError('The error analysis needs the protocol activitynet, got '
                                  f'{self.evaluation.protocol!r}.')
        if self.buckets not in BUCKET_BORDERS:
            raise EvaluationError(f'buckets must be one of {", ".join(BUCKET_BORDERS)}, got '
                                  f'{self.buckets!r}.')
        lowest = min(self.evaluation.tiou_thresholds)
        if not 0 < self.background_tiou <= lowest:
            raise EvaluationError('background_tiou must be above 0 and not above the lowest tIoU '
                                  f'threshold {lowest:g}, got {self.background_tiou}.')
        if self.num_multiples < 1:
            raise EvaluationError(f'num_multiples must be at least 1, got {self.num_multiples}.')


@dataclass(frozen=True, eq=False)
class ErrorAnalysis:
    """Result of the error analysis; values are fractions, averaged over the thresholds.

    Args:
        options: options of the analysis.
        subset: the scored subset or subsets.
        num_predictions: number of detections after the rules.
        average_map: mean of mAP over the thresholds.
        average_normalized_map: mean of the normalised mAP.
        false_positive_profile: (num_multiples, 6), share of each of ``KINDS``
            among the detections that rank from (k-1)G to kG in their class;
            NaN without such detections.
        profile_counts: (num_multiples,) number of these detections.
        map_gain: gain of average mAP without the detections of a kind.
        normalized_map_gain: gain of normalised average mAP among the best
            ``num_multiples * G``, as DETAD publishes it.
        sensitivity: normalised average mAP with the instances of a bucket as
            the only ground truth; matches of other instances are left out.
        false_negatives: share of missed instances per bucket.
        false_negative_rate: share of missed instances among all.
        num_instances: number of instances per bucket.
    """

    options: ErrorAnalysisOptions
    subset: str
    num_predictions: int
    average_map: float
    average_normalized_map: float
    false_positive_profile: np.ndarray
    profile_counts: np.ndarray
    map_gain: dict[str, float]
    normalized_map_gain: dict[str, float]
    sensitivity: Values
    false_negatives: Values
    false_negative_rate: float
    num_instances: dict[str, dict[str, int]]

    def to_json(self) -> dict[str, Any]:
        """Return plain lists, dictionaries and numbers; NaN becomes None."""
        profile = [dict(top=f'{multiple}G', num_detections=int(count),
                        **{kind: _or_none(share) for kind, share in zip(KINDS, row.tolist())})
                   for multiple, (count, row) in enumerate(
                       zip(self.profile_counts, self.false_positive_profile), start=1)]
        return {'subset': self.subset,
                'tiou_thresholds': list(self.options.evaluation.tiou_thresholds),
                'background_tiou': self.options.background_tiou,
                'min_normalized_precision': self.options.min_normalized_precision,
                'num_predictions': self.num_predictions,
                'average_mAP': self.average_map,
                'average_normalized_mAP': self.average_normalized_map,
                'false_positive_profile': profile,
                'map_gain': self.map_gain,
                'normalized_map_gain': self.normalized_map_gain,
                'sensitivity': _without_nan(self.sensitivity),
                'false_negatives': _without_nan(self.false_negatives),
                'false_negative_rate': self.false_negative_rate,
                'buckets': {name: self._describe_buckets(name) for name in CHARACTERISTICS}}

    def _describe_buckets(self, characteristic: str) -> dict[str, dict[str, float | None]]:
        borders = BUCKET_BORDERS[self.options.buckets][characteristic]
        rows = zip(BUCKET_NAMES, (0, *borders), (*borders, None))
        return {name: {'above': above, 'up_to': up_to,
                       'num_instances': self.num_instances[characteristic][name]}
                for name, above, up_to in rows}


def analyze_errors(predictions: Detections, ground_truth: Mapping[str, VideoAnnotation],
                   options: ErrorAnalysisOptions | None = None, subset: str = ''
                   ) -> ErrorAnalysis:
    """Classify each detection and compute the mAP that each kind of error costs.

    Args:
        predictions: detections of any videos.
        ground_truth: all videos of the subset, from ``read_annotations``.
        options: None takes ``ErrorAnalysisOptions()``.
        subset: name of the subset, for the record.

    Raises:
        EvaluationError: see ``evaluate_detections``.
    """
    options = options or ErrorAnalysisOptions()
    case = prepare_case(ground_truth, predictions, options.evaluation, subset)
    ranking = MatchedRanking.of(case.comparison, options.evaluation.tiou_thresholds)
    kinds, rank = ranking.kinds(options.background_tiou), ranking.rank_in_instances()
    profile, profile_counts = _profile(kinds, rank, options.num_multiples)
    buckets = _buckets(case, options.buckets)
    missed = ranking.missed(options.min_normalized_precision)
    return ErrorAnalysis(
        options, subset, num_predictions=len(rank),
        average_map=ranking.average_map(),
        average_normalized_map=ranking.average_map(normalized=True),
        false_positive_profile=profile, profile_counts=profile_counts,
        map_gain=_gains(ranking, kinds, np.ones(len(rank), dtype=bool), normalized=False),
        normalized_map_gain=_gains(ranking, kinds, rank < options.num_multiples, normalized=True),
        sensitivity=_for_each(buckets, ranking.normalized_map_of),
        false_negatives=_for_each(buckets, lambda inside: _mean(missed[:, inside])),
        false_negative_rate=float(missed.mean()),
        num_instances=_for_each(buckets, lambda inside: int(inside.sum())))


def _profile(kinds: Sequence[np.ndarray], rank: np.ndarray, num_multiples: int
             ) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of each kind per multiple of G (num_multiples, 6), and the counts."""
    top = rank < num_multiples
    cells = rank[top] * len(KINDS) + np.stack(kinds)[:, top]
    counts = np.bincount(cells.ravel(), minlength=num_multiples * len(KINDS))
    shares = counts.reshape(num_multiples, len(KINDS)) / len(kinds)
    number = np.bincount(rank[top], minlength=num_multiples)
    number_or_nan = np.where(number, number, np.nan)
    return shares / number_or_nan[:, None], number


def _gains(ranking: MatchedRanking, kinds: Sequence[np.ndarray], looked_at: np.ndarray,
           normalized: bool) -> dict[str, float]:
    """Return the gain of average mAP without the detections of each kind."""
    before = ranking.average_map([looked_at] * len(kinds), normalized)
    return {name: ranking.average_map([looked_at & (kind != number) for kind in kinds],
                                      normalized) - before
            for number, name in enumerate(ERROR_KINDS, start=1)}


def _buckets(case: EvaluationCase, borders: str) -> Buckets:
    return {name: in_buckets(values, BUCKET_BORDERS[borders][name])
            for name, values in characteristic_values(case).items()}


def _for_each(buckets: Buckets, measure: Callable[[np.ndarray], Any]) -> dict[str, dict[str, Any]]:
    return {name: {bucket: measure(inside) for bucket, inside in row.items()}
            for name, row in buckets.items()}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float('nan')


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _without_nan(values: Values) -> dict[str, dict[str, float | None]]:
    return {name: {bucket: _or_none(value) for bucket, value in row.items()}
            for name, row in values.items()}
