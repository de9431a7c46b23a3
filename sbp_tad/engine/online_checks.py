"""Check that the data sets of online detection fit the head, which reads streams."""
from __future__ import annotations

from typing import Any

from torch import nn

from sbp_tad.datasets.online import OnlineDetectionDataset
from sbp_tad.datasets.online_features import OnlineFeaturesDataset
from sbp_tad.errors import ConfigError
from sbp_tad.models.detectors.online_detector import OnlineActionDetector


def check_online(model: OnlineActionDetector, key: str, dataset: Any) -> None:
    """Check windows, histories and features of a data set against the head.

    Args:
        model: the detector.
        key: of the data set in the config.
        dataset: of frames or features; another one is not checked.

    Raises:
        ConfigError: they differ.
    """
    if isinstance(dataset, OnlineFeaturesDataset):
        check_lengths(model, key, dataset, dataset.num_frames)
        check_columns(model, key, dataset)
    elif isinstance(dataset, OnlineDetectionDataset):
        check_lengths(model, key, dataset, dataset.window_size.num_frames)
        if dataset.test_mode and not dataset.whole_videos:
            check_tiles(model, key, dataset)


def check_lengths(model: OnlineActionDetector, key: str,
                  dataset: OnlineDetectionDataset | OnlineFeaturesDataset, num_frames: int
                  ) -> None:
    """Check that data set and head count the same frames of window and history.

    Raises:
        ConfigError: they do not.
    """
    head, (memory_frames, memory_stride) = model.head, dataset.history
    pairs = {'num_frames': (num_frames, head.num_frames),
             'memory_frames': (memory_frames, head.memory_frames),
             'memory_stride': (memory_stride, head.memory_stride)}
    for name, (given, expected) in pairs.items():
        if given != expected:
            raise ConfigError(
                f'{key}.{name} is {given}, but model.head.{name} is {expected}, with which '
                'streams are read. Set both to the same number.')


def check_tiles(model: OnlineActionDetector, key: str, dataset: OnlineDetectionDataset) -> None:
    """Check that windows that a data set cuts for testing are those of a stream.

    Raises:
        ConfigError: they are not.
    """
    if getattr(model.head, 'slides', False):
        raise ConfigError(
            f"model.head.windows is 'sliding', but {key} cuts tiles. Set {key}.whole_videos=True, "
            "or model.head.windows='tiles'.")
    if dataset.history_from != model.head.history_from:
        raise ConfigError(
            f'{key}.history_from is {dataset.history_from!r}, but model.head.history_from is '
            f'{model.head.history_from!r}, with which streams are read. Set both to the same.')


def check_columns(model: OnlineActionDetector, key: str, dataset: OnlineFeaturesDataset) -> None:
    """Check channels and classes of stored features and labels against the head.

    Raises:
        ConfigError: a backbone, another number of channels or of classes.
    """
    if not isinstance(model.backbone, nn.Identity):
        raise ConfigError(f'{key} gives features, but model.backbone encodes frames. Set '
                          'model.backbone=None.')
    channels, classes = dataset.num_channels, len(dataset.metainfo['classes'])
    if channels != model.head.in_channels:
        raise ConfigError(
            f'{" and ".join(dataset.streams)} of {key} have {channels} channels together, but '
            f'model.head.in_channels is {model.head.in_channels}. Set {key}.streams to those of '
            f'the model, or model.head.in_channels={channels}.')
    if classes != model.head.num_classes:
        raise ConfigError(f'model.head.num_classes is {model.head.num_classes}, but '
                          f'{dataset.data_name} of {key} has {classes} classes. Set '
                          f'model.head.num_classes={classes}, or {key}.data_name.')
