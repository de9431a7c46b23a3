"""Registry of rules that give the token-level SBP form of a block by its type.

A rule takes a module and returns its form: a subclass of the module's type with
:class:`TokenSBP` mixed in, or None if this module has no form.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from sbp_tad.sbp.modules import TokenSBP, TokenSBPContainer
from sbp_tad.sbp.torch_blocks import TokenEncoderLayer, TokenSequentialMLP

ACTIVATIONS = (nn.GELU, nn.ReLU, nn.SiLU, nn.LeakyReLU, nn.ELU, nn.Tanh)

Form = type[TokenSBP] | type[TokenSBPContainer]
M = TypeVar('M', bound=nn.Module)

RULES: dict[type[nn.Module], Callable[[Any], Form | None]] = {}


def register_rule(*module_types: type[M]) -> Callable[
        [Callable[[M], Form | None]], Callable[[M], Form | None]]:
    """Register the decorated rule for modules of exactly these types."""
    def register(rule: Callable[[M], Form | None]) -> Callable[[M], Form | None]:
        RULES.update(dict.fromkeys(module_types, rule))
        return rule
    return register


def form_of(module: nn.Module) -> Form | None:
    """Return the SBP form of a module, or None."""
    rule = RULES.get(type(module))
    return rule(module) if rule else None


@register_rule(nn.TransformerEncoderLayer)
def encoder_layer(layer: nn.TransformerEncoderLayer) -> Form | None:
    """Accept every encoder layer, pre-norm or post-norm."""
    return TokenEncoderLayer


@register_rule(nn.Sequential)
def sequential_mlp(layers: nn.Sequential) -> Form | None:
    """Accept LayerNorm, Linear, activation, Dropout?, Linear, Dropout? of any size."""
    kinds = [type(layer) for layer in layers]
    if kinds[3:4] == [nn.Dropout]:
        del kinds[3]
    if kinds[4:] == [nn.Dropout]:
        del kinds[4]
    fits = (len(kinds) == 4 and kinds[0] is nn.LayerNorm and kinds[2] in ACTIVATIONS
            and kinds[1] is kinds[3] is nn.Linear)
    return TokenSequentialMLP if fits else None
