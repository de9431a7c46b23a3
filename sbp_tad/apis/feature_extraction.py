"""Extraction of features of whole videos with a detector's backbone."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from sbp_tad.apis.checkpoints import load_weights, read_checkpoint
from sbp_tad.apis.clip_plan import ClipPlan, make_plan
from sbp_tad.apis.errors import InferenceError
from sbp_tad.apis.launch import config_faults, start_processes
from sbp_tad.datasets import FeatureGrid, TemporalDetectionDataset
from sbp_tad.datasets.file_names import with_suffix
from sbp_tad.datasets.readers.feature_files import (
    WRITERS,
    import_h5py,
    read_sidecar,
    write_features,
    write_sidecar,
)
from sbp_tad.models import TemporalDetector
from sbp_tad.paths import path_within
from sbp_tad.provenance import file_sha256
from sbp_tad.registry import DATASETS, MODELS
from sbp_tad.structures import Window

FORMATS = tuple(suffix[1:] for suffix in WRITERS)


@dataclass(frozen=True)
class ExtractionOptions:
    """Options of the extraction: files, format and clips.

    Args:
        out_dir: folder of the files, one of each video and its JSON.
        file_format: one of ``FORMATS``.
        clip_stride: None writes the input of the detector's neck: adjacent
            windows, every step of the backbone. A number slides clips (of the
            backbone's ``clip_len``) by this many sampled frames and writes the
            mean over time of each.
        clips_at_once: sliding clips in one pass of the backbone.
        subsets: of the annotation; None takes those of the test set.

    Raises:
        InferenceError: the format is unknown, or a number is below 1.
        VersionError: the format is HDF5 and h5py is not installed.
    """

    out_dir: Path
    file_format: str = 'npy'
    clip_stride: int | None = None
    clips_at_once: int = 8
    subsets: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.file_format not in FORMATS:
            raise InferenceError(f'the format must be one of {FORMATS}, got '
                                 f'{self.file_format!r}.')
        if self.file_format == 'h5':
            import_h5py()
        for name in ('clip_stride', 'clips_at_once'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InferenceError(f'{name} must be at least 1, got {value}.')

    def path(self, video_id: str, template: str = '{video_id}') -> Path:
        """Return the path of the feature file of a video, named as its video is.

        Args:
            video_id: the video.
            template: ``filename_template`` of the dataset, whose suffix gives way
                to that of the features.
        """
        name = with_suffix(template if '{video_id' in template else '{video_id}',
                           f'.{self.file_format}').format(video_id=video_id)
        return path_within(self.out_dir, name)


@dataclass
class ExtractionReport:
    """Videos written by this run, videos already present, and failures with their reason."""

    written: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def merged(self) -> ExtractionReport:
        """Return the joint report of all processes."""
        reports = all_gather_object(self)
        return ExtractionReport(
            [video for report in reports for video in report.written],
            [video for report in reports for video in report.present],
            {video: why for report in reports for video, why in report.failed.items()})


class Reads(Dataset):
    """Reads of a plan over videos, in order: item -> packed window, or a failure."""

    def __init__(self, dataset: TemporalDetectionDataset, items: Sequence[tuple[int, Window]]
                 ) -> None:
        self.dataset, self.items = dataset, items

    def __len__(self) -> int:
        """Return the number of reads of all videos."""
        return len(self.items)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Return one read."""
        index, window = self.items[number]
        return self.dataset.read(dict(self.dataset.get_data_info(index), window=window))


def extract_features(cfg: Config, checkpoint: str, options: ExtractionOptions,
                     launcher: str = 'none') -> ExtractionReport:
    """Write the features of every video of a config's test set that are still missing.

    The processes of a launcher share the videos. An unreadable video is
    reported; the others are processed.

    Raises:
        InferenceError: the model has no backbone, or the folder holds files of
            another config, checkpoint or setting.
        CheckpointError: the checkpoint lacks weights of the backbone.
        ConfigError: the config cannot be built.
    """
    start_processes(cfg, launcher)
    init_default_scope(cfg.get('default_scope', 'sbp_tad'))
    with config_faults():
        dataset = build_dataset(cfg, options.subsets)
        model = build_model(cfg, checkpoint)
    plan = make_plan(model.backbone, dataset.window_size, options.clip_stride)
    identity = describe(cfg, checkpoint, options, plan)
    videos, template = first_items(dataset), dataset.filename_template
    present = {video for video in videos if is_present(options.path(video, template), identity)}
    mine = list(videos)[get_rank()::get_world_size()]
    report = ExtractionReport(present=[video for video in mine if video in present])
    Path(options.out_dir).mkdir(parents=True, exist_ok=True)
    pending = {video: videos[video] for video in mine if video not in present}
    workers = cfg.test_dataloader.get('num_workers', 0)
    for video, found in encode_videos(model, dataset, plan, pending, options, workers):
        if isinstance(found, str):
            report.failed[video] = found
            continue
        store(options.path(video, template), found, identity, video)
        report.written.append(video)
        print_log(f'{len(report.written)}/{len(pending)} {video}: features '
                  f'{tuple(found[1].shape)}', 'current')
    return report.merged()


def encode_videos(model: TemporalDetector, dataset: TemporalDetectionDataset, plan: ClipPlan,
                  videos: Mapping[str, int], options: ExtractionOptions, num_workers: int
                  ) -> Iterator[tuple[str, str | tuple[FeatureGrid, Tensor]]]:
    """Yield the grid and features (T, C) of each video, or the reason why it is unreadable.

    Args:
        videos: video id -> index of one of its items in the dataset.
    """
    reads, lengths = [], {}
    for video, index in videos.items():
        info = dataset.get_data_info(index)
        if info['window'] is None:
            yield video, info['error']
            continue
        annotation = info['annotation']
        lengths[video] = annotation.fps, annotation.duration_seconds * annotation.fps
        reads += [(index, window) for window in plan.reads(video, *lengths[video])]
    loader = DataLoader(Reads(dataset, reads), batch_size=None, num_workers=num_workers)
    for video, group in groupby(loader, lambda packed: packed['data_samples'].video_id):
        clips, error = [], None
        for packed in group:
            error = error or packed['data_samples'].error
            if error is None:
                clips.append(encode_clips(model, packed, plan, options.clips_at_once))
        if error is not None:
            yield video, error
            continue
        fps, video_frames = lengths[video]
        grid = plan.grid(fps, clips[0].shape[2])
        steps = torch.cat(clips).transpose(1, 2).flatten(0, 1)  # (T, C)
        yield video, (grid, steps[:grid.num_steps(video_frames)])


@torch.no_grad()
def encode_clips(model: TemporalDetector, packed: Mapping[str, Any], plan: ClipPlan,
                 clips_at_once: int) -> Tensor:
    """Return features (n, C, t) of the n clips of a read, on the CPU; t is 1 if pooled.

    Raises:
        InferenceError: the backbone does not return a tensor (n, C, t).
    """
    data = dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
    frames = model.data_preprocessor(data)['inputs'][0]  # (C, T, H, W)
    clips = frames.unfold(1, plan.clip_frames, plan.clip_stride)  # (C, n, H, W, L)
    clips = clips.permute(1, 0, 4, 2, 3)  # (n, C, L, H, W)
    parts = [model.backbone(part.contiguous()) for part in clips.split(clips_at_once)]
    if not all(isinstance(part, Tensor) and part.ndim == 3 for part in parts):
        raise InferenceError('the backbone must return features (B, C, T); wrap it in '
                             'SBPBackbone with a clip_len.')
    features = torch.cat(parts)  # (n, C', t)
    if plan.pooled:
        features = features.mean(dim=2, keepdim=True)
    return features.float().cpu()


def build_dataset(cfg: Config, subsets: Sequence[str] | None) -> TemporalDetectionDataset:
    """Build the test set of the config, with other subsets if given.

    Raises:
        InferenceError: it is not a ``TemporalDetectionDataset``, or it reads features.
    """
    settings = dict(cfg.test_dataloader.dataset)
    if subsets:
        settings['subsets'] = tuple(subsets)
    dataset = DATASETS.build(settings)
    if not isinstance(dataset, TemporalDetectionDataset) or 'features' in dataset.data_prefix:
        raise InferenceError('features are extracted from the videos or frames of a '
                             f'TemporalDetectionDataset, got {type(dataset).__name__} with '
                             f'data_prefix {getattr(dataset, "data_prefix", None)}.')
    return dataset


def build_model(cfg: Config, checkpoint: str) -> TemporalDetector:
    """Return the detector of the config with the weights of a checkpoint, in evaluation mode.

    Raises:
        InferenceError: the model is not a detector with a backbone.
        CheckpointError: weights are missing.
        ConfigError: the checkpoint does not exist.
    """
    weights = read_checkpoint(checkpoint)
    model = MODELS.build(cfg.model)
    if not isinstance(model, TemporalDetector) or isinstance(model.backbone, nn.Identity):
        raise InferenceError(f'features need a TemporalDetector with a backbone, the config has '
                             f'{type(model).__name__}, backbone={cfg.model.get("backbone")}.')
    load_weights(model, weights, checkpoint, part='backbone.', cfg=cfg)
    return model.to(get_device()).eval()


def describe(cfg: Config, checkpoint: str, options: ExtractionOptions, plan: ClipPlan
             ) -> dict[str, str]:
    """Return the facts that all features of one folder share; the sidecar starts with them."""
    model, dataset = cfg.model, cfg.test_dataloader.dataset
    settings = [model.get('backbone'), model.get('data_preprocessor'), dataset.get('pipeline'),
                asdict(plan)]
    return dict(config=Path(cfg.filename or 'config').stem,
                checkpoint_sha256=file_sha256(checkpoint),
                settings_sha256=hashlib.sha256(json.dumps(
                    settings, sort_keys=True, default=str).encode()).hexdigest(),
                format=options.file_format)


def first_items(dataset: TemporalDetectionDataset) -> dict[str, int]:
    """Return the index of the first item of each video id."""
    videos: dict[str, int] = {}
    for index in range(len(dataset)):
        videos.setdefault(dataset.get_data_info(index)['video_id'], index)
    return videos


def is_present(path: Path, identity: Mapping[str, str]) -> bool:
    """Return whether the features of a video are complete, of this config and checkpoint.

    Raises:
        InferenceError: they come from another config, checkpoint or setting.
    """
    stored = read_sidecar(path)
    if stored is None and path.exists():
        raise InferenceError(f'{path} exists without its JSON, which says how it was made. '
                             'Remove it, or choose another --out.')
    differing = [name for name in identity if (stored or identity).get(name) != identity[name]]
    if differing:
        raise InferenceError(
            f'{path} holds features with another {" and ".join(differing)} '
            f'(config {stored.get("config")}). Remove them, or choose another --out.')
    return stored is not None and path.is_file()


def store(path: Path, found: tuple[FeatureGrid, Tensor], identity: Mapping[str, str],
          video_id: str) -> None:
    """Write the sidecar, then the features: a file is complete when both exist."""
    grid, features = found
    path.parent.mkdir(parents=True, exist_ok=True)  # the template may name a folder
    write_sidecar(path, dict(identity, video_id=video_id, num_steps=features.shape[0],
                             num_channels=features.shape[1], **asdict(grid)))
    write_features(path, features.numpy())
