"""Average precision of temporal action detection, in the ActivityNet protocol.

Protocol: the detection evaluation of ActivityNet (Caba Heilbron et al., CVPR
2015), in float64. The published tool leaves ties to an unstable sort; here
equal scores rank in the order given, and of ground truths with equal tIoU the
one whose start or end is nearest to the detection's is taken (it gives the
published figures on real results), then the earlier one.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sbp_tad.evaluation.matching import CandidatePairs, SegmentTable, candidate_pairs, match_in_turn
from sbp_tad.segments.overlap import temporal_iou_of_pairs


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a protocol scores: N detections against M ground-truth segments.

    Args:
        num_classes: C; classes are 0..C-1, each with ground truth unless only a
            part of it is looked at.
        ground_truth: M rows, in file order inside a video.
        detections: N rows, in file order.
        scores: (N,) float64, finite.
        ambiguous: segments where a detection of any class is neither right
            nor wrong; only the official THUMOS'14 protocol looks at them.
    """

    num_classes: int
    ground_truth: SegmentTable
    detections: SegmentTable
    scores: np.ndarray
    ambiguous: SegmentTable

    def ranked(self, *ties: np.ndarray) -> Comparison:
        """The detections sorted by class, then by decreasing score, then by ``ties``, stably."""
        order = np.lexsort((*reversed(ties), -self.scores, self.detections.class_index))
        return Comparison(self.num_classes, self.ground_truth, self.detections.take(order),
                          self.scores[order], self.ambiguous)

    def class_ranges(self) -> list[slice]:
        """Where the ranked detections of each class lie."""
        classes = np.arange(self.num_classes + 1)
        borders = np.searchsorted(self.detections.class_index, classes).tolist()
        return [slice(start, end) for start, end in zip(borders, borders[1:])]


def average_precision(true_positive: np.ndarray, num_ground_truth: int,
                      interpolated: bool = True, hit_weight: float = 1.0) -> float:
    """Area under the precision-recall curve of one class.

    Args:
        true_positive: (N,) bool, detections by decreasing score.
        num_ground_truth: segments to find, above 0.
        interpolated: replace each precision by the largest at the same or a
            higher recall (ActivityNet, all points); otherwise sum the
            precision at every hit as it is (THUMOS'14).
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
    """Precision at the rank of each true positive, by decreasing score.

    Args:
        true_positive: (N,) bool, detections by decreasing score.
        hit_weight: true positives that one counts for. With N' / N it is the
            normalised precision of a class of N instances as if it had N'
            (Hoiem et al., ECCV 2012), so that classes or parts of them
            compare whatever their size.
    """
    ranks = np.flatnonzero(true_positive)
    hits = np.arange(1, ranks.size + 1)
    return hit_weight * hits / (hit_weight * hits + (ranks + 1 - hits))


def activitynet_average_precision(comparison: Comparison, tiou_thresholds: Sequence[float]
                                  ) -> np.ndarray:
    """AP per class and threshold, (C, len(tiou_thresholds)).

    In order of score over all videos, a detection takes the free ground
    truth of its video and class with the largest tIoU, if that reaches the
    threshold; otherwise it is a false positive.
    """
    ranked = comparison.ranked()
    found = activitynet_matches(ranked, tiou_thresholds)
    return average_precision_per_class(ranked, [truth >= 0 for truth in found])


def activitynet_matches(ranked: Comparison, tiou_thresholds: Sequence[float]) -> list[np.ndarray]:
    """Per threshold the row of the ground truth that each ranked detection finds, (N,); -1: none.

    Args:
        ranked: what ``Comparison.ranked`` returned.
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
    """AP per class and threshold, (C, T), from the hits among ranked detections.

    Args:
        ranked: what ``Comparison.ranked`` returned. Where its ground truth is
            a part of the whole, classes that have none there get NaN.
        hits: T arrays (N,) bool: the detection is a true positive.
        counted: T arrays (N,) bool, containing the hits: what is neither
            right nor wrong is False; all count where it is left out.
        interpolated: see ``average_precision``.
        normal_count: every class is scored as if it had this many instances,
            see ``precision_at_hits``; as many as it has where left out.
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
