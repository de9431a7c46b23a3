"""Pointwise convolutions that use oneDNN on the CPU for passes of any size."""
from __future__ import annotations

import math
from typing import Any

from torch import nn

CONV_TYPES = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def prefer_onednn(module: nn.Module) -> int:
    """Make every pointwise convolution use oneDNN if its input is on the CPU.

    With a single thread PyTorch computes pointwise convolutions of fewer than
    16 items with its own loop. The loop takes 1.5 to 2.3 times as long as
    oneDNN and rounds differently, so a pass over a few kept clips would take
    more time per clip than a pass over all clips. PyTorch always uses oneDNN
    for dilated convolutions, and dilation does not change a kernel of one
    position.

    Args:
        module: searched with all of its submodules. Its pointwise
            convolutions get a forward pre-hook that sets their dilation.

    Returns:
        The number of pointwise convolutions.
    """
    found = [conv for conv in module.modules() if isinstance(conv, CONV_TYPES)
             and math.prod(conv.kernel_size) == 1]
    for conv in found:
        conv.register_forward_pre_hook(_dilate_on_cpu)
    return len(found)


def _dilate_on_cpu(conv: nn.modules.conv._ConvNd, inputs: tuple[Any, ...]) -> None:
    dilation = (2 if inputs[0].device.type == 'cpu' else 1, ) * len(conv.kernel_size)
    if conv.dilation != dilation:
        conv.dilation = dilation
