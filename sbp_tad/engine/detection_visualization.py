"""Hook that draws timelines of some validation videos during training."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.engine.errors import HookError
from sbp_tad.evaluation.metrics import TADMetric, window_columns
from sbp_tad.paths import path_within
from sbp_tad.registry import HOOKS
from sbp_tad.segments.merging import PostProcessing, VideoColumns, merge_video
from sbp_tad.structures import TADDataSample
from sbp_tad.visualization.visualizer import TimelineVisualizer


@HOOKS.register_module()
class DetectionVisualizationHook(Hook):
    """Draw annotation and detections of the first videos after each validation.

    The detections are those that the metric scores: the windows of a video
    are merged by the detector's ``test_cfg`` and the ``post_processing`` of
    the ``TADMetric``. Config::

        visualizer = dict(type='TimelineVisualizer', vis_backends=[
            dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
        custom_hooks = [dict(type='DetectionVisualizationHook', num_videos=3)]

    Args:
        num_videos: number of videos, in the order of the dataset.
        score_threshold: draw no detections below it.
        interval: number of validations from one picture to the next.

    Raises:
        HookError: before training, if the visualizer draws no timelines.
    """

    def __init__(self, num_videos: int = 3, score_threshold: float = 0.2,
                 interval: int = 1) -> None:
        if num_videos < 1 or interval < 1:
            raise HookError('num_videos and interval must be at least 1, got '
                            f'{num_videos} and {interval}.')
        self.num_videos, self.interval = num_videos, interval
        self.score_threshold = score_threshold
        self._num_validations = 0
        self._windows: dict[tuple[str, float], VideoColumns] = {}
        self._rules: PostProcessing | None = None  # of the detector

    def before_train(self, runner: Runner) -> None:
        """Refuse a visualizer without timelines before training."""
        if not isinstance(runner.visualizer, TimelineVisualizer):
            raise HookError(
                "DetectionVisualizationHook needs visualizer = dict(type='TimelineVisualizer', "
                f'...), got {type(runner.visualizer).__name__}.')

    def before_val_epoch(self, runner: Runner) -> None:
        """Select the videos."""
        self._windows = {}
        self._videos = first_videos(runner.val_dataloader.dataset, self.num_videos)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                       outputs: Sequence[TADDataSample] | None = None) -> None:
        """Keep the predictions of the windows of these videos."""
        for sample in outputs or ():
            self._rules = sample.get('post_processing')
            if sample.video_id in self._videos and sample.window is not None:
                self._windows[sample.video_id, sample.window.start_frame] = \
                    window_columns(sample.pred_instances)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Merge the windows of each video and draw it."""
        self._num_validations += 1
        windows = {place: found for share in all_gather_object(self._windows)
                   for place, found in share.items()}
        if not is_main_process() or self._num_validations % self.interval:
            return
        rules = next((metric.rules_with(self._rules) for metric in
                      runner.val_loop.evaluator.metrics if isinstance(metric, TADMetric)),
                     self._rules or PostProcessing())
        classes = list(runner.val_dataloader.dataset.metainfo['classes'])
        for video_id, annotation in self._videos.items():
            found = [windows[place] for place in sorted(windows) if place[0] == video_id]
            merged = merge_video(found, rules, annotation.duration_seconds)
            end = annotation.duration_seconds or max(
                [merged[0].max(initial=1.0), annotation.segments_seconds.max(initial=1.0)])
            runner.visualizer.add_datasample(
                path_within('detections', video_id).as_posix(), None,
                video_sample(annotation, merged, classes),
                step=runner.iter, duration_seconds=float(end),
                score_threshold=self.score_threshold)


def first_videos(dataset: Any, number: int) -> dict[str, VideoAnnotation]:
    """Return the annotations of the first videos of a dataset."""
    videos: dict[str, VideoAnnotation] = {}
    for index in range(len(dataset)):
        annotation = dataset.get_data_info(index)['annotation']
        videos.setdefault(annotation.video_id, annotation)
        if len(videos) == number:
            break
    return videos


def video_sample(annotation: VideoAnnotation, found: VideoColumns, classes: Sequence[str]
                 ) -> TADDataSample:
    """Return a data sample of a whole video with its annotation and detections."""
    sample = TADDataSample(metainfo=dict(video_id=annotation.video_id, window=None, error=None))
    sample.gt_instances = InstanceData(
        segments_seconds=torch.from_numpy(annotation.segments_seconds),
        labels=torch.tensor([classes.index(label) for label in annotation.labels],
                            dtype=torch.int64))
    segments, scores, labels = map(torch.from_numpy, found)
    sample.pred_instances = InstanceData(segments_seconds=segments, scores=scores, labels=labels)
    return sample
