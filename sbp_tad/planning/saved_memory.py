"""Meter of saved activations for a Runner's model: the measured side of the prediction."""
from __future__ import annotations

from mmengine.model import is_model_wrapper
from torch import nn

from sbp_tad.sbp import SavedMemory


def meter_saved_memory(model: nn.Module, per_module: bool = False) -> SavedMemory:
    """Return a context that counts the bytes that ``model`` saves for backward.

    Args:
        model: wrapped for DDP or not.
        per_module: also count by module.
    """
    return SavedMemory(model.module if is_model_wrapper(model) else model, per_module)
