"""Inference with a temporal detector: segments of videos."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.infer import BaseInferencer
from mmengine.registry import init_default_scope

from sbp_tad.apis.errors import InferenceError
from sbp_tad.apis.inference.inputs import InputVideo, OneInput, list_videos
from sbp_tad.apis.inference.model import build_test_set, choose_device, load_detector
from sbp_tad.apis.inference.progress import VideoProgress
from sbp_tad.apis.inference.results import Detection, ResultFolder, VideoDetections
from sbp_tad.apis.inference.windows import WindowReads
from sbp_tad.apis.launch import config_faults, load_config
from sbp_tad.apis.named_files import find_config
from sbp_tad.datasets import TemporalDetectionDataset
from sbp_tad.datasets.readers.features import FeatureFiles
from sbp_tad.engine.start_checks import check_feature_file
from sbp_tad.evaluation.metrics import TADMetric, override_rules, window_columns
from sbp_tad.models import TemporalDetector
from sbp_tad.paths import path_within
from sbp_tad.provenance import file_sha256
from sbp_tad.registry import INFERENCERS, METRICS
from sbp_tad.segments.merging import (
    PostProcessing,
    VideoColumns,
    best_candidates,
    finish_video,
    merge_windows,
    prepare_window,
)
from sbp_tad.structures import TADDataSample
from sbp_tad.visualization.timeline import ScoredSegments, draw_timeline

NUM_THUMBNAILS = 12
LEAST_DRAWN_SCORE = 0.2
# Paths and annotations do not change how a window is read.
_PLACES = ('ann_file', 'data_root', 'data_prefix', 'subsets', 'metainfo')


@dataclass
class _OpenVideo:
    """Best predictions so far of a video whose windows are being processed."""

    candidates: VideoColumns = field(default_factory=lambda: (
        np.empty((0, 2)), np.empty(0), np.empty(0, np.int64)))
    num_done: int = 0
    error: str | None = None

    def add(self, sample: TADDataSample, rules: PostProcessing) -> None:
        """Add one more window; the memory does not grow with the number of windows."""
        found = prepare_window(window_columns(sample.pred_instances), rules,
                               sample.get('duration_seconds'))
        self.candidates = best_candidates([self.candidates, found], rules)
        self.error = self.error or sample.error
        self.num_done += 1


@INFERENCERS.register_module()
class TADInferencer(BaseInferencer):
    """Detect the actions of any video with a trained detector.

    Windows and transforms are those of the config's test set. Suppression is
    that of ``model.test_cfg``, with the ``post_processing`` of the config's
    ``TADMetric`` on top. So the detections equal those of ``tools/test.py``.
    The steps are those of mmengine's ``BaseInferencer``, with two
    differences. A video is finished (``postprocess``, then ``visualize`` of
    its merged detections) before the next one, and the result is typed. With
    several processes, start them first (``launch.start_processes``); each
    processes its share of the videos and returns the results of all.

    Args:
        config_or_name: path of a config, the config itself, or the name of a
            recipe (stem of a config file of this project).
        checkpoint: file with the trained weights; its class names take
            precedence over those of the config.
        device: ``'auto'`` (CUDA if available, else the CPU), ``'cpu'``,
            ``'cuda'`` or ``'cuda:N'``.
        show_progress: draw a progress bar with the remaining time.

    Raises:
        ConfigError: the config or checkpoint does not exist, or the config cannot be built.
        CheckpointError: the checkpoint belongs to another model.
        InferenceError: the model is not a temporal detector, class names are
            missing, or the device cannot be used.
        EvaluationError: the metric has an unknown ``post_processing`` option.

    Example:
        >>> inferencer = TADInferencer('actionformer_r3d10_sbp-r4_toy', 'best.pth')
        >>> inferencer('kitchen.mp4')[0].detections[0]
        Detection(start_seconds=3.2, end_seconds=7.9, label='pour', score=0.94)
    """

    def __init__(self, config_or_name: str | Path | Config, checkpoint: str | Path,
                 device: str = 'auto', show_progress: bool = True) -> None:
        cfg = config_or_name
        if not isinstance(cfg, Config):
            cfg = load_config(find_config(cfg))
        init_default_scope(cfg.get('default_scope', 'sbp_tad'))
        with config_faults():
            super().__init__(cfg, str(checkpoint), choose_device(device), scope='sbp_tad',
                             show_progress=show_progress)
        self.rules = override_rules(self.model.post_processing, evaluator_options(cfg))
        self.identity = describe(self.cfg, self.rules, self.class_names, checkpoint)

    def __call__(self, inputs: OneInput | Sequence[OneInput], batch_size: int | None = None, *,
                 fps: float | None = None, score_threshold: float = 0.0,
                 out_dir: str | Path | None = None, vis_dir: str | Path | None = None,
                 num_workers: int = 0) -> list[VideoDetections]:
        """Detect the actions of videos.

        An unreadable video gives a result with ``error``; the others are
        processed.

        Args:
            inputs: a video file, a folder (all videos below it), frames (T,
                H, W, 3) uint8 RGB, or a list of these. A detector on features
                takes feature files, a detector on frame folders such folders.
            batch_size: windows per batch; that of the config by default.
            fps: frames per second of arrays (required), and of feature files
                and frame folders that do not state theirs. For a video file it
                is the rate in which ``stride_frames`` of the config counts, as
                ``fps`` of an annotation; by default that of the file.
            score_threshold: drop detections below it.
            out_dir: folder for one JSON per video with all its detections.
                Videos that an earlier call with this detector finished are
                not processed again.
            vis_dir: folder for one timeline per video. Existing pictures of
                videos that are not processed again are kept.
            num_workers: number of processes that decode ahead.

        Returns:
            The detections of each video, in the order of the inputs.

        Raises:
            InferenceError: an input does not exist, or an input, a number or a folder
                cannot be used.
            ConfigError: features have another number of channels than the detector takes.
        """
        batch_size = self.cfg.test_dataloader.get('batch_size', 1) if batch_size is None \
            else batch_size
        videos = list_videos(inputs, self.kind, self.dataset.filename_template)
        check_options(videos, batch_size, fps, score_threshold)
        if isinstance(self.dataset.source, FeatureFiles) and videos and videos[0].filename:
            check_feature_file(self.model, 'test_dataloader.dataset', self.dataset.source,
                               videos[0].filename, videos[0].video_id)
        mine = videos[get_rank()::get_world_size()]
        shares = all_gather_object(
            self._run(mine, ResultFolder(out_dir, {**self.identity, 'fps': fps}), batch_size, fps,
                      score_threshold, vis_dir, num_workers))
        results = {name: result for share in shares for name, result in share.items()}
        return [results[video.video_id].above(score_threshold) for video in videos]

    def _run(self, videos: Sequence[InputVideo], store: ResultFolder, batch_size: int,
             fps: float | None, score_threshold: float, vis_dir: str | Path | None,
             num_workers: int) -> dict[str, VideoDetections]:
        """Return all detections of the videos of this process, stored or new."""
        results = {video.video_id: found for video in videos if (found := store.read(video))}
        pending = []
        for video in videos:
            if video.video_id not in results:
                pending.append(video)
            elif vis_dir and not _picture(vis_dir, video).exists():
                self.visualize(video, results[video.video_id], vis_dir, fps, score_threshold)
        reads = WindowReads(self.dataset, pending, fps)
        for result in self.detect(reads, batch_size, num_workers):
            video = reads.videos[result.video_id]
            self.visualize(video, result, vis_dir, fps, score_threshold)
            store.write(video, result)  # last: a stored video counts as finished
            results[video.video_id] = result
        return results

    @property
    def kind(self) -> str:
        """Kind of input of the detector: ``'video'``, ``'frames'`` or ``'features'``."""
        return next(iter(self.dataset.data_prefix))

    def preprocess(self, inputs: WindowReads, batch_size: int = 1, num_workers: int = 0
                   ) -> Iterator[Mapping[str, Any]]:
        """Yield batches of windows, decoded on demand."""
        return inputs.load(batch_size, num_workers, self.collate_fn)

    def postprocess(self, preds: VideoColumns, duration_seconds: float | None = None
                    ) -> tuple[Detection, ...]:
        """Merge the predictions of all windows of a video into its detections, clipped to it."""
        merged = finish_video(merge_windows([preds], self.rules), self.rules, duration_seconds)
        segments, scores, labels = (column.tolist() for column in merged)
        return tuple(Detection(start, end, self.class_names[label], score)
                     for (start, end), score, label in zip(segments, scores, labels))

    def visualize(self, inputs: InputVideo, preds: VideoDetections,
                  vis_dir: str | Path | None = None, fps: float | None = None,
                  score_threshold: float = 0.0) -> Path | None:
        """Draw ``<vis_dir>/<video_id>.png``: frames above detections.

        Returns:
            The picture; None without ``vis_dir`` or for an unreadable video.
        """
        if vis_dir is None or preds.duration_seconds is None:
            return None
        path = _picture(vis_dir, inputs)
        found = ScoredSegments(preds.segments_seconds(), [one.label for one in preds.detections],
                               np.array([one.score for one in preds.detections]))
        frames = WindowReads(self.dataset, [inputs], fps).thumbnails(inputs, NUM_THUMBNAILS)
        draw_timeline(path, preds.video_id, preds.duration_seconds, None, found, self.class_names,
                      max(score_threshold, LEAST_DRAWN_SCORE), frames)
        return path

    def detect(self, reads: WindowReads, batch_size: int = 1, num_workers: int = 0
               ) -> Iterator[VideoDetections]:
        """Yield the result of each video when its last window is done."""
        opened: dict[str, _OpenVideo] = {}
        weights = {name: video.weight for name, video in reads.videos.items()}
        with VideoProgress(weights, self.show_progress and is_main_process()) as progress:
            for batch in self.preprocess(reads, batch_size, num_workers):
                for sample in self.forward(batch):
                    name = sample.video_id
                    video = opened.setdefault(name, _OpenVideo())
                    video.add(sample, self.rules)
                    is_last = video.num_done == reads.num_windows[name]
                    progress.advance(name, reads.num_windows[name], is_last)
                    if is_last:
                        del opened[name]
                        yield VideoDetections(
                            name, reads.videos[name].filename, reads.duration_seconds[name],
                            self.postprocess(video.candidates, reads.duration_seconds[name]),
                            video.error)

    def _init_model(self, cfg: Config, weights: str, device: str) -> TemporalDetector:
        """Return the config's detector with the weights of the checkpoint, in evaluation mode."""
        model, self.checkpoint_meta = load_detector(cfg, weights, device, TemporalDetector)
        return model

    def _init_pipeline(self, cfg: Config) -> TemporalDetectionDataset:
        """Return the config's test set without reading its annotation; set ``class_names``."""
        self.dataset = build_test_set(cfg, self.model, self.checkpoint_meta,
                                      TemporalDetectionDataset)
        self.class_names = tuple(self.dataset.metainfo['classes'])
        return self.dataset

    def _init_visualizer(self, cfg: Config) -> None:
        """Do nothing: timelines need no visualizer."""


