"""Confidence intervals of mAP: which videos happened to be in the test set.

The bootstrap (Efron, 1979) draws as many videos as there are, with
replacement, and scores the draw. A video that is drawn twice stands there
twice, with detections of its own, so matches inside a video stay what they
are and a draw only weights them: nothing is matched again. Draws score a
little above the whole set, because the hits of a repeated video come together.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sbp_tad.evaluation.average_precision import Comparison, activitynet_matches
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.evaluate import EvaluationCase
from sbp_tad.evaluation.options import threshold_name

_NUMBERS_AT_ONCE = 1 << 22  # bounds the transient memory


@dataclass(frozen=True, eq=False)
class ConfidenceIntervals:
    """Percentile intervals over draws of videos.

    Args:
        num_samples: draws.
        seed: of the draws.
        confidence: share of the draws inside.
        tiou_thresholds: T.
        mean_average_precision: (2, T) lower and upper end per threshold.
        average_mean_average_precision: (2,) the same of the average.
    """

    num_samples: int
    seed: int
    confidence: float
    tiou_thresholds: tuple[float, ...]
    mean_average_precision: np.ndarray
    average_mean_average_precision: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """The intervals as ``[lower, upper]``, fractions."""
        names = [threshold_name(tiou) for tiou in self.tiou_thresholds]
        return {'num_samples': self.num_samples, 'seed': self.seed,
                'confidence': self.confidence,
                'mAP': dict(zip(names, self.mean_average_precision.T.tolist())),
                'average_mAP': self.average_mean_average_precision.tolist()}


def bootstrap_intervals(case: EvaluationCase, num_samples: int = 1000, seed: int = 0,
                        confidence: float = 0.95) -> ConfidenceIntervals:
    """Draw the videos of the ground truth and of the detections, and score each draw.

    The classes of a draw are those with an instance in it.

    Args:
        case: what ``prepare_case`` returned.
        num_samples: draws.
        seed: equal seeds, equal intervals.
        confidence: share of the draws inside the interval.

    Raises:
        EvaluationError: another protocol than ``'activitynet'``, or no draw.
    """
    if case.options.protocol != 'activitynet':
        raise EvaluationError('Confidence intervals are drawn in the activitynet protocol, got '
                              f'{case.options.protocol!r}.')
    if num_samples < 1:
        raise EvaluationError(f'A bootstrap needs at least 1 sample, got {num_samples}.')
    weights = _draw_videos(case, num_samples, seed)
    samples = weighted_map(case.comparison, case.options.tiou_thresholds, weights)
    levels = (1 - confidence) / 2, (1 + confidence) / 2
    samples = samples[:, ~np.isnan(samples[0])]  # a tiny set may draw no instance at all
    return ConfidenceIntervals(num_samples, seed, confidence, case.options.tiou_thresholds,
                               np.quantile(samples, levels, axis=1),
                               np.quantile(samples.mean(axis=0), levels))


def _draw_videos(case: EvaluationCase, num_samples: int, seed: int) -> np.ndarray:
    """How often each draw holds each video, (V, num_samples)."""
    takes_part = np.array([name in case.truth for name in case.video_names])
    takes_part[case.comparison.detections.video_index] = True
    number = int(takes_part.sum())
    weights = np.zeros((len(takes_part), num_samples), dtype=np.int64)
    weights[takes_part] = np.random.default_rng(seed).multinomial(
        number, np.full(number, 1 / number), size=num_samples).T
    return weights


def weighted_map(comparison: Comparison, tiou_thresholds: Sequence[float], weights: np.ndarray
                 ) -> np.ndarray:
    """mAP if each video stood there as often as a draw says, (T, S).

    Exactly what the ActivityNet protocol gives for the repeated videos, where
    the repetitions of a detection rank one after the other.

    Args:
        comparison: V videos.
        tiou_thresholds: T.
        weights: (V, S) how often each of S draws holds each video.
    """
    ranked = comparison.ranked()
    hits = [truth >= 0 for truth in activitynet_matches(ranked, tiou_thresholds)]
    total = np.zeros((len(hits), weights.shape[1]))
    num_classes = np.zeros(weights.shape[1])
    for index, part in enumerate(ranked.class_ranges()):
        of_class = ranked.ground_truth.class_index == index
        truth_videos = ranked.ground_truth.video_index[of_class]
        videos = ranked.detections.video_index[part]
        ap, is_present = _weighted_average_precision(
            videos, [hit[part] for hit in hits], truth_videos, weights)
        total += np.where(is_present, ap, 0)
        num_classes += is_present
    return total / np.where(num_classes, num_classes, np.nan)


def _weighted_average_precision(videos: np.ndarray, hits: Sequence[np.ndarray],
                                truth_videos: np.ndarray, weights: np.ndarray
                                ) -> tuple[np.ndarray, np.ndarray]:
    """AP of a class in each draw (T, S), and whether the draw has an instance (S,)."""
    ranks = np.flatnonzero(np.logical_or.reduce(hits))  # precision is needed only there
    counts = _counts_between(videos, ranks, len(weights))
    size = max(1, _NUMBERS_AT_ONCE // (len(ranks) + 1))
    columns = []
    for start in range(0, weights.shape[1], size):
        draw = weights[:, start:start + size].astype(np.float64)  # (V, S')
        num_detections = np.cumsum(counts @ draw, axis=0)  # up to each rank
        num_instances = draw[truth_videos].sum(axis=0)
        areas = [_area(draw[videos[ranks[hit[ranks]]]], num_detections[hit[ranks]])
                 for hit in hits]
        columns.append(np.stack(areas) / np.maximum(num_instances, 1))
    return np.concatenate(columns, axis=1), weights[truth_videos].sum(axis=0) > 0


def _area(hit_weights: np.ndarray, num_detections: np.ndarray) -> np.ndarray:
    """Sum over the hits (H, S) of weight and best precision at the same or a later one, (S,)."""
    precision = np.cumsum(hit_weights, axis=0) / np.maximum(num_detections, 1)
    best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    return (hit_weights * best).sum(axis=0)


def _counts_between(videos: np.ndarray, ranks: np.ndarray, num_videos: int) -> Any:
    """Detections of each video after the last rank up to this one: sparse (len(ranks), V)."""
    from scipy.sparse import csr_array  # a fifth of a second, only needed here
    row = np.searchsorted(ranks, np.arange(len(videos)))
    row = row[row < len(ranks)]  # nothing is found after the last
    entries = np.ones(len(row)), (row, videos[:len(row)])
    return csr_array(entries, shape=(len(ranks), num_videos))
