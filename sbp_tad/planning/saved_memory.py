"""The memory meter of SBP for models as a Runner holds them."""
from __future__ import annotations

from mmengine.model import is_model_wrapper
from torch import nn

from sbp_tad.sbp import SavedMemory


def meter_saved_memory(model: nn.Module, per_module: bool = False) -> SavedMemory:
    """A context that counts what ``model``, wrapped for DDP or not, saves for backward."""
    return SavedMemory(model.module if is_model_wrapper(model) else model, per_module)
