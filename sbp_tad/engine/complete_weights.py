"""Refusal of weights that do not fill a model."""
from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from sbp_tad.checkpoint_safety import CheckpointError
from sbp_tad.engine.published_weights import (
    Origin,
    adopt_published,
    filled_part,
    model_weights,
)


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
        """Convert published weights and compare them with the model, before they are loaded."""
        model = _unwrapped(runner)
        origin = adopt(checkpoint, model, self.path)
        check_weights(model, checkpoint, self.path, allow_missing=self.allow_missing,
                      origin=origin)


class StartingWeightsHook(Hook):
    """Say how many weights ``load_from`` fills when training starts; refuse a file of few.

    Raises:
        CheckpointError: no part of the model (backbone, neck, head) is filled by half.
    """

    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: Any) -> None:
        """Count the weights before they are loaded."""
        if runner._resume:
            return
        path, model = str(runner._load_from), _unwrapped(runner)
        origin = adopt(checkpoint, model, path)
        shapes = _shapes(checkpoint, path)
        wanted = {name: value.shape for name, value in model_weights(model)}
        left = [name for name, shape in wanted.items() if shapes.get(name) != shape]
        if wanted and filled_part(shapes, wanted) is None:
            count = f'{len(wanted) - len(left)} of {len(wanted)} weights' \
                if len(left) < len(wanted) else 'no weight'
            raise CheckpointError(
                f'{path} fills {count} of the model. Its first weight is '
                f'{next(iter(shapes), "absent")}, that of the model {left[0]}. Give a checkpoint '
                f'of such a model, or remove load_from{origin.advice}.')
        if left:
            print_log(f'{path} fills {len(wanted) - len(left)} of {len(wanted)} weights of the '
                      f'model; the others keep their initial values, the first is {left[0]}.',
                      'current', level=logging.WARNING)


def adopt(checkpoint: Any, model: nn.Module, path: str | Path) -> Origin:
    """Convert a published checkpoint in place, and say so in the log."""
    origin = adopt_published(checkpoint, model, path)
    if origin.report:
        print_log(origin.report, 'current')
    return origin


def _unwrapped(runner: Runner) -> nn.Module:
    model: Any = runner.model
    return model.module if is_model_wrapper(model) else model


def check_weights(model: nn.Module, checkpoint: Any, path: str | Path, part: str = '',
                  allow_missing: Sequence[str] | None = None, origin: Origin | None = None
                  ) -> None:
    """Check that a checkpoint holds every weight of a model.

    Weights are the parameters, and the running statistics of batch norm.

    Args:
        model: the model that takes the weights.
        checkpoint: content of the file: a state dict, or a dictionary with one.
        path: path of the file, for the message.
        part: prefix of the weights to check; by default all.
        allow_missing: names or patterns of weights that may be absent; None if
            the caller has no such option.
        origin: code base of the weights, for the message.

    Raises:
        CheckpointError: a weight is missing or has a different shape.
    """
    shapes = _shapes(checkpoint, path)
    wanted = {name: value.shape for name, value in model_weights(model) if name.startswith(part)}
    whose = part.rstrip('.') or 'model'
    source = (origin or Origin(str(path))).advice
    missing = sorted(name for name in wanted if name not in shapes)
    allowed = [name for name in missing
               if any(fnmatchcase(name, pattern) for pattern in allow_missing or ())]
    refused = [name for name in missing if name not in allowed]
    if refused:
        advice = '' if allow_missing is None else \
            ', or name weights that may be absent with --allow-missing'
        raise CheckpointError(f'{path} lacks {len(refused)} weights of the {whose}, the first is '
                              f'{refused[0]}. Give a checkpoint of this config{advice}{source}.')
    other = sorted(name for name, shape in wanted.items()
                   if name in shapes and shapes[name] != shape)
    if other:
        first = other[0]
        raise CheckpointError(
            f'{path} holds {len(other)} weights of the {whose} in another shape, the first is '
            f'{first}: {tuple(shapes[first])} and not {tuple(wanted[first])}. Give a checkpoint '
            f'of this config{source}.')
    if allowed:
        print_log(f'{path} lacks {len(allowed)} weights that may be absent; they keep their '
                  f'initial values: {", ".join(allowed[:5])}{", ..." * (len(allowed) > 5)}',
                  'current', level=logging.WARNING)


def _shapes(checkpoint: Any, path: str | Path) -> dict[str, Any]:
    """Return the shapes of the weights in a checkpoint.

    Raises:
        CheckpointError: it is not a dictionary.
    """
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(f'{path}: expected a checkpoint with a state_dict, got '
                              f'{type(checkpoint).__name__}. Give one that tools/train.py wrote.')
    return {name.removeprefix('module.'): getattr(value, 'shape', None)
            for name, value in checkpoint.get('state_dict', checkpoint).items()}
