"""Published checkpoints, recognized and converted while they are loaded."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sbp_tad.converters.conversion import Conversion, convert, find_source, find_weights
from sbp_tad.converters.errors import ConversionError
from sbp_tad.converters.layer_scale import fold_scales
from sbp_tad.wording import count_of

# A few weights that fit by chance are no reason to take a file: one part must be half filled.
LEAST_SHARE = 0.5
STATISTICS = ('running_mean', 'running_var')


@dataclass(frozen=True)
class Origin:
    """Code base of the weights in a file.

    Args:
        path: the file.
        source: name of the code base, one of ``SOURCES``; None for one of our own layout.
        container: key of the checkpoint that held the weights, '' for the file itself.
        report: sentence for the log, '' if the file is taken as it is.
    """

    path: str
    source: str | None = None
    container: str = ''
    report: str = ''

    @property
    def advice(self) -> str:
        """Return the end of a refusal: the source that was found and the command to convert."""
        command = f'tools/convert_checkpoint.py {self.source or "auto"} {self.path} OUT'
        if self.source is None:
            return f'. If another code wrote it, {command} names the sources that it knows'
        place = f', under {self.container}' if self.container else ''
        return (f'. The file holds weights of {self.source}{place}: {command} checks them and '
                'writes the config that they fill')


def adopt_published(checkpoint: Any, model: nn.Module, path: str | Path) -> Origin:
    """Put the weights of another code base into ``state_dict`` under our names, in place.

    A checkpoint that fills the model as it is stays unchanged. Otherwise the
    weights are those of ``state_dict_ema``, ``model``, ``module`` and so on,
    and they are renamed if the result fills more of the model.

    Args:
        checkpoint: content of the file; anything but a dictionary stays.
        model: takes the weights.
        path: of the file, for the messages.
    """
    own = Origin(str(path))
    if not isinstance(checkpoint, MutableMapping):
        return own
    try:
        weights, container = find_weights(checkpoint)
    except ConversionError:
        return own
    expected, needed = model.state_dict(), {name for name, _ in model_weights(model)}
    plain = checkpoint.get('state_dict', checkpoint)
    filled = count_fitting(without_module(plain), expected) if isinstance(plain, Mapping) else 0
    origin = _convert(checkpoint, weights, container, filled, expected, needed, own.path)
    if not origin.report and container not in ('', 'state_dict') and \
            count_fitting(weights, expected) > filled:
        checkpoint['state_dict'] = weights
        origin = Origin(own.path, None, container, f'{path}: the weights are those of {container}')
    if not origin.report:
        _set_plain(checkpoint, plain)
    return origin


def _set_plain(checkpoint: MutableMapping[str, Any], plain: Any) -> None:
    """Set ``state_dict`` without ``module.``: averages of weights (EMAHook) start from it."""
    if any(str(name).startswith('module.') for name in plain):
        plain = without_module(plain)
    elif plain is checkpoint:
        plain = copy(plain)  # with its versions
    checkpoint['state_dict'] = plain


def _convert(checkpoint: MutableMapping[str, Any], weights: Mapping[str, Any], container: str,
             filled: int, expected: Mapping[str, Tensor], needed: set[str], path: str) -> Origin:
    """Convert the weights if that fills more of the model than the file as it is."""
    source = find_source(weights)
    if source is None or filled == len(expected):
        return Origin(path)
    found = convert(checkpoint, source)
    found = replace(found, weights=fold_scales(found.weights, expected))
    if count_fitting(found.weights, expected) > filled:
        # running means and tables that the code base does not save keep their first values
        own = {name: value for name, value in expected.items() if name not in needed}
        checkpoint['state_dict'] = own | found.weights
        return Origin(path, source, container, _report(found, expected, needed, path))
    return Origin(path) if filled else Origin(path, source, container)


def _report(found: Conversion, expected: Mapping[str, Tensor], needed: set[str], path: str
            ) -> str:
    """Return the sentence with the numbers of weights."""
    fitting = _fitting(found.weights, expected)
    place = f' ({found.container})' if found.container else ''
    unmapped = len(found.unmapped) + len(found.weights) - len(fitting)
    left_out = f', {len(found.left_out)} left out, which no detector uses' if found.left_out else ''
    return (f'{path}: converted from {found.source}{place}: '
            f"{count_of(len(fitting), 'weight')} mapped, "
            f'{unmapped} unmapped, {len(needed - fitting)} missing{left_out}')


def without_module(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights without the prefix of data-parallel training."""
    return {str(name).removeprefix('module.'): value for name, value in weights.items()}


def _fitting(weights: Mapping[str, Any], expected: Mapping[str, Tensor]) -> set[str]:
    """Return the names of the weights with the name and shape of one that is expected."""
    return {name for name, value in expected.items()
            if getattr(weights.get(name), 'shape', None) == value.shape}


def count_fitting(weights: Mapping[str, Any], expected: Mapping[str, Tensor]) -> int:
    """Return how many of the expected weights are there with their shape."""
    return len(_fitting(weights, expected))


def model_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield what a checkpoint must hold: parameters and the running statistics of batch norm."""
    # state_dict, because a wrapper may save its parameters under other names
    for name, value in model.state_dict(keep_vars=True).items():
        if isinstance(value, nn.Parameter) or name.endswith(STATISTICS):
            yield name, value


def filled_part(weights: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
    """Return the first part of a model (backbone, neck, head) that is filled by half.

    Args:
        weights: shapes by name, of the file.
        expected: shapes by name, of the model.
    """
    parts: dict[str, list[bool]] = {}
    for name, shape in expected.items():
        parts.setdefault(name.partition('.')[0], []).append(weights.get(name) == shape)
    return next((part for part, found in parts.items()
                 if sum(found) >= LEAST_SHARE * len(found)), None)
