"""Safe reading of checkpoints, and loading of complete weights into a model."""
from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

from sbp_tad.apis.command_line import announce
from sbp_tad.checkpoint_safety import CheckpointError, weights_only
from sbp_tad.engine.checkpoint_config import changed_meaning, meaning_warning
from sbp_tad.engine.complete_weights import check_unused, check_weights
from sbp_tad.engine.published_weights import adopt_published
from sbp_tad.errors import ConfigError


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a local checkpoint to the CPU without running code from it.

    Raises:
        ConfigError: the file does not exist.
        CheckpointError: the file is not a checkpoint.
        UntrustedCheckpointError: the file holds more than weights and numbers.
    """
    if not Path(path).is_file():
        raise ConfigError(f'checkpoint {path} does not exist. Give a local file that training '
                          'wrote, for example work_dirs/.../best.pth.')
    with weights_only(path):
        content = torch.load(path, map_location='cpu')
    if not isinstance(content, dict):
        raise CheckpointError(f'{path}: expected a checkpoint with a state_dict, got '
                              f'{type(content).__name__}. Give one that tools/train.py wrote.')
    return content


def load_weights(model: nn.Module, checkpoint: Mapping[str, Any], path: str | Path,
                 part: str = '', cfg: Config | None = None) -> None:
    """Load a checkpoint into a model; no parameter may keep its random initial value.

    A published checkpoint is converted, and a line on stderr says so. Another
    line names settings under which the weights had another meaning.

    Args:
        model: takes the weights.
        checkpoint: of :func:`read_checkpoint`.
        path: of the checkpoint, for the message.
        part: name of the submodule whose parameters must be complete; by default the model.
        cfg: config of the model, compared with that of the checkpoint.

    Raises:
        CheckpointError: a weight is missing, has a different shape, or has no place.
    """
    content = copy(checkpoint)  # with its versions
    origin = adopt_published(content, model, path)
    if origin.report:
        announce(origin.report)  # stdout holds only results
    check_weights(model, content, path, part, origin=origin)
    if origin.source is None:  # else the line about the conversion counts them
        check_unused(model, content, path, part)
    if cfg is not None and (changes := changed_meaning(content.get('meta'), cfg, part)):
        announce(f'Warning: {meaning_warning(path, changes)}')
    _load_checkpoint_to_model(model, content)
