"""Keep pointwise convolutions with oneDNN on the CPU, however few clips a pass has."""
from __future__ import annotations

import math
from typing import Any

from torch import nn

CONV_TYPES = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def prefer_onednn(module: nn.Module) -> int:
    """Let every pointwise convolution compute with oneDNN where its input lies on the CPU.

    On a single thread PyTorch computes pointwise convolutions of fewer than
    16 items with a loop of its own, which takes 1.5 to 2.3 times as long as
    oneDNN and rounds otherwise, so a pass over a few kept clips would be
    slower by clip than one over all. Dilated convolutions always go to
    oneDNN, and a kernel of one position can be called dilated, as it has no
    neighbours to be spread from.

    Args:
        module: where to look, with all below it; its convolutions get a
            forward hook, nothing else of them changes.

    Returns:
        The number of pointwise convolutions.
    """
    found = [conv for conv in module.modules() if isinstance(conv, CONV_TYPES)
             and math.prod(conv.kernel_size) == 1]
    for conv in found:
        conv.register_forward_pre_hook(_dilate_on_cpu)
    return len(found)


def _dilate_on_cpu(conv: nn.Module, inputs: tuple[Any, ...]) -> None:
    dilation = (2 if inputs[0].device.type == 'cpu' else 1, ) * len(conv.kernel_size)
    if conv.dilation != dilation:
        conv.dilation = dilation
