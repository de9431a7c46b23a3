"""Check of the layers inside a block that its token-level form computes by itself.

A form takes weights and biases of these layers and does not call them. A layer of
another type (LoRA, quantization) or with hooks would compute something else in
evaluation than in training.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from sbp_tad.sbp.config import SBPError

PLAIN_TYPES: tuple[type[nn.Module], ...] = (
    nn.LayerNorm, nn.Linear, NonDynamicallyQuantizableLinear, nn.MultiheadAttention, nn.Dropout,
    nn.Identity, nn.Softmax, nn.Sequential, nn.ModuleList)
HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')

Hook = TypeVar('Hook', bound=Callable[..., Any])


def only_observes(hook: Hook) -> Hook:
    """Mark a hook that changes no tensor, so that token-level SBP may skip it."""
    hook.__dict__['only_observes'] = True
    return hook


def bypassed_layers(module: nn.Module, called: Collection[str], prefix: str = ''
                    ) -> Iterator[tuple[str, nn.Module]]:
    """Yield path and module of all layers, except those at the paths ``called`` and below."""
    for name, layer in module._modules.items():
        path = prefix + name
        if layer is not None and path not in called:
            yield path, layer
            yield from bypassed_layers(layer, called, f'{path}.')


def find_deviation(layer: nn.Module, types: Collection[type[nn.Module]]) -> str | None:
    """Return in words why a layer computes more than its type and tensors tell, or None."""
    if type(layer) not in types:
        return f'has the type {type(layer).__module__}.{type(layer).__qualname__}'
    if 'forward' in layer.__dict__:
        return 'has a replaced forward method'
    hooks = (hook for name in HOOKS for hook in getattr(layer, name).values())
    if not all(getattr(hook, 'only_observes', False) for hook in hooks):
        return 'has hooks'
    return None


@dataclass(frozen=True)
class InnerLayers:
    """Layers inside a block, as its token-level form expects them.

    Args:
        types: exact types of the layers that the form does not call.
        called: paths of the layers that the form calls.
        activation: path of the activation, which the form calls as a function.
    """

    types: tuple[type[nn.Module], ...] = PLAIN_TYPES
    called: tuple[str, ...] = ()
    activation: str = ''

    def check(self, block: nn.Module, name: str) -> None:
        """Check that the form of a block computes what the layers inside it compute.

        Args:
            block: with or without its form.
            name: of the block.

        Raises:
            SBPError: a layer has another type or hooks, or the activation has parameters.
        """
        for path, layer in bypassed_layers(block, self.called):
            if path != self.activation:
                found = find_deviation(layer, self.types)
            else:
                found = 'has parameters' if any(True for _ in layer.parameters()) else None
            if found:
                raise SBPError(
                    f'block {name!r} cannot take its token-level form: the form computes '
                    f'{path!r} by itself, but that layer {found}; restore the plain layer, or '
                    'leave the block out (filter_fn, token_blocks).')
