"""Computation of mAP from annotations and detections, in any of the protocols."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.average_precision import Comparison, activitynet_average_precision
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.ground_truth import select_ground_truth
from sbp_tad.evaluation.matching import SegmentTable
from sbp_tad.evaluation.options import EvaluationOptions, threshold_name
from sbp_tad.evaluation.thumos14_official import thumos14_official_average_precision
from sbp_tad.wording import count_of

# Comparison, thresholds -> AP per class and threshold (C, T)
PROTOCOL_FUNCTIONS = {'activitynet': activitynet_average_precision,
                      'thumos14-official': thumos14_official_average_precision}


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """Scores of an evaluation, with its options and counts.

    Args:
        options: rules of the evaluation.
        subset: the scored subset or subsets.
        class_names: C names, sorted.
        average_precision: (C, T) fractions, T as in ``options.tiou_thresholds``.
        num_videos: number of videos of the ground truth.
        num_ground_truth: number of instances to find.
        num_predictions: number of scored detections.
        rule_counts: number of detections to which each rule applied:
            ``excluded_videos``, ``unknown_labels``, ``outside_videos``,
            ``empty_detections``.
    """

    options: EvaluationOptions
    subset: str
    class_names: tuple[str, ...]
    average_precision: np.ndarray
    num_videos: int
    num_ground_truth: int
    num_predictions: int
    rule_counts: dict[str, int]

    @property
    def mean_average_precision(self) -> np.ndarray:
        """Return the mAP per threshold, (T,): the mean over the classes of the ground truth."""
        return self.average_precision.mean(axis=0)

    @property
    def average_mean_average_precision(self) -> float:
        """Return the mean of mAP over the thresholds."""
        return float(self.mean_average_precision.mean())

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``tools/evaluate.py --json``; every mAP and AP is a fraction."""
        names = [threshold_name(tiou) for tiou in self.options.tiou_thresholds]
        per_class = {name: dict(zip(names, row.tolist()))
                     for name, row in zip(self.class_names, self.average_precision)}
        return {'protocol': self.options.protocol, 'subset': self.subset,
                'mAP': dict(zip(names, self.mean_average_precision.tolist())),
                'average_mAP': self.average_mean_average_precision,
                'per_class': per_class,
                'num_ground_truth': self.num_ground_truth,
                'num_predictions': self.num_predictions,
                'num_videos': self.num_videos,
                'rule_counts': self.rule_counts,
                'options': asdict(self.options)}


@dataclass(frozen=True, eq=False)
class EvaluationCase:
    """Input of a protocol: ground truth and detections after the rules were applied.

    Args:
        options: rules of the evaluation.
        subset: name of the subset, for the record.
        truth: the videos of the ground truth.
        class_names: C names, sorted.
        video_names: sorted names of all videos of ground truth and detections; the
            video indices of the tables refer to it.
        comparison: tables of numbers; ground truth in the order of ``truth``.
        proposals: the detections by all rules but those on labels; their
            class index is 0.
        proposal_scores: (P,) float64.
        rule_counts: see ``EvaluationResult``.
    """

    options: EvaluationOptions
    subset: str
    truth: dict[str, VideoAnnotation]
    class_names: tuple[str, ...]
    video_names: tuple[str, ...]
    comparison: Comparison
    proposals: SegmentTable
    proposal_scores: np.ndarray
    rule_counts: dict[str, int]


def evaluate_detections(annotations: Mapping[str, VideoAnnotation], detections: Detections,
                        options: EvaluationOptions | None = None, subset: str = ''
                        ) -> EvaluationResult:
    """Score detections against the annotations of a subset.

    Args:
        annotations: all videos of the subset, from ``read_annotations``; they
            may contain ignored labels.
        detections: detections of any videos.
        options: rules; None takes ``EvaluationOptions()``.
        subset: name of the subset, for the record.

    Raises:
        EvaluationError: no ground truth is left after the rules, or a rule
            with the value ``'error'`` applies.
    """
    return evaluate_case(prepare_case(annotations, detections, options, subset))


def evaluate_case(case: EvaluationCase) -> EvaluationResult:
    """Score the result of :func:`prepare_case`."""
    ap = PROTOCOL_FUNCTIONS[case.options.protocol](case.comparison, case.options.tiou_thresholds)
    return EvaluationResult(case.options, case.subset, case.class_names, ap, len(case.truth),
                            len(case.comparison.ground_truth), len(case.comparison.detections),
                            case.rule_counts)


