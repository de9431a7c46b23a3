"""Names of the released code of stochastic backpropagation, which renames a normalization."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sbp_tad.converters.renaming import Rule

RULES = (
    Rule(r'(.+)\.mlp\.norm\.(weight|bias)', r'\1.norm2.\2'),
    Rule(r'(?!.+\.mlp\.norm\.)(.+)', r'\1'),
)
LEFT_OUT: tuple[str, ...] = ()


def is_source(names: Mapping[str, Any]) -> bool:
    """Return whether a state dict is of this code."""
    return any(name.endswith('.mlp.norm.weight') for name in names)
