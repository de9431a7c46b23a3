"""Turn the checkpoint of another code base into weights of a detector, completely or not at all."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sbp_tad.converters import (
    actionformer,
    lstr,
    mmaction0,
    opentad,
    sbp_release,
    vedatad,
    videomae,
)
from sbp_tad.converters.errors import ConversionError
from sbp_tad.converters.renaming import Rule, rename, targets

# Where code bases keep weights in a checkpoint; averaged weights first, for they are tested.
CONTAINERS = ('state_dict_ema', 'model_ema', 'state_dict', 'model_state_dict', 'model', 'module')
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Source:
    """A code base whose checkpoints can be converted.

    Args:
        rules: its names and ours.
        is_source: says of the names of a state dict whether they are of this code.
        left_out: prefixes of weights that no detector here uses.
    """

    rules: tuple[Rule, ...]
    is_source: Callable[[Mapping[str, Any]], bool]
    left_out: tuple[str, ...] = ()


SOURCES = {name: Source(module.RULES, module.is_source, module.LEFT_OUT) for name, module in dict(
    actionformer=actionformer, opentad=opentad, vedatad=vedatad, lstr=lstr, videomae=videomae,
    sbp=sbp_release, mmaction=mmaction0).items()}


@dataclass(frozen=True)
class Conversion:
    """Converted weights.

    Args:
        source: name of the code base.
        container: key of the checkpoint that held the weights, '' for the file itself.
        weights: weights under our names.
        unmapped: names that no rule of the source knows.
        left_out: names of weights that no detector here uses.
    """

    source: str
    container: str
    weights: Weights
    unmapped: list[str]
    left_out: list[str]


def find_weights(checkpoint: Mapping[str, Any]) -> tuple[Weights, str]:
    """Return the weights of a checkpoint without ``module.``, and the key that held them.

    Raises:
        ConversionError: no state dict is found.
    """
    for container in CONTAINERS:
        found = checkpoint.get(container)
        if isinstance(found, Mapping) and _is_state_dict(found):
            return _without_module(found), container
    if _is_state_dict(checkpoint):
        return _without_module(checkpoint), ''
    raise ConversionError(
        f'the checkpoint holds {", ".join(sorted(map(str, checkpoint))[:8]) or "nothing"} and no '
        f'weights; expected a state dict, or one under {", ".join(CONTAINERS)}')


def _is_state_dict(found: Mapping[str, Any]) -> bool:
    return bool(found) and any(isinstance(value, Tensor) for value in found.values())


def _without_module(weights: Mapping[str, Any]) -> Weights:
    return {name.removeprefix('module.'): value for name, value in weights.items()
            if isinstance(value, Tensor)}


def find_source(names: Mapping[str, Any]) -> str | None:
    """Return the code base whose names these are, None if it is none of ``SOURCES``."""
    return next((name for name, source in SOURCES.items() if source.is_source(names)), None)


def convert(checkpoint: Mapping[str, Any], source: str | None = None) -> Conversion:
    """Convert a checkpoint.

    Args:
        checkpoint: its content, see :func:`find_weights`.
        source: one of ``SOURCES``; found by the names if not given.

    Raises:
        ConversionError: no weights, an unknown code base, or weights of another one.
    """
    weights, container = find_weights(checkpoint)
    name = source or find_source(weights)
    if name is None or name not in SOURCES:
        raise ConversionError(
            f'the names of the weights, such as {sorted(weights)[0]}, are of no code base among '
            f'{", ".join(SOURCES)}')
    if not SOURCES[name].is_source(weights):
        other = find_source(weights)
        raise ConversionError(
            f'the weights are not of {name}: ' + (f'they are of {other}' if other else
                                                  f'they have names such as {sorted(weights)[0]}'))
    left_out = [key for key in weights if key.startswith(SOURCES[name].left_out)] \
        if SOURCES[name].left_out else []
    kept = {key: value for key, value in weights.items() if key not in left_out}
    return Conversion(name, container, *rename(kept, SOURCES[name].rules), left_out)


def check_fit(found: Mapping[str, Tensor], expected: Mapping[str, Tensor],
              optional: Iterable[str] = ()) -> None:
    """Check that weights fill a model: each name once, with its shape.

    Args:
        found: weights under our names.
        expected: state dict of the model.
        optional: names that may be missing.

    Raises:
        ConversionError: a missing or unexpected name, or another shape.
    """
    missing = sorted(set(expected) - set(found) - set(optional))
    unexpected = sorted(set(found) - set(expected))
    other = sorted(name for name in set(found) & set(expected)
                   if found[name].shape != expected[name].shape)
    faults = [f'{len(names)} {kind}, such as {names[0]}{_shapes(names[0], found, expected)}'
              for kind, names in (('missing', missing), ('unexpected', unexpected),
                                  ('of another shape', other)) if names]
    if faults:
        raise ConversionError(f'the weights do not fit the model of the config: '
                              f'{"; ".join(faults)}. Give the config whose network they are of')


def _shapes(name: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    if name not in found or name not in expected:
        return ''
    return f' ({tuple(found[name].shape)} and not {tuple(expected[name].shape)})'


def convert_back(weights: Mapping[str, Tensor], template: Mapping[str, Any]) -> Weights:
    """Return our weights under the names and in the shapes of a published checkpoint.

    Args:
        weights: state dict of our model.
        template: content of any checkpoint of that code base with this network;
            its values are used only where we have no such weight.

    Raises:
        ConversionError: see :func:`convert`; or a weight of the template is not in ``weights``.
    """
    theirs, _ = find_weights(template)
    name = convert(template).source
    result = {}
    for key, value in theirs.items():
        ours = targets(key, SOURCES[name].rules)
        if lacking := [own for own in ours if own not in weights]:
            raise ConversionError(f'the weights have no {lacking[0]}, which {key} of {name} needs')
        joined = torch.cat([weights[own].flatten() for own in ours]) if ours else value
        if joined.numel() != value.numel():
            raise ConversionError(
                f'{ours[0]} has {joined.numel()} numbers and {key} of the published checkpoint '
                f'{value.numel()}: give a published checkpoint of the same network')
        result[key] = joined.reshape(value.shape)
    return result
