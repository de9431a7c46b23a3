"""Average recall over the average number of proposals, AR@AN.

Protocol: the proposal task of the ActivityNet challenge (2016 to 2019). Every
detection is a proposal; its label is ignored. An instance is found if any kept
proposal of its video reaches the threshold; one proposal may find several
instances. Every video keeps the same share of its proposals, best first, and
AN is the mean number of kept proposals per video.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sbp_tad.evaluation.evaluate import EvaluationCase
from sbp_tad.evaluation.matching import SegmentTable, candidate_pairs
from sbp_tad.segments.overlap import temporal_iou_of_pairs

TIOU_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
MAX_AVERAGE_NUMBER = 100


@dataclass(frozen=True, eq=False)
class AverageRecall:
    """Recall at each average number of proposals.

    Args:
        average_number: (100,) mean number of proposals per video, 1 to 100.
        recall: (T, 100) fractions, per tIoU threshold.
        tiou_thresholds: T thresholds.
    """

    average_number: np.ndarray
    recall: np.ndarray
    tiou_thresholds: tuple[float, ...]

    @property
    def average_recall(self) -> np.ndarray:
        """Return AR@AN, (100,): the mean recall over the thresholds."""
        return self.recall.mean(axis=0)

    @property
    def area_under_curve(self) -> float:
        """Return the area under AR over AN (trapezoids from AN 1), divided by the last AN."""
        steps = np.diff(self.average_number)
        middles = (self.average_recall[1:] + self.average_recall[:-1]) / 2
        return float((steps * middles).sum() / self.average_number[-1])

    def to_json(self) -> dict[str, Any]:
        """Return ``AR@1`` to ``AR@100`` and ``AUC`` as fractions."""
        return {**{f'AR@{round(number)}': value for number, value
                   in zip(self.average_number.tolist(), self.average_recall.tolist())},
                'AUC': self.area_under_curve, 'tiou_thresholds': list(self.tiou_thresholds)}


def average_recall(case: EvaluationCase) -> AverageRecall:
    """Score the detections of a case as proposals, at the thresholds of the proposal task."""
    truth = case.comparison.ground_truth
    proposals = case.proposals.take(
        np.lexsort((-case.proposal_scores, case.proposals.video_index)))
    in_video = np.bincount(proposals.video_index, minlength=len(case.video_names))
    rank = np.arange(len(proposals)) - (np.cumsum(in_video) - in_video)[proposals.video_index]
    pairs = candidate_pairs(proposals, _without_classes(truth), temporal_iou_of_pairs,
                            min(TIOU_THRESHOLDS))
    kept = _kept_proposals(in_video, np.unique(truth.video_index))[:, truth.video_index]
    recall = []
    for tiou in TIOU_THRESHOLDS:
        above = pairs.take(pairs.tiou >= tiou)
        first = np.full(len(truth), np.iinfo(np.int64).max)  # rank of the first that finds it
        np.minimum.at(first, above.ground_truth, rank[above.detection])
        recall.append((first < kept).mean(axis=1))
    return AverageRecall(np.arange(1, MAX_AVERAGE_NUMBER + 1), np.stack(recall), TIOU_THRESHOLDS)


def _kept_proposals(in_video: np.ndarray, instance_videos: np.ndarray) -> np.ndarray:
    """Return the number of proposals that each video keeps at each AN, (100, V) int64.

    The shares at AN 100 are computed and rounded down first. Their sum is the
    total from which the smaller numbers are computed.

    Args:
        in_video: (V,) number of proposals per video.
        instance_videos: indices of the videos with an instance; others keep none.
    """
    wanted = float(MAX_AVERAGE_NUMBER * len(instance_videos))
    share = np.zeros_like(in_video)
    with_instances = in_video[instance_videos]
    ratio = wanted / max(in_video.sum(), 1)
    share[instance_videos] = np.minimum((with_instances * ratio).astype(np.int64), with_instances)
    fractions = np.arange(1, MAX_AVERAGE_NUMBER + 1) / MAX_AVERAGE_NUMBER
    fractions = fractions * (wanted / max(share.sum(), 1))
    return np.minimum((share * fractions[:, None]).astype(np.int64), share)


def _without_classes(table: SegmentTable) -> SegmentTable:
    return SegmentTable(table.video_index, np.zeros_like(table.class_index),
                        table.segments_seconds)
