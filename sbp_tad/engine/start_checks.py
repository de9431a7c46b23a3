"""Checks that data and model fit, before the weights are loaded and the first batch is read."""
from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any

from mmaction.models import BaseRecognizer
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from torch import nn

from sbp_tad.datasets.base import TemporalDetectionDataset
from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.datasets.online import OnlineDetectionDataset
from sbp_tad.datasets.readers.feature_files import feature_shape
from sbp_tad.datasets.readers.features import FeatureFiles
from sbp_tad.engine.backbone_probe import check_backbone
from sbp_tad.engine.online_checks import check_online
from sbp_tad.engine.recognizer_channels import check_recognizer
from sbp_tad.errors import ConfigError
from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.models.detectors.online_detector import OnlineActionDetector
from sbp_tad.models.detectors.temporal_detector import TemporalDetector
from sbp_tad.registry import HOOKS
from sbp_tad.wording import count_of

ROLES = ('train', 'val', 'test')


@HOOKS.register_module()
class StartChecksHook(Hook):
    """Compare the data sets of a run with each other and with the model.

    Raises:
        ConfigError: before the run, if it cannot succeed; the message names
            the key of the config, the value found and the value to set.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        """Check all loops that the run has built."""
        model: Any = runner.model
        if isinstance(model, nn.Module):
            check_run(model.module if is_model_wrapper(model) else model, loaders(runner))


def check_before_run(runner: Runner) -> None:
    """Let a runner check its data and model before it trains, validates or tests.

    Raises:
        ConfigError: later, by the runner; see :class:`StartChecksHook`.
    """
    build = runner.build_train_loop

    def build_and_check(config: Any) -> BaseLoop:
        loop = build(config)
        if hasattr(loop.dataloader, 'dataset'):
            check_batches(loop.dataloader)  # schedulers fail without a batch, before any hook
        return loop

    runner.build_train_loop = build_and_check  # type: ignore[method-assign]
    if not any(isinstance(hook, StartChecksHook) for hook in runner.hooks):
        runner.register_hook(StartChecksHook())


def loaders(runner: Runner) -> dict[str, Any]:
    """Return the built data loaders by role."""
    loops = {role: getattr(runner, f'_{role}_loop', None) for role in ROLES}
    return {role: loop.dataloader for role, loop in loops.items()
            if isinstance(loop, BaseLoop) and hasattr(loop.dataloader, 'dataset')}


def check_run(model: nn.Module, found: dict[str, Any]) -> None:
    """Check a model against its data loaders.

    Args:
        model: without a wrapper.
        found: loaders by role, ``'train'``, ``'val'`` or ``'test'``.

    Raises:
        ConfigError: see :class:`StartChecksHook`.
    """
    check_same_classes(found)
    check_recognizer(model)
    for role, loader in found.items():
        for dataset in leaves(loader.dataset):
            check_task(model, role, dataset)
            check_classes(model, role, dataset)
            if isinstance(dataset, TemporalDetectionDataset):
                check_inputs(model, role, dataset)
            if isinstance(model, OnlineActionDetector):
                check_online(model, f'{role}_dataloader.dataset', dataset)


def leaves(dataset: Any) -> Iterator[Any]:
    """Yield the data sets inside wrappers, for example RepeatDataset and ConcatDataset."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if inner == [None]:
        yield dataset
    else:
        for each in inner:
            yield from leaves(each)


def check_batches(loader: Any) -> None:
    """Check that the training loader gives a batch.

    Raises:
        ConfigError: it gives none.
    """
    is_endless = isinstance(loader.sampler, InfiniteSampler)
    if is_endless or not hasattr(loader.batch_sampler, '__len__') or len(loader):
        return
    raise ConfigError(
        f'train_dataloader.batch_size is {loader.batch_size}, but each process has only '
        f'{len(loader.sampler)} training items, and drop_last=True drops the incomplete batch: no '
        f'batch is left. Set train_dataloader.batch_size to at most {len(loader.sampler)}, or '
        'train_dataloader.drop_last=False.')


