"""Check the data sets of a config, or of an annotation alone, and advise settings."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmengine.config import Config

import sbp_tad.models  # noqa: F401, registers what a config names
from sbp_tad.annotations import VideoAnnotation, scan_annotations
from sbp_tad.apis.launch import config_faults
from sbp_tad.datasets import TemporalDetectionDataset, build_pipeline, probe_video
from sbp_tad.datasets.checks.annotation_check import (Expectations, check_annotations,
                                                      shared_subsets, unused_subsets)
from sbp_tad.datasets.checks.file_check import Inspect, check_files, find_files, unlisted_files
from sbp_tad.datasets.checks.findings import Finding
from sbp_tad.datasets.checks.window_advice import (BackboneShape, SegmentStatistics, WindowAdvice,
                                                   advise, segment_lengths, served_share, summarize)
from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.datasets.readers.sources import with_timing
from sbp_tad.errors import ConfigError, UserError
from sbp_tad.models.detectors.temporal_detector import TemporalDetector
from sbp_tad.planning.detector_memory import ExpectedMemory, expect_memory
from sbp_tad.planning.models_as_shapes import clip_frames, frames_per_step
from sbp_tad.registry import DATASETS, MODELS

Videos = Mapping[str, VideoAnnotation]
BLANK_FRAME = (240, 320, 3)


@dataclass(frozen=True)
class Declaration:
    """One data set to check.

    Args:
        ann_file: annotation.
        expected: what it is held to.
        files: the file of each video; None leaves files alone.
        inspect: reads a header, see :func:`check_files`.
        overlap: of its test windows.
    """

    ann_file: Path
    expected: Expectations
    files: Callable[[Videos], dict[str, Path]] | None = None
    inspect: Inspect = lambda path, _: probe_video(path)
    overlap: float = 0.5


@dataclass
class DatasetReport:
    """All that was found, and what follows for windows, pyramid and memory.

    ``counts``: subset -> videos and segments that count. ``remarks``: why a
    part is missing.
    """

    counts: dict[str, tuple[int, int]]
    findings: list[Finding]
    facts: SegmentStatistics | None = None
    advice: WindowAdvice | None = None
    memory: ExpectedMemory | None = None
    current_share: float | None = None
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ModelProbe:
    """A detector of a config with what measuring it takes."""

    detector: TemporalDetector
    frame_size: tuple[int, int]
    batch_size: int
    shape: BackboneShape


def declare_json(path: str | Path, videos: str | Path | None = None,
                 classes: Sequence[str] | None = None, subsets: Sequence[str] | None = None,
                 ignored_labels: Sequence[str] = ('Ambiguous',)) -> list[Declaration]:
    """The data set of an annotation file alone; all that is not given is taken from it."""
    expected = Expectations(tuple(classes) if classes else None,
                            tuple(subsets) if subsets else None, tuple(ignored_labels))
    return [Declaration(Path(path), expected,
                        None if videos is None else lambda chosen: find_files(videos, chosen))]


def declare_config(cfg: Config, check_media: bool = True) -> list[Declaration]:
    """The data sets of a config's loaders, each once, those to train on first.

    Raises:
        ConfigError: no loader, or a data set without an annotation of segments.
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
    """Data sets below wrappers such as RepeatDataset and ConcatDataset."""
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
                          'over TemporalDetectionDataset can be checked.')
    folder, = dataset.data_prefix.values()
    expected = Expectations(
        tuple(dataset.metainfo.get('classes') or ()) or None, tuple(dataset.subsets) or None,
        dataset.ignored_labels, dataset.excluded_videos, dataset.out_of_range,
        dataset.tolerance_seconds, training)

    def files(videos: Videos) -> dict[str, Path]:
        return {video_id: Path(folder) / dataset.filename_template.format(video_id=video_id)
                for video_id in videos}

    return Declaration(
        Path(dataset.ann_file), expected, files if check_media else None,
        lambda path, video: dataset.source.inspect(str(path), video).get('video_header'),
        dataset.overlap)


