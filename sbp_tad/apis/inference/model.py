"""Trained detector and its test set, from config and checkpoint."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from sbp_tad.apis.checkpoints import load_weights, read_checkpoint
from sbp_tad.apis.errors import InferenceError
from sbp_tad.datasets import TemporalDetectionDataset
from sbp_tad.registry import DATASETS, MODELS


def load_detector(cfg: Config, checkpoint: str | Path | None, device: str,
                  kind: type[nn.Module]) -> tuple[nn.Module, dict[str, Any]]:
    """Return the detector of the config with the weights of a checkpoint, in evaluation mode.

    Args:
        cfg: config with ``model``.
        checkpoint: file with the trained weights; None keeps the random initial weights.
        device: device from :func:`choose_device`.
        kind: accepted class of the detector.

    Returns:
        The detector, and the metadata of its training set from the checkpoint.

    Raises:
        ConfigError: the checkpoint does not exist.
        CheckpointError: the checkpoint belongs to another model.
        InferenceError: the detector is of another class.
    """
    content = {} if checkpoint is None else read_checkpoint(checkpoint)
    model = MODELS.build(cfg.model)
    if not isinstance(model, kind):
        raise InferenceError(f'inference needs {_a(kind)} on windows of videos, the config has '
                             f'{type(model).__name__}.')
    if checkpoint is not None:
        load_weights(model, content, checkpoint, cfg=cfg)
    meta = content.get('meta', {}).get('dataset_meta') or {}
    return model.to(device).eval(), meta


def build_test_set(cfg: Config, model: nn.Module, checkpoint_meta: dict[str, Any],
                   kind: type[TemporalDetectionDataset]) -> TemporalDetectionDataset:
    """Build the test set of the config without reading its annotation.

    Args:
        cfg: config with ``test_dataloader``.
        model: the detector; its head knows the number of classes.
        checkpoint_meta: metadata from :func:`load_detector`; its class names take
            precedence over those of the config.
        kind: accepted class of the test set.

    Raises:
        InferenceError: the test set is of another class, or the number of class
            names is not that of the head.
    """
    settings = dict(cfg.test_dataloader.dataset, test_mode=True, lazy_init=True)
    if classes := checkpoint_meta.get('classes') or ():
        settings['metainfo'] = {**(settings.get('metainfo') or {}), 'classes': tuple(classes)}
    dataset = DATASETS.build(settings)
    if not isinstance(dataset, kind):
        raise InferenceError(f'the test set of the config must be {_a(kind)}, got '
                             f'{type(dataset).__name__}.')
    named = len(dataset.metainfo.get('classes', ()))
    num_classes = getattr(model.head, 'num_classes', named)
    if not named or num_classes != named:
        raise InferenceError(
            f'the detector has {num_classes} classes, checkpoint and config name {named}. Set '
            "metainfo=dict(classes=[...]) of the config's test set.")
    return dataset


def _a(kind: type) -> str:
    return f'an {kind.__name__}' if kind.__name__[0] in 'AEIOU' else f'a {kind.__name__}'


def choose_device(device: str) -> str:
    """Return the name of the device; ``'auto'`` is CUDA if available, else the CPU.

    Raises:
        InferenceError: the device does not exist, or lacks float64, which the
            computation of times needs (Apple's ``mps``).
    """
    if device == 'auto':
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    kind = device.partition(':')[0]
    if kind not in ('cpu', 'cuda'):
        raise InferenceError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {device!r}.")
    if kind == 'cuda' and not torch.cuda.is_available():
        raise InferenceError("device 'cuda': PyTorch finds no CUDA device; choose 'auto' or "
                             "'cpu'.")
    return device
