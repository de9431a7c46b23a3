"""Metric of a Runner: collect window predictions, merge them, compute the mAP."""
from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from sbp_tad.annotations import read_annotations
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.detections import write_detections
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.evaluate import EvaluationResult, evaluate_detections
from sbp_tad.evaluation.merged_videos import merge_videos
from sbp_tad.evaluation.options import EvaluationOptions, dataset_rules, threshold_name
from sbp_tad.evaluation.plausibility.check import find_implausible
from sbp_tad.evaluation.plausibility.finding import ERROR
from sbp_tad.evaluation.raw_predictions import RawPredictions, write_raw_predictions
from sbp_tad.evaluation.score_fusion import ScoreFusion
from sbp_tad.registry import METRICS
from sbp_tad.segments.merging import PostProcessing, VideoColumns
from sbp_tad.segments.overlap import SegmentError
from sbp_tad.wording import count_of

UNREADABLE_RULES = ('raise', 'report')


@dataclass(frozen=True)
class WindowResult:
    """Predictions of one test window, and the error if it could not be read."""

    video_id: str
    start_frame: float
    predictions: VideoColumns
    error: str | None
    rules: PostProcessing | None  # of the detector; None if it states none
    duration_seconds: float | None = None  # of the video; None if unknown


def window_columns(found: Any) -> VideoColumns:
    """Return the predictions of a window (``InstanceData`` or a dict of tensors) as arrays."""
    segments, scores = (found[name].cpu().double().numpy()
                        for name in ('segments_seconds', 'scores'))
    return segments, scores, found['labels'].cpu().numpy()


