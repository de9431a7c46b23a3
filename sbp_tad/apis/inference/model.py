"""A trained detector and the test set it is used with, from config and checkpoint."""
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
    """The config's detector with the weights of a checkpoint, evaluating.

    Args:
        cfg: with the ``model``.
        checkpoint: file with the trained weights; None leaves them as they are drawn.
        device: of :func:`choose_device`.
        kind: what the detector must be.

    Returns:
        The detector, and what the checkpoint says of the dataset it was trained on.

    Raises:
        ConfigError, CheckpointError: no such checkpoint, or one of another model.
        InferenceError: a detector of another kind.
    """
    content = {} if checkpoint is None else read_checkpoint(checkpoint)
    model = MODELS.build(cfg.model)
    if not isinstance(model, kind):
        raise InferenceError(f'inference needs {_a(kind)} over windows of videos, the config has '
                             f'{type(model).__name__}.')
    if checkpoint is not None:
        load_weights(model, content, checkpoint)
    meta = content.get('meta', {}).get('dataset_meta') or {}
    return model.to(device).eval(), meta


def build_test_set(cfg: Config, model: nn.Module, checkpoint_meta: dict[str, Any],
                   kind: type[TemporalDetectionDataset]) -> TemporalDetectionDataset:
    """The config's test set, of which no annotation is read.

    Args:
        cfg: with the ``test_dataloader``.
        model: the detector; its head knows the number of classes.
        checkpoint_meta: of :func:`load_detector`; its class names go before the config's.
        kind: what the test set must be.

    Raises:
        InferenceError: another kind of test set, class names that are absent or too few.
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
    """The device of that name; ``'auto'`` is CUDA where there is one.

    Raises:
        InferenceError: it is not there, or lacks float64, in which times are
            computed (Apple's ``mps``).
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
