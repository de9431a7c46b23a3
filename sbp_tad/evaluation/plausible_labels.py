"""Signs of labels in another order than the classes of the annotation."""
from __future__ import annotations

import numpy as np

from sbp_tad.evaluation.evaluate import EvaluationCase
from sbp_tad.evaluation.matching import best_overlaps
from sbp_tad.evaluation.plausible_types import ERROR, WARNING, Finding
from sbp_tad.segments.overlap import temporal_iou_of_pairs

MIN_TIOU = 0.5
FEWEST_DETECTIONS = 10
LOWEST_SHARE = 0.5


def label_order_findings(case: EvaluationCase, labels_by_index: bool = False) -> list[Finding]:
    """Compare the labels of the best detections with those of the instances that they overlap.

    The best M detections are compared, M being the number of instances. A
    detector that finds instances usually finds their classes.

    Args:
        case: detections and ground truth.
        labels_by_index: the labels were numbers, whose order is the likely cause.
    """
    truth = case.comparison.ground_truth
    best = np.argsort(-case.comparison.scores, kind='stable')[:len(truth)]
    overlap, own_overlap = best_overlaps(case.comparison.detections.take(best), truth,
                                         temporal_iou_of_pairs)
    overlaps = overlap >= MIN_TIOU
    if case.comparison.num_classes < 2 or overlaps.sum() < FEWEST_DETECTIONS:
        return []
    share = float((own_overlap[overlaps] >= MIN_TIOU).mean())
    if share >= LOWEST_SHARE:
        return []
    return [Finding(ERROR if labels_by_index else WARNING,
                    f'Of the {overlaps.sum()} best detections that overlap an instance by tIoU '
                    f'{MIN_TIOU}, only {share:.0%} have its label.',
                    'Check that FILE of --labels-by-index has the order of the numbers.'
                    if labels_by_index else '', '--labels-by-index')]
