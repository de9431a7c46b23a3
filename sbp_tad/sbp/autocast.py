"""State of autocast on every supported version of torch."""
from __future__ import annotations

import torch
from torch import Tensor


def autocast_dtype(device_type: str) -> torch.dtype | None:
    """Return the dtype of active autocast on ``'cpu'`` or ``'cuda'``; None if it is off.

    Before torch 2.4 each device type has functions of its own.
    """
    if hasattr(torch, 'get_autocast_dtype'):
        enabled = torch.is_autocast_enabled(device_type)
        return torch.get_autocast_dtype(device_type) if enabled else None
    if device_type == 'cpu':
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


def cast_like_autocast(x: Tensor) -> Tensor:
    """Cast ``x`` to the dtype in which autocast computes convolutions and linear layers."""
    dtype = autocast_dtype(x.device.type)
    return x if dtype is None or x.dtype == torch.float64 else x.to(dtype)