def check_datasets(declarations: Sequence[Declaration]
                   ) -> tuple[DatasetReport, list[VideoAnnotation]]:
    """Findings of all data sets, and the videos to draw advice from, timing filled in.

    Raises:
        AnnotationError: an annotation file that cannot be read at all.
    """
    findings: list[Finding] = []
    learned: dict[str, VideoAnnotation] = {}
    known_files: list[Path] = []
    report = DatasetReport({}, findings)
    for path in dict.fromkeys(declaration.ann_file for declaration in declarations):
        own = [declaration for declaration in declarations if declaration.ann_file == path]
        videos, faults = scan_annotations(path)
        findings += [Finding('malformed-entry', video_id, sentence)
                     for video_id, sentence in faults]
        findings += _check_together(videos, own)
        for declaration in own:
            findings += check_annotations(videos, declaration.expected)
            chosen = declaration.expected.select(videos)
            if declaration.files is not None:
                files = declaration.files(videos)
                known_files += files.values()
                findings += check_files(chosen, files, declaration.expected, declaration.inspect)
                chosen = _fill_timing(chosen, files, declaration.inspect)
            counted = [video.without(declaration.expected.ignored_labels)
                       for video in chosen.values()]
            report.counts.update(_count(counted))
            if declaration.expected.training or len(declarations) == 1:
                learned.update({video.video_id: video for video in counted})
    findings += unlisted_files(known_files)
    findings[:] = dict.fromkeys(findings)
    return report, list(learned.values())


def _check_together(videos: Videos, declarations: Sequence[Declaration]) -> list[Finding]:
    """Faults that show only between the data sets of one annotation."""
    subsets = {training: [subset for declaration in declarations
                          if declaration.expected.training is training
                          for subset in declaration.expected.subsets or ()]
               for training in (True, False)}
    findings = shared_subsets(subsets[True], subsets[False])
    if all(declaration.expected.subsets for declaration in declarations):
        findings += unused_subsets(videos, subsets[True] + subsets[False])
    return findings


def _fill_timing(videos: Videos, files: Mapping[str, Path], inspect: Inspect
                 ) -> dict[str, VideoAnnotation]:
    """The videos with fps and duration where the annotation lacks and a file tells them."""
    timed = dict(videos)
    for video_id, video in videos.items():
        try:
            header = None if video.fps and video.duration_seconds else \
                inspect(files[video_id], video)
        except VideoReadError:
            continue  # stands among the findings
        timed[video_id] = video if header is None else with_timing(video, header)
    return timed


def _count(videos: Sequence[VideoAnnotation]) -> dict[str, tuple[int, int]]:
    numbers = Counter(video.subset for video in videos)
    segments = Counter()
    for video in videos:
        segments[video.subset] += len(video)
    return {subset: (number, segments[subset]) for subset, number in numbers.items()}


def add_advice(report: DatasetReport, videos: Sequence[VideoAnnotation],
               shape: BackboneShape, coverage: float, overlap: float) -> None:
    """Fill in ``facts`` and ``advice``, or the remark that no segment has a length.

    Raises:
        DatasetError: coverage outside (0, 1].
    """
    if not len(segment_lengths(videos)):
        report.remarks.append('advice needs segments with a length, and there is none to learn.')
        return
    report.facts = summarize(videos, coverage)
    report.advice = advise(videos, shape, coverage, overlap)


def probe_model(cfg: Config) -> ModelProbe:
    """Build a config's detector, without its weights, and measure the shape of its features.

    Raises:
        ConfigError: no detector, or a pipeline without frames.
        PlanningError: a backbone that cannot be measured clip by clip.
    """
    with config_faults():
        detector = MODELS.build(cfg.model)
    if not isinstance(detector, TemporalDetector):
        raise ConfigError(f'memory is measured for a TemporalDetector, the model is a '
                          f'{type(detector).__name__}.')
    batch_size, dataset = first_loader(cfg)
    size = frame_size(dataset.get('pipeline') or ())
    per_step = frames_per_step(detector.train(), size)
    if detector.num_steps:
        per_step = dataset['num_frames'] / detector.num_steps
    return ModelProbe(detector, size, batch_size,
                      BackboneShape(clip_frames(detector), per_step))


def first_loader(cfg: Config) -> tuple[int, dict]:
    """Batch size and data set of the training loader, or of the first that there is."""
    loaders = (cfg.get(f'{role}_dataloader') for role in ('train', 'val', 'test'))
    loader = next((loader for loader in loaders if loader), None)
    if loader is None:
        raise ConfigError('the config has no train_dataloader, whose frames memory is measured '
                          'for.')
    return loader.get('batch_size', 1), next(_leaves(loader['dataset']))


def frame_size(pipeline: Sequence[dict]) -> tuple[int, int]:
    """(height, width) that a pipeline gives: its spatial transforms run on a blank frame.

    Raises:
        ConfigError: it decodes no frames.
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
    """Fill in ``memory`` for the advised windows, or the remark why it cannot be."""
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
    """Fill in the share of segments that the config's own windows and levels serve."""
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
