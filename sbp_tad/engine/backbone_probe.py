"""Encode one blank clip before a run, so that a backbone that cannot take it says so at once."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sbp_tad.datasets.base import TemporalDetectionDataset
from sbp_tad.datasets.item_draws import seeded_draws
from sbp_tad.errors import ConfigError, UserError
from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.wording import count_of

# Blank frames of two shapes: a pipeline whose frame size depends on the video is not probed.
BLANK_SHAPES = ((240, 320), (360, 300))


def check_backbone(model: Any, key: str, dataset: TemporalDetectionDataset) -> None:
    """Encode one clip of a data set's frame size and compare the channels with neck and head.

    Args:
        model: detector with an SBPBackbone.
        key: key of the data set in the config, for messages.
        dataset: of frames.

    Raises:
        ConfigError: the network does not take the clip, or gives other channels.
    """
    backbone: SBPBackbone = model.backbone
    size = frame_size(dataset)
    if backbone.clip_len is None or size is None:
        return
    network = type(backbone.backbone).__name__
    try:
        features = encode_blank(backbone, size)
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        frames = count_of(backbone.clip_len, 'frame')
        hint = ', or to more than 1 for a network of videos' if backbone.clip_len == 1 else ''
        raise ConfigError(
            f'model.backbone ({network}) cannot encode a clip of {frames} of {size[0]} x '
            f'{size[1]} pixels from {key}: {_first_line(error)}. Set model.backbone.clip_len to '
            f'the number of frames that the network is built for{hint}, and the frame size of the '
            'pipeline to its size.') from error
    check_channels(model, features.shape[1], f'model.backbone ({network}) gives')


def check_channels(model: Any, channels: int, source: str) -> None:
    """Check the channels of features against the first part of the model that reads them.

    Raises:
        ConfigError: they differ.
    """
    name = 'head' if getattr(model, 'neck', None) is None else 'neck'
    expected = getattr(getattr(model, name), 'in_channels', channels)
    if channels != expected:
        raise ConfigError(f'{source} {channels} channels, but model.{name}.in_channels is '
                          f'{expected}. Set model.{name}.in_channels={channels}.')


@torch.no_grad()
def encode_blank(backbone: SBPBackbone, size: tuple[int, int]) -> torch.Tensor:
    """Return the features (1, C', t) of one clip of zeros, in evaluation mode."""
    like = next(backbone.parameters())
    clip = torch.zeros(1, 3, backbone.clip_len, *size, device=like.device, dtype=like.dtype)
    training = backbone.training
    backbone.eval()
    try:
        return backbone(clip)
    finally:
        backbone.train(training)


def frame_size(dataset: TemporalDetectionDataset) -> tuple[int, int] | None:
    """Return (height, width) of the frames that a pipeline gives; None if it depends on the video.

    The transforms between decoding and ``FormatShape`` are applied to blank
    frames; random draws elsewhere are not affected.
    """
    transforms = dataset.pipeline.transforms
    names = [type(each).__name__ for each in transforms]
    decode = next((place for place, name in enumerate(names) if name.endswith('Decode')), None)
    if decode is None or 'FormatShape' not in names:
        return None
    sizes = set()
    for shape in BLANK_SHAPES:
        results: Any = dict(imgs=[np.zeros((*shape, 3), np.uint8)], img_shape=shape,
                            original_shape=shape, modality='RGB', num_clips=1, clip_len=1)
        try:
            with seeded_draws(0):
                for transform in transforms[decode + 1:names.index('FormatShape')]:
                    results = transform(results)
            sizes.add(tuple(results['imgs'][0].shape[:2]))
        except (KeyError, AttributeError, TypeError, IndexError):  # it needs a real item
            return None
    return sizes.pop() if len(sizes) == 1 else None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition('\n')[0][:200].rstrip('.') or type(error).__name__
