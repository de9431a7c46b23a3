"""Refusal of weights that do not fill a model."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from sbp_tad.checkpoint_safety import CheckpointError

STATISTICS = ('running_mean', 'running_var')


class CompleteWeightsHook(Hook):
    """Refuse to test a model whose weights the checkpoint does not fill.

    Args:
        path: path of the checkpoint, for the message.
        allow_missing: names of weights that may be absent, or patterns such as
            ``neck.*``.

    Raises:
        CheckpointError: a weight is missing or has a different shape.
    """

    priority = 'VERY_HIGH'  # before EMAHook, which copies the weights

    def __init__(self, path: str | Path, allow_missing: Sequence[str] = ()) -> None:
        self.path, self.allow_missing = path, tuple(allow_missing)

    def after_load_checkpoint(self, runner: Runner, checkpoint: Any) -> None:
        """Compare the checkpoint with the model before anything is loaded."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        check_weights(model, checkpoint, self.path, allow_missing=self.allow_missing)


def check_weights(model: nn.Module, checkpoint: Any, path: str | Path, part: str = '',
                  allow_missing: Sequence[str] | None = None) -> None:
    """Check that a checkpoint holds every weight of a model.

    Weights are the parameters, and the running statistics of batch norm.

    Args:
        model: the model that takes the weights.
        checkpoint: content of the file: a state dict, or a dictionary with one.
        path: path of the file, for the message.
        part: prefix of the weights to check; by default all.
        allow_missing: names or patterns of weights that may be absent; None if
            the caller has no such option.

    Raises:
        CheckpointError: a weight is missing or has a different shape.
    """
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(f'{path}: expected a checkpoint with a state_dict, got '
                              f'{type(checkpoint).__name__}. Give one that tools/train.py wrote.')
    state = checkpoint.get('state_dict', checkpoint)
    shapes = {name.removeprefix('module.'): getattr(value, 'shape', None)
              for name, value in state.items()}
    wanted = {name: value.shape for name, value in _weights(model) if name.startswith(part)}
    whose = part.rstrip('.') or 'model'
    missing = sorted(name for name in wanted if name not in shapes)
    allowed = [name for name in missing
               if any(fnmatchcase(name, pattern) for pattern in allow_missing or ())]
    refused = [name for name in missing if name not in allowed]
    if refused:
        advice = '' if allow_missing is None else \
            ', or name weights that may be absent with --allow-missing'
        raise CheckpointError(f'{path} lacks {len(refused)} weights of the {whose}, the first is '
                              f'{refused[0]}. Give a checkpoint of this config{advice}.')
    other = sorted(name for name, shape in wanted.items()
                   if name in shapes and shapes[name] != shape)
    if other:
        first = other[0]
        raise CheckpointError(
            f'{path} holds {len(other)} weights of the {whose} in another shape, the first is '
            f'{first}: {tuple(shapes[first])} and not {tuple(wanted[first])}. Give a checkpoint '
            'of this config.')
    if allowed:
        print_log(f'{path} lacks {len(allowed)} weights that may be absent; they keep their '
                  f'initial values: {", ".join(allowed[:5])}{", ..." * (len(allowed) > 5)}',
                  'current', level=30)


def _weights(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    # state_dict, because a wrapper may save its parameters under other names
    for name, value in model.state_dict(keep_vars=True).items():
        if isinstance(value, nn.Parameter) or name.endswith(STATISTICS):
            yield name, value
