"""Confidence intervals of mAP over the choice of test videos.

The bootstrap (Efron, 1979) draws V of V videos with replacement and scores
the draw. A video that is drawn twice counts as two videos with the same
detections. So the matches within a video never change, and a draw only
weights them. Draws score a little above the whole set, because the hits of a
repeated video have neighbouring ranks.
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
        num_samples: number of draws.
        seed: seed of the draws.
        confidence: share of the draws inside the interval.
        tiou_thresholds: T thresholds.
        mean_average_precision: (2, T) lower and upper end per threshold.
        average_mean_average_precision: (2,) lower and upper end of the average.
    """

    num_samples: int
    seed: int
    confidence: float
    tiou_thresholds: tuple[float, ...]
    mean_average_precision: np.ndarray
    average_mean_average_precision: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """Return the intervals as ``[lower, upper]`` fractions."""
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
        case: result of ``prepare_case``.
        num_samples: number of draws.
        seed: equal seeds give equal intervals.
        confidence: share of the draws inside the interval.

    Raises:
        EvaluationError: a protocol other than ``'activitynet'``, or no draw.
    """
    if case.options.protocol != 'activitynet':
        raise EvaluationError('Confidence intervals need the protocol activitynet, got '
                              f'{case.options.protocol!r}.')
    if num_samples < 1:
        raise EvaluationError(f'A bootstrap needs at least 1 draw, got {num_samples}.')
    weights = _draw_videos(case, num_samples, seed)
    samples = weighted_map(case.comparison, case.options.tiou_thresholds, weights)
    levels = (1 - confidence) / 2, (1 + confidence) / 2
    samples = samples[:, ~np.isnan(samples[0])]  # a tiny set may draw no instance at all
    return ConfidenceIntervals(num_samples, seed, confidence, case.options.tiou_thresholds,
                               np.quantile(samples, levels, axis=1),
                               np.quantile(samples.mean(axis=0), levels))


def _draw_videos(case: EvaluationCase, num_samples: int, seed: int) -> np.ndarray:
    """Return the number of times that each draw contains each video, (V, num_samples)."""
    takes_part = np.array([name in case.truth for name in case.video_names])
    takes_part[case.comparison.detections.video_index] = True
    number = int(takes_part.sum())
    weights = np.zeros((len(takes_part), num_samples), dtype=np.int64)
    weights[takes_part] = np.random.default_rng(seed).multinomial(
        number, np.full(number, 1 / number), size=num_samples).T
    return weights


def weighted_map(comparison: Comparison, tiou_thresholds: Sequence[float], weights: np.ndarray
                 ) -> np.ndarray:
    """Return the mAP of each draw, (T, S).

    The result equals that of the ActivityNet protocol on the repeated videos,
    where the repetitions of a detection have consecutive ranks.

    Args:
        comparison: detections and ground truth of V videos.
        tiou_thresholds: T thresholds.
        weights: (V, S) number of times that each of S draws contains each video.
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
    """Return the AP of a class in each draw (T, S), and True for draws with an instance (S,)."""
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
    """Return the sum (S,) over hits (H, S) of weight times best precision at or after the hit."""
    precision = np.cumsum(hit_weights, axis=0) / np.maximum(num_detections, 1)
    best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    return (hit_weights * best).sum(axis=0)


def _counts_between(videos: np.ndarray, ranks: np.ndarray, num_videos: int) -> Any:
    """Count each video's detections between consecutive ranks: sparse (len(ranks), V)."""
    from scipy.sparse import csr_array  # a fifth of a second, only needed here
    row = np.searchsorted(ranks, np.arange(len(videos)))
    row = row[row < len(ranks)]  # nothing is found after the last
    entries = np.ones(len(row)), (row, videos[:len(row)])
    return csr_array(entries, shape=(len(ranks), num_videos))