def _picture(vis_dir: str | Path, video: InputVideo) -> Path:
    return path_within(vis_dir, f'{video.video_id}.png')


def evaluator_options(cfg: Config) -> dict[str, Any]:
    """Return the ``post_processing`` by which the config's ``TADMetric`` overrides the detector.

    Empty if the test evaluator has no ``TADMetric``, or if that one overrides nothing.
    """
    evaluators = cfg.get('test_evaluator') or []
    for evaluator in evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]:
        kind = METRICS.get(evaluator['type'])
        if kind is not None and issubclass(kind, TADMetric):
            return dict(evaluator.get('post_processing') or {})
    return {}


def check_options(videos: Sequence[InputVideo], batch_size: int, fps: float | None,
                  score_threshold: float) -> None:
    """Check the options of a call.

    Raises:
        InferenceError: a number is out of range, or arrays come without ``fps``.
    """
    if batch_size < 1:
        raise InferenceError(f'batch_size must be at least 1, got {batch_size}.')
    if not 0 <= score_threshold <= 1:
        raise InferenceError(f'score_threshold must lie in [0, 1], got {score_threshold}.')
    if fps is not None and not fps > 0:
        raise InferenceError(f'fps must be above 0, got {fps}.')
    if fps is None and any(video.frames is not None for video in videos):
        raise InferenceError('an array of frames has no frame rate; give fps=..., in frames '
                             'per second.')


def describe(cfg: Config, rules: PostProcessing, class_names: Sequence[str],
             checkpoint: str | Path) -> dict[str, str]:
    """Return what identifies a detector: results with another identity are not reused."""
    dataset = {name: value for name, value in cfg.test_dataloader.dataset.items()
               if name not in _PLACES}
    settings = json.dumps([cfg.model, dataset, asdict(rules), class_names], sort_keys=True,
                          default=str)
    return dict(config=Path(cfg.filename or 'config').stem,
                checkpoint_sha256=file_sha256(checkpoint),
                settings_sha256=hashlib.sha256(settings.encode()).hexdigest())
