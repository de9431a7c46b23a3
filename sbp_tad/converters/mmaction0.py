"""Names of mmaction 0.x (open-mmlab/mmaction2 before 1.0), which are those of today."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sbp_tad.converters.renaming import Rule

RULES = (Rule(r'((?:backbone|neck)\..+)', r'\1'), )
LEFT_OUT = ('cls_head.', )  # of the recognizer that the backbone was trained in


def is_source(names: Mapping[str, Any]) -> bool:
    """Return whether a state dict is that of a recognizer."""
    return any(name.startswith('cls_head.') for name in names) and \
        any(name.startswith('backbone.') for name in names)
