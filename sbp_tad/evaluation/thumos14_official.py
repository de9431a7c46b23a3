"""Average precision as the published THUMOS'14 evaluation kit computes it.

Protocol: TH14evalDet of the THUMOS challenge (http://crcv.ucf.edu/THUMOS14).
It differs from the ActivityNet protocol in four points: the ground truth
chooses its detection, in file order; the tIoU must exceed the threshold;
precision is not interpolated; false positives that overlap an Ambiguous
segment do not count. Equal scores rank by the name of the video, then in file
order.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sbp_tad.evaluation.average_precision import Comparison, average_precision_per_class
from sbp_tad.evaluation.matching import SegmentTable, candidate_pairs, match_in_turn


def thumos14_official_average_precision(comparison: Comparison,
                                        tiou_thresholds: Sequence[float]) -> np.ndarray:
    """Return the AP per class and threshold, (C, len(tiou_thresholds)).

    In file order, each ground truth takes the unmatched detection of its
    video and class with the largest tIoU, if that exceeds the threshold (with
    equal tIoU: the higher score). Other detections are false positives, but
    those that overlap an ambiguous segment do not count.
    """
    ranked = comparison.ranked(comparison.detections.video_index)
    detections = with_ordered_ends(ranked.detections)
    pairs = candidate_pairs(detections, ranked.ground_truth, temporal_iou_over_hull,
                            min(tiou_thresholds))
    pairs = pairs.take(np.lexsort((pairs.detection, -pairs.tiou, pairs.ground_truth)))
    forgiven = overlaps_any(detections, ranked.ambiguous)
    hits, counted = [], []
    for threshold in tiou_thresholds:
        above = pairs.take(pairs.tiou > threshold)
        matched = match_in_turn(above.ground_truth, above.detection)
        hit = np.zeros(len(ranked.scores), dtype=bool)
        hit[above.detection[matched]] = True
        hits.append(hit)
        counted.append(hit | ~forgiven)
    return average_precision_per_class(ranked, hits, counted, interpolated=False)


def with_ordered_ends(table: SegmentTable) -> SegmentTable:
    """Return the segments with start <= end; the kit accepts both orders."""
    return SegmentTable(table.video_index, table.class_index,
                        np.sort(table.segments_seconds, axis=1))


def temporal_iou_over_hull(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the tIoU (P,) float64 of rows of (P, 2) and (P, 2), with the hull as the union.

    For overlapping segments hull and union differ by rounding alone, which
    decides at exact thresholds.
    """
    shared = np.minimum(first[:, 1], second[:, 1]) - np.maximum(first[:, 0], second[:, 0])
    hull = np.maximum(first[:, 1], second[:, 1]) - np.minimum(first[:, 0], second[:, 0])
    return np.divide(shared, hull, out=np.zeros_like(shared), where=shared > 0)


def overlaps_any(detections: SegmentTable, regions: SegmentTable) -> np.ndarray:
    """Return (N,) bool: the detection overlaps a region of its video, of any class."""
    start, end = detections.segments_seconds.T
    order = np.argsort(detections.video_index, kind='stable')
    first = np.searchsorted(detections.video_index, regions.video_index, 'left', sorter=order)
    last = np.searchsorted(detections.video_index, regions.video_index, 'right', sorter=order)
    touched = np.zeros(len(detections), dtype=bool)
    for low, high, region in zip(first, last, regions.segments_seconds):
        rows = order[low:high]
        touched[rows] |= np.minimum(end[rows], region[1]) > np.maximum(start[rows], region[0])
    return touched