@METRICS.register_module()
class TADMetric(BaseMetric):
    """THUMOS-style mAP of the window predictions of a detector.

    The ground truth is what the test dataset names in its ``metainfo``
    (``ann_file``, ``subsets``, ``ignored_labels``, ``excluded_videos``,
    ``out_of_range``), so a config states it once. A window counts once, even
    if a sampler repeats it.

    The result holds ``tad/average_mAP`` (for ``save_best``) and one entry
    per threshold such as ``tad/mAP@0.30``, as fractions.

    Args:
        tiou_thresholds: tIoU thresholds of the mAP, which is also averaged
            over them. None takes the ``tiou_thresholds`` of the test dataset,
            or 0.3 to 0.7 in steps of 0.1 if it declares none.
        post_processing: options of :class:`PostProcessing` that override the
            detector's ``model.test_cfg`` one by one. Options left out, or
            None, keep those of the detector.
        evaluation: further options of :class:`EvaluationOptions`.
        out_file: file for the detections (ActivityNet format, ``.json`` or
            ``.json.gz``); None writes no file.
        raw_file: file for the predictions of all windows before suppression
            (``.npz``), for ``tools/tune_nms.py``; None writes no file.
        score_fusion: ``path``, ``method`` and ``top_k`` of
            :class:`ScoreFusion`: fuse the scores of a video-level classifier;
            None fuses nothing.
        unreadable: ``'raise'`` ends with an error that lists the unreadable
            videos, after the detections of the others are written.
            ``'report'`` logs the list and counts their actions as missed.
        collect_device: device of the collected results, see mmengine.

    Raises:
        EvaluationError: an unknown ``post_processing`` option or ``unreadable`` rule.
    """

    default_prefix = 'tad'

    def __init__(self, tiou_thresholds: Sequence[float] | None = None,
                 post_processing: dict | None = None, evaluation: dict | None = None,
                 out_file: str | None = None, raw_file: str | None = None,
                 score_fusion: dict | None = None, unreadable: str = 'raise',
                 collect_device: str = 'cpu') -> None:
        super().__init__(collect_device=collect_device)
        self.tiou_thresholds = None if tiou_thresholds is None else tuple(tiou_thresholds)
        self.post_processing = dict(post_processing or {})
        self.rules_with(None)  # refuses wrong options before the test
        self.evaluation = dict(evaluation or {})
        self.out_file = out_file
        self.raw_file = raw_file
        self.score_fusion = score_fusion
        self.unreadable = check_unreadable_rule(unreadable)
        self.result: EvaluationResult | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Collect the predictions of each window of a batch."""
        for sample in data_samples:
            window, found = sample['window'], sample['pred_instances']
            start = -1.0 if window is None else window.start_frame
            self.results.append(WindowResult(sample['video_id'], start, window_columns(found),
                                             sample['error'], sample.get('post_processing'),
                                             sample.get('duration_seconds')))

    def rules_with(self, detector_rules: PostProcessing | None) -> PostProcessing:
        """Return the detector's rules (None: the defaults) with this metric's options on top."""
        return override_rules(detector_rules or PostProcessing(), self.post_processing)

    def compute_metrics(self, results: list[WindowResult]) -> dict[str, float]:
        """Merge the windows of each video, write the detections and score them.

        Raises:
            EvaluationError: unreadable videos, see ``unreadable``.
        """
        windows = self.windows(results)
        rules = self.rules_with(_shared_rules(results))
        durations = {result.video_id: result.duration_seconds for result in results}
        for path in filter(None, (self.raw_file, self.out_file)):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        if self.raw_file is not None:
            write_raw_predictions(self.raw_file, RawPredictions(
                windows, tuple(self.dataset_meta['classes']), rules, self._options(),
                tuple(self.dataset_meta['subsets']), durations))
        detections = self.detections(windows, rules, durations)
        if self.out_file is not None:
            write_detections(self.out_file, detections)
        report_unreadable({result.video_id: result.error for result in results if result.error},
                          self.unreadable, self.out_file, 'their actions count as missed')
        self.result = self._evaluate(detections)
        if protocol := self.dataset_meta.get('protocol'):
            print_log(f'protocol {protocol}: {count_of(self.result.num_videos, "video")} with '
                      f'{count_of(self.result.num_ground_truth, "instance")}', 'current')
        names = [threshold_name(tiou) for tiou in self.result.options.tiou_thresholds]
        scores = {f'mAP@{name}': float(value)
                  for name, value in zip(names, self.result.mean_average_precision)}
        return {**scores, 'average_mAP': self.result.average_mean_average_precision}

    def windows(self, results: Sequence[WindowResult]) -> dict[str, list[VideoColumns]]:
        """Return the predictions of the windows of every video, by time and each window once."""
        windows: dict[str, dict[float, VideoColumns]] = {}
        for result in results:
            windows.setdefault(result.video_id, {})[result.start_frame] = result.predictions
        return {video_id: [found[start] for start in sorted(found)]
                for video_id, found in sorted(windows.items())}

    def detections(self, windows: Mapping[str, Sequence[VideoColumns]],
                   rules: PostProcessing, durations: Mapping[str, float | None]) -> Detections:
        """Return the detections of every video that has a window, clipped to the video."""
        classes = self.dataset_meta['classes']
        fusion = None if self.score_fusion is None else \
            ScoreFusion(class_names=classes, **self.score_fusion)
        return merge_videos(windows, classes, rules, fusion, durations)

    def _options(self) -> EvaluationOptions:
        chosen = {} if self.tiou_thresholds is None else dict(tiou_thresholds=self.tiou_thresholds)
        return EvaluationOptions(**{**dataset_rules(self.dataset_meta), **chosen,
                                    **self.evaluation})

    def _evaluate(self, detections: Detections) -> EvaluationResult:
        subsets = self.dataset_meta['subsets']
        annotations = read_annotations(self.dataset_meta['ann_file'], subsets)
        for finding in find_implausible(annotations, detections, self._options()):
            if finding.level == ERROR:  # the first epochs of a training may have no detection
                print_log(f'The score cannot be right: {finding.fault}', 'current',
                          logging.WARNING)
        return evaluate_detections(annotations, detections, self._options(), ','.join(subsets))


def override_rules(detector_rules: PostProcessing, options: Mapping[str, Any]) -> PostProcessing:
    """Return a detector's rules with the ``post_processing`` of its ``TADMetric`` on top.

    Raises:
        EvaluationError: an unknown option, or a value that cannot work.
    """
    try:
        return detector_rules.with_options(options)
    except SegmentError as error:
        raise EvaluationError(f'post_processing of TADMetric: {error}') from error


def _shared_rules(results: Sequence[WindowResult]) -> PostProcessing | None:
    """Return the detector's rules, which travel with each of its windows.

    Raises:
        EvaluationError: windows of detectors with different rules.
    """
    found = {result.rules for result in results}
    if len(found) > 1:
        raise EvaluationError(f'the windows of one test must come from one detector, got '
                              f'{len(found)} different post_processing rules in the data samples.')
    return next(iter(found), None)


def report_unreadable(errors: Mapping[str, str], rule: str, out_file: str | None,
                      consequence: str) -> None:
    """Raise or log that test videos could not be read.

    Args:
        errors: error message of each unreadable video.
        rule: one of ``UNREADABLE_RULES``.
        out_file: file with the results of the other videos; None if not written.
        consequence: effect of these videos on the score, for the message.

    Raises:
        EvaluationError: ``rule`` is ``'raise'`` and ``errors`` is not empty.
    """
    if not errors:
        return
    listing = ''.join(f'\n  {video_id}: {error}' for video_id, error in errors.items())
    summary = f'{len(errors)} test videos could not be read:{listing}\n'
    if rule == 'raise':
        written = '' if out_file is None else f'The results of the others are in {out_file}. '
        raise EvaluationError(
            f"{summary}{written}Repair the files, or set unreadable='report' in the metric to "
            f'score without them ({consequence}).')
    print_log(f'{summary}Then {consequence}.', 'current', logging.WARNING)


def check_unreadable_rule(rule: str) -> str:
    """Return the rule if it is one of ``UNREADABLE_RULES``.

    Raises:
        EvaluationError: an unknown rule.
    """
    if rule not in UNREADABLE_RULES:
        raise EvaluationError(f'unreadable must be one of {UNREADABLE_RULES}, got {rule!r}.')
    return rule
