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
        num_classes: C; classes are 0..C-1, each with ground truth.
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


def average_precision(true_positive: np.ndarray, num_ground_truth: int,
                      interpolated: bool = True) -> float:
    """Area under the precision-recall curve of one class.

    Args:
        true_positive: (N,) bool, detections by decreasing score.
        num_ground_truth: segments to find, above 0.
        interpolated: replace each precision by the largest at the same or a
            higher recall (ActivityNet, all points); otherwise sum the
            precision at every hit as it is (THUMOS'14).

    Returns:
        A fraction in [0, 1]; 0 without detections.
    """
    assert num_ground_truth > 0
    hits = np.flatnonzero(true_positive)
    precision = np.arange(1, hits.size + 1) / (hits + 1)  # recall grows only at hits
    if interpolated:
        precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(precision.sum() / num_ground_truth)


def activitynet_average_precision(comparison: Comparison, tiou_thresholds: Sequence[float]
                                  ) -> np.ndarray:
    """AP per class and threshold, (C, len(tiou_thresholds)).

    In order of score over all videos, a detection takes the free ground
    truth of its video and class with the largest tIoU, if that reaches the
    threshold; otherwise it is a false positive.
    """
    ranked = comparison.ranked()
    pairs = candidate_pairs(ranked.detections, ranked.ground_truth, temporal_iou_of_pairs,
                            min(tiou_thresholds))
    gap = np.abs(ranked.detections.segments_seconds[pairs.detection]
                 - ranked.ground_truth.segments_seconds[pairs.ground_truth]).min(axis=1)
    pairs = pairs.take(np.lexsort((pairs.ground_truth, gap, -pairs.tiou, pairs.detection)))
    hits = [_is_hit(pairs.take(pairs.tiou >= threshold), len(ranked.scores))
            for threshold in tiou_thresholds]
    return average_precision_per_class(ranked, hits)


def average_precision_per_class(ranked: Comparison, hits: Sequence[np.ndarray],
                                counted: Sequence[np.ndarray] | None = None,
                                interpolated: bool = True) -> np.ndarray:
    """AP per class and threshold, (C, T), from the hits among ranked detections.

    Args:
        ranked: what ``Comparison.ranked`` returned.
        hits: T arrays (N,) bool: the detection is a true positive.
        counted: T arrays (N,) bool, containing the hits: what is neither
            right nor wrong is False; all count where it is left out.
        interpolated: see ``average_precision``.
    """
    classes = np.arange(ranked.num_classes)
    starts = np.searchsorted(ranked.detections.class_index, classes, side='left')
    ends = np.searchsorted(ranked.detections.class_index, classes, side='right')
    num_ground_truth = np.bincount(ranked.ground_truth.class_index, minlength=ranked.num_classes)
    result = np.empty((ranked.num_classes, len(hits)))
    for column, hit in enumerate(hits):
        for row, (start, end) in enumerate(zip(starts, ends)):
            ranks = hit[start:end]
            if counted is not None:
                ranks = ranks[counted[column][start:end]]
            result[row, column] = average_precision(ranks, num_ground_truth[row], interpolated)
    return result


def _is_hit(pairs: CandidatePairs, num_detections: int) -> np.ndarray:
    matched = match_in_turn(pairs.detection, pairs.ground_truth)
    hit = np.zeros(num_detections, dtype=bool)
    hit[pairs.detection[matched]] = True
    return hit
