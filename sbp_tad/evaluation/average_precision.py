"""Average precision of temporal action detection, in the ActivityNet protocol.

Protocol: the detection evaluation of ActivityNet (Caba Heilbron et al., CVPR
2015), in float64. The published tool sorts ties in an undefined order. Here
equal scores rank in the order of the file. Among ground truths with equal
tIoU, a detection takes the one with the nearest start or end, which gives the
published figures on real results; then the earlier one.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sbp_tad.evaluation.matching import CandidatePairs, SegmentTable, candidate_pairs, match_in_turn
from sbp_tad.segments.overlap import temporal_iou_of_pairs


@dataclass(frozen=True, eq=False)
class Comparison:
    """Input of a protocol: N detections and M ground-truth segments.

    Args:
        num_classes: C; classes are 0..C-1. Each has ground truth, unless the
            comparison covers only a part of it.
        ground_truth: M rows, in file order within a video.
        detections: N rows, in file order.
        scores: (N,) float64, finite.
        ambiguous: segments where a detection of any class is neither right
            nor wrong; only the official THUMOS'14 protocol uses them.
    """

    num_classes: int
    ground_truth: SegmentTable
    detections: SegmentTable
    scores: np.ndarray
    ambiguous: SegmentTable

    def ranked(self, *ties: np.ndarray) -> Comparison:
        """Return the comparison with detections sorted by class, decreasing score and ``ties``.

        The sort is stable.
        """
        order = np.lexsort((*reversed(ties), -self.scores, self.detections.class_index))
        return Comparison(self.num_classes, self.ground_truth, self.detections.take(order),
                          self.scores[order], self.ambiguous)

    def class_ranges(self) -> list[slice]:
        """Return the range of each class among the ranked detections."""
        classes = np.arange(self.num_classes + 1)
        borders = np.searchsorted(self.detections.class_index, classes).tolist()
        return [slice(start, end) for start, end in zip(borders, borders[1:])]


def average_precision(true_positive: np.ndarray, num_ground_truth: int,
                      interpolated: bool = True, hit_weight: float = 1.0) -> float:
    """Return the area under the precision-recall curve of one class.

    Args:
        true_positive: (N,) bool, detections by decreasing score.
        num_ground_truth: number of segments to find, above 0.
        interpolated: replace each precision by the largest one at the same or a
            higher recall (ActivityNet, all points); otherwise sum the
            unchanged precision at every hit (THUMOS'14).
        hit_weight: see ``precision_at_hits``.

    Returns:
        A fraction in [0, 1]; 0 without detections.
    """
    assert num_ground_truth > 0
    precision = precision_at_hits(true_positive, hit_weight)  # recall grows only at hits
    if interpolated:
        precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(precision.sum() / num_ground_truth)


def precision_at_hits(true_positive: np.ndarray, hit_weight: float = 1.0) -> np.ndarray:
    """Return the precision at the rank of each true positive, by decreasing score.

    Args:
        true_positive: (N,) bool, detections by decreasing score.
        hit_weight: weight of each true positive. N' / N gives the normalised
            precision (Hoiem et al., ECCV 2012) of a class of N instances, as
            if it had N' instances. Normalised values of classes of different
            size can be compared.
    """
    ranks = np.flatnonzero(true_positive)
    hits = np.arange(1, ranks.size + 1)
    return hit_weight * hits / (hit_weight * hits + (ranks + 1 - hits))


def activitynet_average_precision(comparison: Comparison, tiou_thresholds: Sequence[float]
                                  ) -> np.ndarray:
    """Return the AP per class and threshold, (C, len(tiou_thresholds)).

    In order of score over all videos, each detection takes the unmatched
    ground truth of its video and class with the largest tIoU. A detection
    whose largest tIoU is below the threshold is a false positive.
    """
    ranked = comparison.ranked()
    found = activitynet_matches(ranked, tiou_thresholds)
    return average_precision_per_class(ranked, [truth >= 0 for truth in found])


def activitynet_matches(ranked: Comparison, tiou_thresholds: Sequence[float]) -> list[np.ndarray]:
    """Return, per threshold, the row of the ground truth matched to each detection, (N,); -1: none.

    Args:
        ranked: result of ``Comparison.ranked``.
        tiou_thresholds: above 0.
    """
    pairs = candidate_pairs(ranked.detections, ranked.ground_truth, temporal_iou_of_pairs,
                            min(tiou_thresholds))
    gap = np.abs(ranked.detections.segments_seconds[pairs.detection]
                 - ranked.ground_truth.segments_seconds[pairs.ground_truth]).min(axis=1)
    pairs = pairs.take(np.lexsort((pairs.ground_truth, gap, -pairs.tiou, pairs.detection)))
    return [_found_ground_truth(pairs.take(pairs.tiou >= threshold), len(ranked.scores))
            for threshold in tiou_thresholds]


def average_precision_per_class(ranked: Comparison, hits: Sequence[np.ndarray],
                                counted: Sequence[np.ndarray] | None = None,
                                interpolated: bool = True, normal_count: float | None = None
                                ) -> np.ndarray:
    """Return the AP per class and threshold, (C, T), from the hits among ranked detections.

    Args:
        ranked: result of ``Comparison.ranked``. A class without ground truth
            gets NaN.
        hits: T arrays (N,) bool: the detection is a true positive.
        counted: T arrays (N,) bool: False where the detection is neither
            right nor wrong; True for every hit. None counts all detections.
        interpolated: see ``average_precision``.
        normal_count: score every class as if it had this number of instances,
            see ``precision_at_hits``; None takes the real number.
    """
    num_ground_truth = np.bincount(ranked.ground_truth.class_index, minlength=ranked.num_classes)
    result = np.full((ranked.num_classes, len(hits)), np.nan)
    rows = [(row, part, number) for row, (part, number) in enumerate(
        zip(ranked.class_ranges(), num_ground_truth.tolist())) if number]
    for column, hit in enumerate(hits):
        for row, part, number in rows:
            ranks = hit[part]
            if counted is not None:
                ranks = ranks[counted[column][part]]
            weight = 1.0 if normal_count is None else normal_count / number
            result[row, column] = average_precision(ranks, number, interpolated, weight)
    return result


def _found_ground_truth(pairs: CandidatePairs, num_detections: int) -> np.ndarray:
    matched = match_in_turn(pairs.detection, pairs.ground_truth)
    found = np.full(num_detections, -1)
    found[pairs.detection[matched]] = pairs.ground_truth[matched]
    return found
