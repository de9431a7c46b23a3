"""Frozen batch normalization."""
from __future__ import annotations

from torch import nn


def freeze_batch_norm(module: nn.Module) -> None:
    """Put every batch normalization below ``module`` into evaluation mode."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()
