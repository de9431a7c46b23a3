"""Refusal of weights that do not fill a model."""
from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from sbp_tad.checkpoint_safety import CheckpointError
from sbp_tad.engine.checkpoint_config import changed_classes, changed_meaning, meaning_warning
from sbp_tad.engine.published_weights import (
    Origin,
    adopt_published,
    filled_part,
    model_weights,
)
from sbp_tad.engine.training_settings import Change
from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.wording import count_of

# Endings of states that have no effect in evaluation.
TRAINING_STATES = ('num_batches_tracked', '_extra_state')


class CompleteWeightsHook(Hook):
    """Refuse to test a model whose weights the checkpoint does not fill.

    Args:
        path: path of the checkpoint, for the message.
        allow_missing: weights that may be absent: names, names of modules, or
            patterns, see :func:`is_named`.
        allow_unused: weights of the file that the model may lack, named alike.

    Raises:
        CheckpointError: a weight is missing, has a different shape, or has no
            place in a module that the model has.
    """

    priority = 'VERY_HIGH'  # before EMAHook, which copies the weights

    def __init__(self, path: str | Path, allow_missing: Sequence[str] = (),
                 allow_unused: Sequence[str] = ()) -> None:
        self.path, self.allow_missing = path, tuple(allow_missing)
        self.allow_unused = tuple(allow_unused)

    def after_load_checkpoint(self, runner: Runner, checkpoint: Any) -> None:
        """Convert published weights and compare them with the model, before they are loaded."""
        model = _unwrapped(runner)
        origin = adopt(checkpoint, model, self.path)
        check_weights(model, checkpoint, self.path, allow_missing=self.allow_missing,
                      origin=origin)
        if origin.source is None:  # else the line about the conversion counts them
            check_unused(model, checkpoint, self.path, allow_unused=self.allow_unused)
        if changes := _changes(runner, checkpoint.get('meta')):
            print_log(meaning_warning(self.path, changes), 'current', level=logging.WARNING)


class StartingWeightsHook(Hook):
    """Say how many weights ``load_from`` fills when training starts; refuse a file of few.

    Warn of frozen batch normalization that still has its initial statistics.

    Raises:
        CheckpointError: no part of the model (backbone, neck, head) is filled by half.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Warn of batch normalization that normalizes nothing."""
        if note := untrained_norms(_unwrapped(runner)):
            print_log(note, 'current', level=logging.WARNING)

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
        if unused := unused_weights(model, shapes):
            print_log(f'{path} holds {_listing(unused)}, for which the model has no place: they '
                      'are left out. Is it a checkpoint of another network?', 'current',
                      level=logging.WARNING)


def untrained_norms(model: nn.Module) -> str | None:
    """Return the warning of an SBPBackbone whose frozen statistics nothing has set."""
    for backbone in model.modules():
        if not isinstance(backbone, SBPBackbone) or not backbone.norm_eval:
            continue
        norms = [norm for norm in backbone.modules()
                 if isinstance(norm, nn.modules.batchnorm._BatchNorm)
                 and norm.running_mean is not None]
        if norms and all(not norm.running_mean.any() and (norm.running_var == 1).all()
                         for norm in norms):
            return (f'Batch normalization of the backbone ({count_of(len(norms), "layer")}) stays '
                    'frozen at its initial statistics, mean 0 and variance 1: nothing is '
                    'normalized, and the loss may diverge. Load pretrained weights, or use '
                    "norm_cfg=dict(type='GN', num_groups=...) to train from scratch.")
    return None


def adopt(checkpoint: Any, model: nn.Module, path: str | Path) -> Origin:
    """Convert a published checkpoint in place, and say so in the log."""
    origin = adopt_published(checkpoint, model, path)
    if origin.report:
        print_log(origin.report, 'current')
    return origin


def _changes(runner: Runner, meta: Any) -> list[Change]:
    """Return the settings of a test that differ from those in the checkpoint."""
    dataset = getattr(getattr(runner._test_loop, 'dataloader', None), 'dataset', None)
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    return [*changed_meaning(meta, runner.cfg), *changed_classes(meta, classes)]


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
               if is_named(name, allow_missing or ())]
    refused = [name for name in missing if name not in allowed]
    if refused:
        unknown = [pattern for pattern in allow_missing or ()
                   if not any(is_named(name, [pattern]) for name in wanted)]
        advice = '' if allow_missing is None else \
            f', or name those that may be absent with --allow-missing: a module, ' \
            f'{refused[0].partition(".")[0]}, or a pattern, ' \
            f"'{refused[0].rpartition('.')[0] or refused[0]}.*'" \
            + f' (no weight of the model has the name {", ".join(unknown)})' * bool(unknown)
        raise CheckpointError(f"{path} lacks {count_of(len(refused), 'weight')} of the {whose}, "
                              f'the first is {refused[0]}. Give a checkpoint of this config'
                              f'{advice}{source}.')
    other = sorted(name for name, shape in wanted.items()
                   if name in shapes and shapes[name] != shape)
    if other:
        first = other[0]
        raise CheckpointError(
            f"{path} holds {count_of(len(other), 'weight')} of the {whose} in another shape, the "
            f'first is {first}: {tuple(shapes[first])} and not {tuple(wanted[first])}. Give a '
            f'checkpoint of this config{source}.')
    if allowed:
        print_log(f"{path} lacks {count_of(len(allowed), 'weight')} that may be absent, left at "
                  f'the initial values: {", ".join(allowed[:5])}{", ..." * (len(allowed) > 5)}',
                  'current', level=logging.WARNING)


def check_unused(model: nn.Module, checkpoint: Any, path: str | Path, part: str = '',
                 allow_unused: Sequence[str] | None = None) -> None:
    """Check that a checkpoint holds no weight for which a module of the model has no place.

    They are of another network, for example of one more pyramid level.

    Args:
        model, checkpoint, path, part: see :func:`check_weights`.
        allow_unused: names, modules or patterns of weights that may be left
            out; None if the caller has no such option.

    Raises:
        CheckpointError: there are such weights.
    """
    unused = [name for name in unused_weights(model, _shapes(checkpoint, path))
              if name.startswith(part) and not is_named(name, allow_unused or ())]
    if unused:
        advice = '' if allow_unused is None else \
            ', or name those that may be left out with --allow-unused: a module, a name, or a ' \
            "pattern, for example 'neck.norms.*'"
        raise CheckpointError(
            f'{path} holds {_listing(unused)}, for which the model of this config has no place: '
            f'it is of another network. Give a checkpoint of this config, or correct the config '
            f'(number of levels, layers, classes){advice}.')


def unused_weights(model: nn.Module, names: Iterable[str]) -> list[str]:
    """Return the names below the parts of a model (backbone, neck, head) that it does not have.

    Weights of parts that the model lacks, and states that only training needs,
    are not among them.
    """
    known = set(model.state_dict())
    parts = {name.partition('.')[0] for name in known if '.' in name}
    return sorted(name for name in names if name not in known and '.' in name
                  and name.partition('.')[0] in parts and not name.endswith(TRAINING_STATES))


def is_named(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a weight is one of those that patterns name.

    A pattern is the name of a weight, of a module (``backbone`` means
    ``backbone.*``), or has ``*``, which stands for any characters.
    """
    return any(fnmatchcase(name, pattern) or fnmatchcase(name, f'{pattern}.*')
               for pattern in patterns)


def _listing(names: Sequence[str]) -> str:
    """Return the number of weights and the first names."""
    shown = ', '.join(names[:5]) + ', ...' * (len(names) > 5)
    return f'{count_of(len(names), "weight")} ({shown})'


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