def prepare_case(annotations: Mapping[str, VideoAnnotation], detections: Detections,
                 options: EvaluationOptions | None = None, subset: str = '') -> EvaluationCase:
    """Apply the rules and turn names into indices; arguments as of ``evaluate_detections``."""
    options = options or EvaluationOptions()
    truth = select_ground_truth(annotations, options)
    class_names = tuple(sorted({label for video in truth.values() for label in video.labels}
                               - set(options.ignored_labels)))
    if not class_names:
        raise EvaluationError(
            f'There is no ground truth to find in subset {subset!r}: no instance of a class is in '
            f'its {count_of(len(truth), "video")}. Check the subset, the excluded '
            'videos and the ignored labels.')
    keep, is_proposal, rule_counts = _apply_rules(truth, detections, class_names, options)
    video_names = tuple(sorted({*truth, *detections.video_ids}))
    comparison = _compare(truth, detections, keep, class_names, video_names)
    return EvaluationCase(options, subset, truth, class_names, video_names, comparison,
                          _proposals(detections, is_proposal, video_names),
                          detections.scores[is_proposal], rule_counts)


def _apply_rules(truth: Mapping[str, VideoAnnotation], detections: Detections,
                 class_names: tuple[str, ...], options: EvaluationOptions
                 ) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Return which detections are scored by mAP, (N,) bool, which are proposals, and counts."""
    inside = set(truth)
    if options.outside_videos == 'drop-without-instances':
        inside = {name for name in truth if set(truth[name].labels) & set(class_names)}
    excluded = _name_in(detections.video_ids, options.excluded_videos)[detections.video_index]
    unknown = ~_name_in(detections.labels, class_names)[detections.label_index]
    ignored = _name_in(detections.labels, options.ignored_labels)[detections.label_index]
    outside = ~_name_in(detections.video_ids, inside)[detections.video_index]
    start, end = detections.segments_seconds.T
    touched = {'excluded_videos': excluded, 'unknown_labels': unknown & ~excluded,
               'outside_videos': outside & ~excluded,
               'empty_detections': (start >= end) & ~excluded}
    keep, is_proposal = ~excluded & ~ignored, ~excluded
    for name in ('unknown_labels', 'outside_videos', 'empty_detections'):
        rule = getattr(options, name)
        if rule == 'error' and (touched[name] & keep).any():
            raise EvaluationError(_describe(name, detections, int((touched[name] & keep).argmax())))
        if rule.startswith('drop'):
            keep &= ~touched[name]
            is_proposal &= ~touched[name] | (name == 'unknown_labels')
    return keep, is_proposal, {name: int(rows.sum()) for name, rows in touched.items()}


def _describe(rule: str, detections: Detections, row: int) -> str:
    video = detections.video_ids[detections.video_index[row]]
    label = detections.labels[detections.label_index[row]]
    segment = detections.segments_seconds[row].tolist()
    fault = {'unknown_labels': f'the ground truth has no instance of label {label!r}',
             'outside_videos': 'the ground truth does not list this video',
             'empty_detections': f'segment {segment} does not start before it ends'}[rule]
    return (f'Detection of {label!r} in video {video!r}: {fault}. Correct the detections, or '
            f'allow it with another {rule} than error.')


def _name_in(names: tuple[str, ...], chosen: Any) -> np.ndarray:
    return np.array([name in chosen for name in names], dtype=bool)


def _proposals(detections: Detections, rows: np.ndarray, video_names: tuple[str, ...]
               ) -> SegmentTable:
    """Return the detections (N,) bool of all labels, as one class."""
    videos = np.searchsorted(np.array(video_names, dtype=object), np.array(
        detections.video_ids, dtype=object)).astype(np.int64)
    video_index = videos[detections.video_index[rows]]
    return SegmentTable(video_index, np.zeros_like(video_index), detections.segments_seconds[rows])


def _compare(truth: Mapping[str, VideoAnnotation], detections: Detections, keep: np.ndarray,
             class_names: tuple[str, ...], video_names: tuple[str, ...]) -> Comparison:
    """Turn names into indices; ambiguous segments get class C."""
    videos = {name: i for i, name in enumerate(video_names)}
    classes = {name: i for i, name in enumerate(class_names)}
    ambiguous_class = len(classes)
    rows = [(videos[name], classes.get(label, ambiguous_class))
            for name, video in truth.items() for label in video.labels]
    segments = np.concatenate([video.segments_seconds for video in truth.values()])
    video_index, class_index = np.array(rows, dtype=np.int64).T
    table = SegmentTable(video_index, class_index, segments)
    is_class = table.class_index < ambiguous_class
    video_number = np.array([videos[name] for name in detections.video_ids], dtype=np.int64)
    class_number = np.array([classes.get(name, ambiguous_class) for name in detections.labels],
                            dtype=np.int64)
    found = SegmentTable(video_number[detections.video_index[keep]],
                         class_number[detections.label_index[keep]],
                         detections.segments_seconds[keep])
    return Comparison(len(classes), table.take(is_class), found, detections.scores[keep],
                      table.take(~is_class))
