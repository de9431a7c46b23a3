"""mAP of each video alone."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sbp_tad.evaluation.average_precision import Comparison
from sbp_tad.evaluation.evaluate import PROTOCOL_FUNCTIONS, EvaluationCase
from sbp_tad.evaluation.matching import SegmentTable
from sbp_tad.evaluation.options import threshold_name


@dataclass(frozen=True, eq=False)
class VideoScores:
    """mAP of each video of the ground truth alone.

    Args:
        video_names: V names, sorted.
        mean_average_precision: (V, T) fractions, mean over the classes with an
            instance in the video; NaN without instances.
        num_ground_truth: (V,) number of instances.
        num_predictions: (V,) number of detections, of any class.
        tiou_thresholds: T thresholds.
    """

    video_names: tuple[str, ...]
    mean_average_precision: np.ndarray
    num_ground_truth: np.ndarray
    num_predictions: np.ndarray
    tiou_thresholds: tuple[float, ...]

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Return mAP per threshold and counts of each video; NaN becomes None."""
        names = [threshold_name(tiou) for tiou in self.tiou_thresholds]
        rows = zip(self.video_names, self.mean_average_precision.tolist(),
                   self.num_ground_truth.tolist(), self.num_predictions.tolist())
        return {video: {'mAP': {name: None if np.isnan(value) else value
                                for name, value in zip(names, row)},
                        'num_ground_truth': instances, 'num_predictions': detections}
                for video, row, instances, detections in rows}


def score_videos(case: EvaluationCase) -> VideoScores:
    """Score every video of the ground truth alone, in the protocol of the case."""
    comparison, pair_video = _class_per_video(case.comparison)
    ap = PROTOCOL_FUNCTIONS[case.options.protocol](comparison, case.options.tiou_thresholds)
    number = len(case.video_names)
    num_classes = np.bincount(pair_video, minlength=number)
    totals = np.stack([np.bincount(pair_video, column, number) for column in ap.T], axis=1)
    means = totals / np.where(num_classes, num_classes, np.nan)[:, None]
    names = tuple(sorted(case.truth))
    rows = np.searchsorted(case.video_names, names)
    instances, predictions = (
        np.bincount(table.video_index, minlength=number)[rows] for table
        in (case.comparison.ground_truth, case.comparison.detections))
    return VideoScores(names, means[rows], instances, predictions, case.options.tiou_thresholds)


def _class_per_video(comparison: Comparison) -> tuple[Comparison, np.ndarray]:
    """Make each class of each video a separate class; also return the video of each."""
    def pair_of(table: SegmentTable) -> np.ndarray:
        return table.video_index * comparison.num_classes + table.class_index

    truth, found = comparison.ground_truth, comparison.detections
    pairs, truth_class = np.unique(pair_of(truth), return_inverse=True)
    place = np.minimum(np.searchsorted(pairs, pair_of(found)), len(pairs) - 1)
    known = pairs[place] == pair_of(found)
    detections = SegmentTable(found.video_index, place, found.segments_seconds).take(known)
    ground_truth = SegmentTable(truth.video_index, truth_class, truth.segments_seconds)
    return (Comparison(len(pairs), ground_truth, detections, comparison.scores[known],
                       comparison.ambiguous), pairs // comparison.num_classes)
