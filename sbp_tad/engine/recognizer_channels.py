"""Check that the head of a recognizer takes the channels of its backbone."""
from __future__ import annotations

from typing import Any

from mmaction.models import BaseRecognizer
from torch import nn

from sbp_tad.errors import ConfigError
from sbp_tad.models.backbones.sbp_backbone import SBPBackbone


def check_recognizer(model: nn.Module) -> None:
    """Compare the channels of a recognizer's backbone with those of its head.

    Only networks that state their channels are checked: ResNets, SlowFast and X3D.

    Raises:
        ConfigError: they differ.
    """
    if not isinstance(model, BaseRecognizer) or model.with_neck or not model.with_cls_head:
        return
    key, backbone = 'model.backbone', model.backbone
    if isinstance(backbone, SBPBackbone):
        key, backbone = 'model.backbone.backbone', backbone.backbone
    channels, expected = given_channels(backbone), getattr(model.cls_head, 'in_channels', None)
    if channels is not None and isinstance(expected, int) and channels != expected:
        raise ConfigError(
            f'{key} ({type(backbone).__name__}) gives {channels} channels, but '
            f'model.cls_head.in_channels is {expected}. Set model.cls_head.in_channels='
            f'{channels}, or another depth or width of the backbone.')


def given_channels(backbone: Any) -> int | None:
    """Return the channels of a network's last stage; None if it does not state them."""
    if hasattr(backbone, 'slow_path') and hasattr(backbone, 'fast_path'):
        paths = [given_channels(path) for path in (backbone.slow_path, backbone.fast_path)]
        return None if None in paths else sum(paths)
    places, stages = getattr(backbone, 'out_indices', None), getattr(backbone, 'num_stages', 0)
    if places is not None and list(places) != [stages - 1]:
        return None
    channels = getattr(backbone, 'feat_dim', None)
    return channels if isinstance(channels, int) else None
