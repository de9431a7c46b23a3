"""Average precision as the published THUMOS'14 evaluation kit computes it.

Protocol: TH14evalDet of the THUMOS challenge (http://crcv.ucf.edu/THUMOS14).
It differs from ActivityNet's in who chooses (the ground truth, in file
order), in the strict threshold, in the precision that is not interpolated,
and in the Ambiguous segments, which forgive false positives. Equal scores
rank by the name of the video, then in the order given.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sbp_tad.evaluation.average_precision import Comparison, average_precision_per_class
from sbp_tad.evaluation.matching import SegmentTable, candidate_pairs, match_in_turn


def thumos14_official_average_precision(comparison: Comparison,
                                        tiou_thresholds: Sequence[float]) -> np.ndarray:
    """AP per class and threshold, (C, len(tiou_thresholds)).

    The ground truth of a video, in file order, each takes the free detection
    of its class with the largest tIoU, if that exceeds the threshold (equal
    tIoU: the higher score). Other detections are false positives, save those
    that overlap an ambiguous segment at all: they do not count.
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
    """The same segments with start <= end: the kit takes the ends in either order."""
    return SegmentTable(table.video_index, table.class_index,
                        np.sort(table.segments_seconds, axis=1))


def temporal_iou_over_hull(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """tIoU of rows of (P, 2) and (P, 2) with the hull as the union, (P,) float64.

    For overlapping segments both unions are equal but for rounding, which
    decides at exact thresholds.
    """
    shared = np.minimum(first[:, 1], second[:, 1]) - np.maximum(first[:, 0], second[:, 0])
    hull = np.maximum(first[:, 1], second[:, 1]) - np.minimum(first[:, 0], second[:, 0])
    return np.divide(shared, hull, out=np.zeros_like(shared), where=shared > 0)


def overlaps_any(detections: SegmentTable, regions: SegmentTable) -> np.ndarray:
    """(N,) bool: the detection shares time with a region of its video, whatever the class."""
    start, end = detections.segments_seconds.T
    order = np.argsort(detections.video_index, kind='stable')
    first = np.searchsorted(detections.video_index, regions.video_index, 'left', sorter=order)
    last = np.searchsorted(detections.video_index, regions.video_index, 'right', sorter=order)
    touched = np.zeros(len(detections), dtype=bool)
    for low, high, region in zip(first, last, regions.segments_seconds):
        rows = order[low:high]
        touched[rows] |= np.minimum(end[rows], region[1]) > np.maximum(start[rows], region[0])
    return touched
