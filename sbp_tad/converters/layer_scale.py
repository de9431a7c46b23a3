"""Scales of residual branches, multiplied into the layers before them."""
from __future__ import annotations

import re
from collections.abc import Container, Mapping

from torch import Tensor

# Branch of a block of ActionFormer -> the layer that ends it.
ENDS = {'0': 'attention.out', '1': 'mlp.2'}
SCALE = re.compile(r'(neck\..+)\.branches\.([01])\.scale')


def fold_scales(weights: Mapping[str, Tensor], expected: Container[str]) -> dict[str, Tensor]:
    """Return weights whose scales are folded where the network has none (``layer_scale=None``).

    A branch ends with a linear layer, so the outputs stay the same.

    Args:
        weights: converted weights.
        expected: names of the weights of the network.
    """
    folded = dict(weights)
    for name, scale in weights.items():
        match = SCALE.fullmatch(name)
        if match is None or name in expected:
            continue
        del folded[name]
        ends = (f'{match[1]}.{ENDS[match[2]]}.{part}' for part in ('weight', 'bias'))
        for end in (end for end in ends if end in folded):  # a missing one is named later
            value = folded[end]
            folded[end] = value * scale.flatten().reshape(-1, *[1] * (value.ndim - 1))
    return folded