def check_same_classes(found: dict[str, Any]) -> None:
    """Check that all data sets have the same classes in the same order.

    Raises:
        ConfigError: they differ.
    """
    known = [(role, tuple(dataset.metainfo['classes'])) for role, loader in found.items()
             for dataset in leaves(loader.dataset)
             if isinstance(dataset, TemporalDetectionDataset)]
    for role, classes in known[1:]:
        first_role, first = known[0]
        if classes != first:
            what = 'the order differs' if set(classes) == set(first) else \
                f'only in one of them: {sorted(set(classes) ^ set(first))}'
            raise ConfigError(
                f'the data sets of {first_role}_dataloader and {role}_dataloader have different '
                f'classes ({len(first)} and {len(classes)}; {what}), but a label is the place of '
                'its class. Set the same metainfo=dict(classes=[...]) in both.')


def check_classes(model: nn.Module, role: str, dataset: Any) -> None:
    """Check the number of classes of the head against those of a data set.

    Raises:
        ConfigError: the head has another number, or of a recognizer fewer
            than the labels need.
    """
    name = 'head' if hasattr(model, 'head') else 'cls_head'
    num_classes = getattr(getattr(model, name, None), 'num_classes', None)
    if not isinstance(num_classes, int):
        return
    if isinstance(dataset, TemporalDetectionDataset):
        classes = list(dataset.metainfo['classes'])
        if len(classes) != num_classes:
            shown = ', '.join(classes[:5]) + (', ...' if len(classes) > 5 else '')
            raise ConfigError(
                f'model.{name}.num_classes is {num_classes}, but the data set of '
                f"{role}_dataloader has {count_of(len(classes), 'class', 'classes')} ({shown}). "
                'Set '
                f'model.{name}.num_classes={len(classes)}; or, for weights of {num_classes} '
                f'classes, set {role}_dataloader.dataset.metainfo=dict(classes=[...]) to their '
                'names in the order of the labels.')
        return
    largest = largest_label(dataset)
    if largest is not None and largest >= num_classes:
        raise ConfigError(
            f'model.{name}.num_classes is {num_classes}, but {role}_dataloader has the label '
            f'{largest} in {dataset.ann_file}; labels count from 0. Set '
            f'model.{name}.num_classes={largest + 1} or more, or correct the labels.')


def largest_label(dataset: Any) -> int | None:
    """Return the largest label of a data set of mmaction's recognizers; None for others."""
    if not (hasattr(dataset, 'get_data_info') and hasattr(dataset, 'ann_file')):
        return None
    labels: list[int] = []
    for index in range(len(dataset)):
        label = dataset.get_data_info(index).get('label')
        several = label if isinstance(label, (list, tuple)) else [label]
        if not all(isinstance(each, Integral) for each in several):
            return None
        labels += map(int, several)
    return max(labels, default=None)


def check_task(model: nn.Module, role: str, dataset: Any) -> None:
    """Check that a data set and its pipeline are of the task of the model.

    Raises:
        ConfigError: a detector with clips of a recognizer, or the reverse, or
            online detection with data of offline detection, or the reverse.
    """
    key, kind = f'{role}_dataloader.dataset', type(dataset)
    tasks = {OnlineActionDetector: (OnlineDetectionDataset, 'PackOnlineInputs'),
             TemporalDetector: (TemporalDetectionDataset, 'PackTADInputs')}
    task = next((task for detector, task in tasks.items() if isinstance(model, detector)), None)
    is_foreign = kind.__module__.startswith('mmaction.') if task else \
        isinstance(model, BaseRecognizer) and isinstance(dataset, TemporalDetectionDataset)
    is_mixed = task is not None and isinstance(dataset, TemporalDetectionDataset) and \
        isinstance(dataset, OnlineDetectionDataset) != (task[0] is OnlineDetectionDataset)
    if is_foreign or is_mixed:
        wanted = f'{task[0].__name__}, or a data set derived from it' if task else \
            'a data set of trimmed clips, for example VideoDataset'
        raise ConfigError(f'model.type is {type(model).__name__}, but {key}.type is '
                          f'{kind.__name__}, which is of another task. Set {key}.type to {wanted}, '
                          'or another model.')
    packers = [name for each in getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
               if (name := type(each).__name__) in ('PackTADInputs', 'PackOnlineInputs')]
    if task and packers not in ([], [task[1]]):
        raise ConfigError(f'{key}.pipeline ends with {packers[-1]}, but model.type '
                          f'{type(model).__name__} needs {task[1]}.')


