"""Parts of a residual branch and their backward, as pure functions.

Shapes: k kept tokens, C channels.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import overload

import torch
from torch import Tensor

from sbp_tad.sbp.autocast import autocast_dtype

TensorMap = Callable[[Tensor], Tensor]
Parameters = tuple['Tensor | None', 'Tensor | None']  # weight and bias


def uncached_autocast(device_type: str) -> AbstractContextManager:
    """Return the active autocast without its cache of casts.

    A cast inside a Function has no gradient. In the cache it would remove the
    gradient of a weight that is also used elsewhere.
    """
    dtype = autocast_dtype(device_type)
    if dtype is None:
        return nullcontext()
    return torch.autocast(device_type, dtype, cache_enabled=False)


def normalize(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float | None
              ) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Apply ``F.layer_norm`` over C and return mean and 1 / deviation; ``x`` if eps is None."""
    if eps is None:
        return x, None, None
    mixed = weight is not None and weight.dtype != x.dtype
    if x.is_cuda and (mixed or autocast_dtype('cuda') is not None):
        x = x.float()  # autocast does so for layer_norm, but not for native_layer_norm
    return torch.native_layer_norm(x, x.shape[-1:], weight, bias, eps)


def normalize_backward(gradient: Tensor, x: Tensor, mean: Tensor | None, deviation: Tensor | None,
                       weight: Tensor | None, bias: Tensor | None, needs: Sequence[bool]
                       ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Compute the gradients of :func:`normalize` for ``x``, ``weight`` and ``bias``."""
    if mean is None:
        return gradient.to(x.dtype), None, None
    gradient, full = gradient.to(mean.dtype), x.to(mean.dtype)
    grads = torch.ops.aten.native_layer_norm_backward(
        gradient, full, x.shape[-1:], mean, deviation, weight, bias, list(needs))
    return grads[0] if grads[0] is None else grads[0].to(x.dtype), grads[1], grads[2]


def linear_backward(gradient: Tensor, inputs: Tensor, weight: Tensor, needs: Sequence[bool]
                    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Compute the gradients of ``F.linear`` (k, in) -> (k, out) for inputs, weight and bias."""
    to_inputs = gradient @ weight.to(gradient.dtype) if needs[0] else None
    to_weight = (gradient.t() @ inputs.to(gradient.dtype)).to(weight.dtype) if needs[1] else None
    to_bias = gradient.sum(0).to(weight.dtype) if needs[2] else None
    return to_inputs, to_weight, to_bias


def activation_backward(activation: TensorMap, hidden: Tensor, noise: Tensor | None
                        ) -> tuple[Tensor, TensorMap]:
    """Recompute the activation of ``hidden`` and return its vector-Jacobian product too."""
    with torch.enable_grad():
        leaf = hidden.detach().requires_grad_()
        active = activation(leaf.clone() if getattr(activation, 'inplace', False) else leaf)
        active = active if noise is None else active * noise

    def backward(gradient: Tensor) -> Tensor:
        return torch.autograd.grad(active, leaf, gradient.to(active.dtype))[0]

    return active.detach(), backward


def drop(x: Tensor, dropout: TensorMap | None) -> tuple[Tensor, Tensor | None]:
    """Apply dropout and return its factors too; uses the random numbers of the layer."""
    if dropout is None:
        return x, None
    noise = dropout(torch.ones_like(x))
    return x * noise, noise


@overload
def take(x: Tensor, rows: Tensor) -> Tensor: ...
@overload
def take(x: None, rows: Tensor) -> None: ...
def take(x: Tensor | None, rows: Tensor) -> Tensor | None:
    """Select rows of the flattened tokens: (..., C) to (k, C)."""
    return None if x is None else x.reshape(-1, x.shape[-1]).index_select(0, rows)


def scale_backward(gradient: Tensor, branch: Tensor | None, gamma: Tensor | None, need: bool
                   ) -> tuple[Tensor | None, Tensor]:
    """Compute the gradients of ``gamma * branch`` (k, C) for gamma (C,) and the branch."""
    if gamma is None or branch is None:
        return None, gradient
    to_gamma = (gradient * branch).sum(0).to(gamma.dtype) if need else None
    return to_gamma, gradient * gamma


def spread(rows: Tensor | None, kept: Tensor, shape: torch.Size) -> Tensor | None:
    """Add rows (k, C) to zeros of ``shape`` (..., C) at the kept tokens."""
    if rows is None:
        return None
    zeros = rows.new_zeros(shape.numel() // shape[-1], shape[-1])
    return zeros.index_add_(0, kept, rows).view(shape)
