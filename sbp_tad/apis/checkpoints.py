"""Safe reading of checkpoints, and loading of complete weights into a model."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

from sbp_tad.checkpoint_safety import CheckpointError, weights_only
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
                          'wrote, for example work_dirs/.../best_*.pth.')
    try:
        with weights_only(path):
            content = torch.load(path, map_location='cpu')
    except (RuntimeError, EOFError, KeyError) as error:
        reason = str(error).strip().split('\n')[0][:200]
        raise CheckpointError(f'{path}: not a readable checkpoint ({reason}). Give one that '
                              'tools/train.py wrote.') from error
    if not isinstance(content, dict):
        raise CheckpointError(f'{path}: expected a checkpoint with a state_dict, got '
                              f'{type(content).__name__}. Give one that tools/train.py wrote.')
    return content


def load_weights(model: nn.Module, checkpoint: Mapping[str, Any], path: str | Path,
                 part: str = '') -> None:
    """Load a checkpoint into a model; no parameter may keep its random initial value.

    Args:
        model: takes the weights.
        checkpoint: of :func:`read_checkpoint`.
        path: of the checkpoint, for the message.
        part: name of the submodule whose parameters must be complete; by default the model.

    Raises:
        CheckpointError: a parameter is missing or has a different shape.
    """
    state = checkpoint.get('state_dict', checkpoint)
    shapes = {name.removeprefix('module.'): getattr(value, 'shape', None)
              for name, value in state.items()}
    # state_dict, because a wrapper may save its parameters under other names
    wanted = {name: value.shape for name, value in model.state_dict(keep_vars=True).items()
              if isinstance(value, nn.Parameter) and name.startswith(part)}
    whose = part.rstrip('.') or 'model'
    missing = sorted(name for name in wanted if name not in shapes)
    if missing:
        raise CheckpointError(f'{path} lacks {len(missing)} weights of the {whose}, the first is '
                              f'{missing[0]}. Give a checkpoint of this config.')
    other = sorted(name for name, shape in wanted.items() if shapes[name] != shape)
    if other:
        first = other[0]
        raise CheckpointError(
            f'{path} holds {len(other)} weights of the {whose} in another shape, the first is '
            f'{first}: {tuple(shapes[first])} and not {tuple(wanted[first])}. Give a checkpoint '
            'of this config.')
    _load_checkpoint_to_model(model, dict(checkpoint))