def check_inputs(model: nn.Module, role: str, dataset: TemporalDetectionDataset) -> None:
    """Check the items of a data set against backbone, neck and head.

    Raises:
        ConfigError: features for a backbone, frames for a model without one,
            another number of channels, or a window that the model cannot take.
    """
    if not isinstance(model, (TemporalDetector, OnlineActionDetector)):
        return
    key, has_backbone = f'{role}_dataloader.dataset', not isinstance(model.backbone, nn.Identity)
    if isinstance(dataset.source, FeatureFiles):
        if has_backbone:
            raise ConfigError(
                f'{key} gives features, but model.backbone encodes frames. Set model.backbone=None '
                'for features, or data_prefix=dict(video=...) and a pipeline of frames.')
        check_feature_files(model, key, dataset)
    elif not has_backbone:
        raise ConfigError(
            f'{key} gives frames, but the model has no backbone and takes features. Set '
            'data_prefix=dict(features=...) with LoadFeatures, or a model.backbone.')
    elif isinstance(model.backbone, SBPBackbone):
        check_clips(model, key, dataset)
        check_backbone(model, key, dataset)


def check_feature_files(model: Any, key: str, dataset: TemporalDetectionDataset) -> None:
    """Check the channels of the first readable feature file against neck or head.

    Raises:
        ConfigError: they differ.
    """
    item = dataset.get_data_info(0)
    check_feature_file(model, key, dataset.source, item['filename'], item['video_id'])


def check_feature_file(model: Any, key: str, source: Any, filename: str, video_id: str) -> None:
    """Check the channels of a feature file, if it is readable, against neck or head.

    Raises:
        ConfigError: they differ.
    """
    name = 'head' if getattr(model, 'neck', None) is None else 'neck'
    expected = getattr(getattr(model, name), 'in_channels', None)
    try:
        shape = feature_shape(filename, source.key and source.key.format(video_id=video_id))
    except VideoReadError:  # reported when it is read
        return
    channels = shape[0] if source.channels_first else shape[1]
    if expected is not None and channels != expected:
        order = '(C, T)' if source.channels_first else '(T, C)'
        advice = f'source=dict(channels_first={not source.channels_first})' \
            if expected in shape else f'model.{name}.in_channels={channels}'
        raise ConfigError(
            f'{filename} of {key} has {channels} channels, since its shape {shape} is read '
            f'as {order}, but model.{name}.in_channels is {expected}. Set {advice}.')


def check_clips(model: Any, key: str, dataset: TemporalDetectionDataset) -> None:
    """Check that a window is a whole number of clips.

    Raises:
        ConfigError: it is not.
    """
    clip_len, num_frames = model.backbone.clip_len, dataset.window_size.num_frames
    if clip_len is None or num_frames % clip_len == 0:
        return
    lower = num_frames // clip_len * clip_len
    near = f'{lower} or {lower + clip_len}' if lower else f'{clip_len}'
    raise ConfigError(
        f'{key}.num_frames is {num_frames}, which is not a multiple of model.backbone.clip_len='
        f'{clip_len}. Set num_frames to {near} in all data sets, or another clip_len.')
