"""Signs that the best detections are not where the instances are, or have other labels."""
from __future__ import annotations

import numpy as np

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.evaluate import EvaluationCase
from sbp_tad.evaluation.matching import SegmentTable, best_overlaps
from sbp_tad.evaluation.plausibility.finding import ERROR, WARNING, Finding
from sbp_tad.evaluation.plausibility.time_fits import NEARLY, Sample, fit
from sbp_tad.evaluation.time_units import SECONDS, TimeUnit
from sbp_tad.segments.overlap import temporal_iou_of_pairs

TOUCHING_TIOU = 0.1
FEW_TOUCHING = 0.1  # share of the best detections; more overlap an instance by chance
MIN_TIOU = 0.5
FEWEST_DETECTIONS = 10  # of fewer nothing is sure
ENOUGH_TO_MISS = 50  # of fewer best detections a weak detector may have none near an instance
LOWEST_SHARE = 0.5


def overlap_findings(case: EvaluationCase, labels_by_index: bool = False,
                     with_labels: bool = True, unit: TimeUnit = SECONDS) -> list[Finding]:
    """Compare the best detections with the instances that they overlap.

    The best M detections are compared, M being the number of instances. A
    detector that finds instances usually finds their classes.

    Args:
        case: detections and ground truth.
        labels_by_index: the labels were numbers, whose order is the likely cause.
        with_labels: False for proposals, whose labels do not matter.
        unit: unit that the detections were converted from.
    """
    truth = case.comparison.ground_truth
    found, scores = (case.comparison.detections, case.comparison.scores) if with_labels else \
        (case.proposals, case.proposal_scores)
    best = found.take(np.argsort(-scores, kind='stable')[:len(truth)])
    overlap, own_overlap = best_overlaps(best, truth, temporal_iou_of_pairs)
    touching = float((overlap >= TOUCHING_TIOU).mean()) if len(best) else 1.0
    if touching < FEW_TOUCHING:
        return [_nowhere_near(best, truth, touching, unit)] if len(best) >= ENOUGH_TO_MISS else []
    overlaps = overlap >= MIN_TIOU
    if not with_labels or case.comparison.num_classes < 2 or overlaps.sum() < FEWEST_DETECTIONS:
        return []
    share = float((own_overlap[overlaps] >= MIN_TIOU).mean())
    if share >= LOWEST_SHARE or _overlap_by_chance(case, best):
        return []
    return [Finding(ERROR if labels_by_index else WARNING,
                    f'Of the {overlaps.sum()} best detections that overlap an instance by tIoU '
                    f'{MIN_TIOU}, only {share:.0%} have its label.',
                    'Check the order of the classes: --labels-by-index FILE has one class name per '
                    'line, in the order of the numbers.'
                    if labels_by_index else '', '--labels-by-index')]


def _overlap_by_chance(case: EvaluationCase, best: SegmentTable) -> bool:
    """Return True if as many would overlap elsewhere: then labels are not the fault."""
    unlisted = VideoAnnotation('', '', 1.0, None, None, np.empty((0, 2)), ())
    videos = tuple(case.truth.get(name, unlisted) for name in case.video_names)
    found = fit(Sample(best, case.comparison.ground_truth, videos), best.segments_seconds)
    return found.excess < max(NEARLY, found.chance)


def _nowhere_near(best: SegmentTable, truth: SegmentTable, touching: float, unit: TimeUnit
                  ) -> Finding:
    def middle(table: SegmentTable) -> str:
        return f'about second {np.median(table.segments_seconds):.3g}'

    return Finding(
        WARNING,
        f'Only {touching:.0%} of the {len(best)} best detections overlap an instance of their '
        f'video by tIoU {TOUCHING_TIOU}. They lie at {middle(best)}, the instances at '
        f'{middle(truth)}. No other unit, form or shift explains the times better. The detector is '
        'weak, its classes or time base differ (for example a fixed grid per video), or the video '
        f'ids mean other videos.' + ('' if unit == SECONDS else f' Check {unit.options}.'))
