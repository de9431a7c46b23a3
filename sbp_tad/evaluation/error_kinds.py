"""Kinds of detections (correct, or one of five errors) and mAP without some of them.

The kind of a detection at a tIoU threshold follows DETAD (Alwassel et al.,
"Diagnosing Error in Temporal Action Detectors", ECCV 2018):

=================  ====================================================================
true_positive      matched to an instance
double_detection   its best overlap reaches the threshold and has its label, but the
                   instance is matched to a detection with a higher score
wrong_label        its best overlap reaches the threshold and has another label
localization       its best overlap is at least ``background_tiou`` and has its label
confusion          its best overlap is at least ``background_tiou``, another label
background         no overlap of at least ``background_tiou``
=================  ====================================================================

If the best overlap is reached with its own and another label, its own counts;
the published code takes the first in the file.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sbp_tad.evaluation.average_precision import (
    Comparison,
    activitynet_matches,
    average_precision_per_class,
    precision_at_hits,
)
from sbp_tad.evaluation.matching import best_overlaps
from sbp_tad.segments.overlap import temporal_iou_of_pairs

KINDS = ('true_positive', 'double_detection', 'wrong_label', 'localization', 'confusion',
         'background')
ERROR_KINDS = KINDS[1:]


@dataclass(frozen=True, eq=False)
class MatchedRanking:
    """N detections by class and decreasing score, with their matches at T thresholds.

    Args:
        comparison: result of ``Comparison.ranked``.
        tiou_thresholds: T thresholds.
        found: T arrays (N,), row of the matched ground truth, -1 for none.
    """

    comparison: Comparison
    tiou_thresholds: tuple[float, ...]
    found: list[np.ndarray]

    @classmethod
    def of(cls, comparison: Comparison, tiou_thresholds: Sequence[float]) -> MatchedRanking:
        """Rank and match in the ActivityNet protocol."""
        ranked = comparison.ranked()
        return cls(ranked, tuple(tiou_thresholds), activitynet_matches(ranked, tiou_thresholds))

    @property
    def normal_count(self) -> float:
        """Return the mean number of instances per class, N' of the normalised precision."""
        return len(self.comparison.ground_truth) / self.comparison.num_classes

    def average_map(self, counted: Sequence[np.ndarray] | None = None,
                    normalized: bool = False) -> float:
        """Return the mAP averaged over the thresholds.

        Args:
            counted: T arrays (N,) bool, detections to use; None uses all.
            normalized: use the normalised precision, see ``precision_at_hits``.
        """
        hits = [found >= 0 for found in self.found]
        if counted is not None:
            hits = [hit & rows for hit, rows in zip(hits, counted)]
        normal_count = self.normal_count if normalized else None
        return float(average_precision_per_class(self.comparison, hits, counted,
                                                 normal_count=normal_count).mean())

    def normalized_map_of(self, inside: np.ndarray) -> float:
        """Return the normalised average mAP on a part (M,) bool of the ground truth.

        Detections matched to the other part, and classes without an instance
        in this part, are left out. An empty part gives NaN.
        """
        if not inside.any():
            return float('nan')
        hits = [(found >= 0) & inside[found] for found in self.found]
        counted = [(found < 0) | hit for found, hit in zip(self.found, hits)]
        part = replace(self.comparison, ground_truth=self.comparison.ground_truth.take(inside))
        return float(np.nanmean(average_precision_per_class(part, hits, counted,
                                                            normal_count=self.normal_count)))

    def missed(self, min_normalized_precision: float) -> np.ndarray:
        """Return (T, M) bool: no match of the instance has a normalised precision above this."""
        table = self.comparison.ground_truth
        num_instances = np.bincount(table.class_index, minlength=self.comparison.num_classes)
        missed = np.ones((len(self.found), len(table)), dtype=bool)
        for row, found in enumerate(self.found):
            for part, number in zip(self.comparison.class_ranges(), num_instances):
                hit = found[part] >= 0
                precision = precision_at_hits(hit, self.normal_count / number)
                missed[row, found[part][hit][precision > min_normalized_precision]] = False
        return missed

    def kinds(self, background_tiou: float) -> list[np.ndarray]:
        """Return, per threshold, the index in ``KINDS`` of each detection, (N,) int8."""
        best, best_of_own = best_overlaps(self.comparison.detections, self.comparison.ground_truth,
                                          temporal_iou_of_pairs)
        own_label, overlaps = best_of_own == best, best >= background_tiou
        kinds = []
        for tiou, found in zip(self.tiou_thresholds, self.found):
            reaches = best >= tiou
            cases = [found >= 0, reaches & own_label, reaches, overlaps & own_label, overlaps]
            kinds.append(np.select(cases, [np.int8(i) for i in range(5)], np.int8(5)))
        return kinds

    def rank_in_instances(self) -> np.ndarray:
        """Return (N,) k: the detection ranks from kG to (k+1)G in its class of G instances."""
        class_index = self.comparison.detections.class_index
        starts = np.array([part.start for part in self.comparison.class_ranges()])
        number = np.bincount(self.comparison.ground_truth.class_index, minlength=len(starts))
        return (np.arange(len(class_index)) - starts[class_index]) // number[class_index]
