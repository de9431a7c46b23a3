"""Matching of detections and ground truth: candidate pairs and one-to-one matching."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sbp_tad.segments.pairs import pairs_in_chunks

PairwiseTIoU = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (P, 2), (P, 2) -> (P,)


@dataclass(frozen=True, eq=False)
class SegmentTable:
    """N segments of many videos and classes, as columns.

    Args:
        video_index: (N,) int64, position in the sorted names.
        class_index: (N,) int64.
        segments_seconds: (N, 2) float64, start and end.
    """

    video_index: np.ndarray
    class_index: np.ndarray
    segments_seconds: np.ndarray

    def __len__(self) -> int:
        """Return the number of segments."""
        return len(self.video_index)

    def take(self, index: np.ndarray) -> SegmentTable:
        """Return the rows at ``index`` (integers, or N booleans)."""
        return SegmentTable(self.video_index[index], self.class_index[index],
                            self.segments_seconds[index])


@dataclass(frozen=True, eq=False)
class CandidatePairs:
    """P pairs of a detection and a ground truth of one class in one video.

    Args:
        detection: (P,) int64, row of the detections.
        ground_truth: (P,) int64, row of the ground truth.
        tiou: (P,) float64, their temporal intersection over union.
    """

    detection: np.ndarray
    ground_truth: np.ndarray
    tiou: np.ndarray

    def take(self, index: np.ndarray) -> CandidatePairs:
        """Return the pairs at ``index`` (integers, or P booleans)."""
        return CandidatePairs(self.detection[index], self.ground_truth[index], self.tiou[index])


def candidate_pairs(detections: SegmentTable, ground_truth: SegmentTable,
                    temporal_iou: PairwiseTIoU, min_tiou: float) -> CandidatePairs:
    """Return all pairs of equal video and class with a tIoU of at least ``min_tiou`` > 0.

    Memory grows with the number of detections and kept pairs, not with
    detections x ground truth.
    """
    num_classes = 1 + max(table.class_index.max(initial=0) for table in (detections, ground_truth))
    parts = []
    for detection, truth in _rows_of_equal_block(
            *(table.video_index * num_classes + table.class_index
              for table in (detections, ground_truth))):
        tiou = temporal_iou(detections.segments_seconds[detection],
                            ground_truth.segments_seconds[truth])
        parts.append(CandidatePairs(detection, truth, tiou).take(tiou >= min_tiou))
    return CandidatePairs(*(np.concatenate([getattr(part, name) for part in parts])
                            for name in ('detection', 'ground_truth', 'tiou')))


def best_overlaps(detections: SegmentTable, ground_truth: SegmentTable,
                  temporal_iou: PairwiseTIoU) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest tIoU of each detection with the ground truth of its video.

    Memory is linear in detections and ground truth.

    Returns:
        (N,) with ground truth of any class, and (N,) with ground truth of its
        own class; 0 without ground truth.
    """
    of_any, of_own = np.zeros(len(detections)), np.zeros(len(detections))
    for detection, truth in _rows_of_equal_block(detections.video_index, ground_truth.video_index):
        tiou = temporal_iou(detections.segments_seconds[detection],
                            ground_truth.segments_seconds[truth])
        own = detections.class_index[detection] == ground_truth.class_index[truth]
        starts = np.flatnonzero(np.diff(detection, prepend=-1))
        of_any[detection[starts]] = np.maximum.reduceat(tiou, starts)
        of_own[detection[starts]] = np.maximum.reduceat(tiou * own, starts)
    return of_any, of_own


def _rows_of_equal_block(wanted: np.ndarray, block: np.ndarray
                         ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows of ``wanted`` (ascending) and of ``block`` with equal values, in chunks."""
    order = np.argsort(block, kind='stable')  # rows of a block lie together
    first = np.searchsorted(block[order], wanted, side='left')
    count = np.searchsorted(block[order], wanted, side='right') - first
    for row, place in pairs_in_chunks(first, count):
        yield row, order[place]


def match_in_turn(chooser: np.ndarray, option: np.ndarray) -> np.ndarray:
    """Match choosers one by one, in increasing order, to their best unmatched option.

    The result is a stable matching in which every option prefers the earliest
    chooser. So deferred acceptance (Gale and Shapley, 1962) finds the same
    pairs in a few rounds over arrays: each unmatched chooser proposes to the
    next option on its list, and each option keeps its earliest proposer.

    Args:
        chooser: (P,) int, ascending; the pairs of a chooser are sorted best first.
        option: (P,) int, not negative.

    Returns:
        Ascending indices of the matched pairs.
    """
    num_pairs = len(chooser)
    list_end = np.searchsorted(chooser, chooser, side='right')
    holder = np.full(option.max(initial=-1) + 1, num_pairs)  # the pair that holds each option
    proposals = np.flatnonzero(np.diff(chooser, prepend=-1))
    while proposals.size:
        before = holder[option[proposals]]
        np.minimum.at(holder, option[proposals], proposals)
        after = holder[option[proposals]]
        displaced = np.unique(before[(before != after) & (before < num_pairs)])
        refused = np.concatenate([proposals[after != proposals], displaced])
        proposals = refused[refused + 1 < list_end[refused]] + 1
    return np.sort(holder[holder < num_pairs])
