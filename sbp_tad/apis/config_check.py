"""Check of the data sets of a config, and of the memory of its model."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.config import Config

import sbp_tad.models  # noqa: F401, registers what a config names
from sbp_tad.annotations import VideoAnnotation
from sbp_tad.apis.dataset_check import (
    DatasetReport,
    Declaration,
    add_advice,
    check_datasets,
)
from sbp_tad.apis.launch import config_faults
from sbp_tad.datasets.base import TemporalDetectionDataset
from sbp_tad.datasets.checks.annotation_check import Expectations
from sbp_tad.datasets.checks.window_advice import BackboneShape, served_share
from sbp_tad.datasets.transforms import build_pipeline
from sbp_tad.errors import ConfigError, UserError
from sbp_tad.models.detectors.temporal_detector import TemporalDetector
from sbp_tad.planning.detector_memory import expect_memory
from sbp_tad.planning.models_as_shapes import clip_frames, frames_per_step
from sbp_tad.registry import DATASETS, MODELS

BLANK_FRAME = (240, 320, 3)


@dataclass(frozen=True)
class ModelProbe:
    """Detector of a config, with the sizes that a memory measurement needs."""

    detector: TemporalDetector
    frame_size: tuple[int, int]
    batch_size: int
    shape: BackboneShape


def declare_config(cfg: Config, check_media: bool = True) -> list[Declaration]:
    """Return the data sets of a config's loaders, each once, training sets first.

    Raises:
        ConfigError: there is no loader, or a data set has no annotated segments.
    """
    declarations: list[Declaration] = []
    for role in ('train', 'val', 'test'):
        loader = cfg.get(f'{role}_dataloader') or {}
        for dataset in _leaves(loader.get('dataset')):
            declaration = _declare(dataset, role == 'train', check_media)
            key = declaration.ann_file, declaration.expected
            if key not in [(other.ann_file, other.expected) for other in declarations]:
                declarations.append(declaration)
    if not declarations:
        raise ConfigError('the config has no data set; expected train_dataloader or '
                          'test_dataloader with dataset=dict(type=..., ann_file=...).')
    return declarations


def _leaves(dataset: dict | None) -> Iterator[dict]:
    """Yield the data sets inside wrappers, for example RepeatDataset and ConcatDataset."""
    if dataset is None:
        return
    inner = dataset.get('datasets') or [dataset.get('dataset')]
    if inner == [None]:
        yield dataset
    for wrapped in inner:
        yield from _leaves(wrapped)


def _declare(config: dict, training: bool, check_media: bool) -> Declaration:
    with config_faults():
        dataset = DATASETS.build({**config, 'pipeline': [], 'lazy_init': True})
    if not isinstance(dataset, TemporalDetectionDataset):
        raise ConfigError(f'{type(dataset).__name__} holds no annotated segments; only data sets '
                          'derived from TemporalDetectionDataset can be checked.')
    folder, = dataset.data_prefix.values()
    expected = Expectations(
        tuple(dataset.metainfo.get('classes') or ()) or None, tuple(dataset.subsets) or None,
        dataset.ignored_labels, dataset.excluded_videos, dataset.out_of_range,
        dataset.tolerance_seconds, training)

    def files(videos: Iterable[str]) -> dict[str, Path]:
        return {video_id: Path(folder) / dataset.filename_template.format(video_id=video_id)
                for video_id in videos}

    return Declaration(
        Path(dataset.ann_file), expected, files if check_media else None,
        lambda path, video: dataset.source.inspect(str(path), video).get('video_header'),
        dataset.overlap)


def probe_model(cfg: Config) -> ModelProbe:
    """Build a config's detector, without its weights, and measure the shape of its features.

    Raises:
        ConfigError: the model is not a detector, or the pipeline decodes no frames.
        PlanningError: the backbone cannot be measured clip by clip.
    """
    with config_faults():
        detector = MODELS.build(cfg.model)
    if not isinstance(detector, TemporalDetector):
        raise ConfigError(f'memory is measured for a TemporalDetector, but the model is a '
                          f'{type(detector).__name__}.')
    batch_size, dataset = first_loader(cfg)
    size = frame_size(dataset.get('pipeline') or ())
    per_step = frames_per_step(detector.train(), size)
    if detector.num_steps:
        per_step = dataset['num_frames'] / detector.num_steps
    return ModelProbe(detector, size, batch_size,
                      BackboneShape(clip_frames(detector), per_step))


def first_loader(cfg: Config) -> tuple[int, dict]:
    """Return batch size and data set of the training loader, else of the first other loader."""
    loaders = (cfg.get(f'{role}_dataloader') for role in ('train', 'val', 'test'))
    loader = next((loader for loader in loaders if loader), None)
    if loader is None:
        raise ConfigError('the config has no train_dataloader; the memory depends on its frames.')
    return loader.get('batch_size', 1), next(_leaves(loader['dataset']))


def frame_size(pipeline: Sequence[dict]) -> tuple[int, int]:
    """Return the (height, width) that a pipeline makes of a blank frame.

    Raises:
        ConfigError: the pipeline decodes no frames.
    """
    names = [transform['type'].rpartition('.')[2] for transform in pipeline]
    decode = next((i for i, name in enumerate(names) if name.endswith('Decode')), None)
    if decode is None or 'FormatShape' not in names:
        raise ConfigError(f'the frame size follows from the transforms between decoding and '
                          f'FormatShape, but the pipeline is {names}.')
    frames = dict(imgs=[np.zeros(BLANK_FRAME, np.uint8)], img_shape=BLANK_FRAME[:2],
                  original_shape=BLANK_FRAME[:2], modality='RGB', num_clips=1, clip_len=1)
    for transform in build_pipeline(pipeline[decode + 1:names.index('FormatShape')]):
        frames = transform(frames)
    return tuple(frames['imgs'][0].shape[:2])


def add_memory(report: DatasetReport, probe: ModelProbe) -> None:
    """Fill in ``memory`` for the advised windows, or a remark with the reason why not."""
    if report.advice is None:
        return
    num_frames, detector = report.advice.num_frames, probe.detector
    if detector.num_steps:
        detector.num_steps = round(num_frames / report.advice.frames_per_step)
    try:
        report.memory = expect_memory(detector, num_frames, probe.frame_size, probe.batch_size)
    except UserError as error:
        report.remarks.append(f'memory was not measured: {error}')


def add_current_share(report: DatasetReport, cfg: Config, videos: Sequence[VideoAnnotation]
                      ) -> None:
    """Fill in the share of segments that the windows and levels of the config serve."""
    head = cfg.model.get('head') or {}
    _, dataset = first_loader(cfg)
    stride, fps = dataset.get('stride_frames'), dataset.get('target_fps')
    if report.advice is None or not (stride or fps):
        return
    sampled_fps = fps or report.advice.video_fps / stride
    detector_levels = len(head.get('strides') or report.advice.strides)
    report.current_share = served_share(
        videos, report.advice.frames_per_step / sampled_fps, dataset['num_frames'] / sampled_fps,
        report.advice.overlap, detector_levels)


def check_with_model(declarations: Sequence[Declaration], cfg: Config | None,
                     model: Config | None, coverage: float) -> DatasetReport:
    """Check data sets, advise settings, and measure the memory of a model with them.

    Args:
        declarations: data sets to check.
        cfg: config whose windows are compared with the advice; None for an
            annotation alone.
        model: config of the measured model; None takes ``cfg``, and adds a
            remark if its memory cannot be measured.
        coverage: share of the segments to serve.

    Raises:
        ConfigError: ``model`` defines no detector on frames.
    """
    report, videos = check_datasets(declarations)
    probe = probe_model(model) if model is not None else None
    if probe is None:
        try:
            probe = probe_model(cfg)
        except UserError as error:
            report.remarks.append(f'memory was not measured: {error}')
    shape = BackboneShape() if probe is None else probe.shape
    add_advice(report, videos, shape, coverage, declarations[-1].overlap or 0.5)
    if probe is not None:
        add_memory(report, probe)
    if cfg is not None:
        add_current_share(report, cfg, videos)
    return report
