"""Autograd functions of tokens, each with its equations.

Shapes: n tokens in the whole batch, k of them kept, C channels. Attention has
W windows of L tokens, at most m kept tokens per window, and h heads of d channels.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sbp_tad.sbp.attention import (
    AttentionOptions,
    attend,
    attend_backward,
    bias_backward,
    join_heads,
    linear_in_order,
    project_backward,
    relative_bias,
    to_tokens,
    to_windows,
)
from sbp_tad.sbp.autocast import autocast_dtype
from sbp_tad.sbp.token_math import (
    Parameters,
    TensorMap,
    activation_backward,
    drop,
    linear_backward,
    normalize,
    normalize_backward,
    scale_backward,
    spread,
    take,
    uncached_autocast,
)


@dataclass(frozen=True)
class MLPOptions:
    """Inputs of :func:`mlp_branch` that take no gradient.

    Args:
        kept: (k,) int64, rows of the kept tokens in the flattened tokens (n, C).
        gradient_scale: factor of the gradient of the kept tokens.
        eps: of the preceding layer norm; None without a norm.
        activation: elementwise function between the linear layers.
        dropouts: after the activation and after the second linear layer; None
            where dropout is not active.
    """

    kept: Tensor
    gradient_scale: float
    eps: float | None
    activation: TensorMap
    dropouts: tuple[TensorMap | None, TensorMap | None] = (None, None)


class _ScaleGradient(torch.autograd.Function):
    """Identity whose backward is ``dx = scale * dy``; saves only the number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.scale, None


def scale_gradient(x: Tensor, scale: float) -> Tensor:
    """Return ``x`` (any shape) and multiply its gradient by ``scale``."""
    return x if scale == 1 else _ScaleGradient.apply(x, scale)


class _MaskGradient(torch.autograd.Function):
    """Identity whose backward is ``dx = mask * dy``; saves the mask."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(mask)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.saved_tensors[0], None


def mask_gradient(x: Tensor, mask: Tensor) -> Tensor:
    """Return ``x`` and multiply its gradient by ``mask``, of a broadcastable shape."""
    return _MaskGradient.apply(x, mask)


class _TokenLinear(torch.autograd.Function):
    """``y = W x + b`` for all tokens.

    Saved: x of the kept tokens. Backward: ``dx = W' dy`` at kept tokens, otherwise 0.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, kept: Tensor,
                gradient_scale: float) -> Tensor:
        with uncached_autocast(x.device.type):
            out = F.linear(x, weight, bias)
        ctx.save_for_backward(take(x, kept), weight, kept)
        ctx.gradient_scale, ctx.shape = gradient_scale, x.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, kept = ctx.saved_tensors
        grad = take(gradient, kept) * ctx.gradient_scale
        to_x, to_weight, to_bias = linear_backward(grad, x, weight, ctx.needs_input_grad[:3])
        to_x = None if to_x is None else spread(to_x.to(x.dtype), kept, ctx.shape)
        return to_x, to_weight, to_bias, None, None


def linear_branch(x: Tensor, weight: Tensor, bias: Tensor | None, kept: Tensor,
                  gradient_scale: float) -> Tensor:
    """Apply a linear layer to tokens ``x`` (..., C); backpropagate the rows ``kept`` (k,)."""
    return _TokenLinear.apply(x, weight, bias, kept, gradient_scale)


RowMap = Callable[..., Tensor]


class _KeptRows(torch.autograd.Function):
    """``y = compute(queries, None, *others)``, a function of each row of the queries.

    Saved: the kept queries and all other tensors. Backward: repeats
    ``compute`` for the kept queries and takes its gradients; the gradient of
    dropped queries is zero.
    """

    @staticmethod
    def forward(ctx: Any, compute: RowMap, positions: Tensor, queries: Tensor, *others: Tensor
                ) -> Tensor:
        with uncached_autocast(queries.device.type):
            out = compute(queries, None, *others)
        kept = queries.gather(2, _like_rows(positions, queries))
        ctx.save_for_backward(positions, kept, *others)
        ctx.compute, ctx.shape = compute, queries.shape
        ctx.autocast_dtype = autocast_dtype(queries.device.type)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        positions, *inputs = ctx.saved_tensors
        needs, dtype = ctx.needs_input_grad[2:], ctx.autocast_dtype
        leaves = [x.detach().requires_grad_(need) for x, need in zip(inputs, needs)]
        with torch.enable_grad(), torch.autocast(gradient.device.type, dtype, dtype is not None,
                                                 cache_enabled=False):
            out = ctx.compute(leaves[0], positions, *leaves[1:])
        grad = gradient.gather(2, _like_rows(positions, gradient)).to(out.dtype)
        found = iter(torch.autograd.grad(out, [x for x in leaves if x.requires_grad], grad))
        grads = [next(found) if need else None for need in needs]
        if grads[0] is not None:
            zeros = grads[0].new_zeros(ctx.shape)
            grads[0] = zeros.scatter_(2, _like_rows(positions, zeros), grads[0])
        return (None, None, *grads)


def _like_rows(positions: Tensor, x: Tensor) -> Tensor:
    """Expand positions (B, m) to an index of the rows of x (B, h, N, d)."""
    return positions[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3])


def kept_rows_branch(compute: RowMap, positions: Tensor, queries: Tensor, *others: Tensor
                     ) -> Tensor:
    """Apply a function that treats each query independently; backpropagate the kept queries.

    Args:
        compute: maps queries (B, h, m, d), their positions (B, m) (None for
            all) and the other tensors to (B, h, m, d').
        positions: (B, m) int64, the kept queries.
        queries: (B, h, N, d).
        others: tensors that every query uses.
    """
    return _KeptRows.apply(compute, positions, queries, *others)


class _TokenMLP(torch.autograd.Function):
    """``y = gamma * drop(W2 drop(act(W1 norm(x) + b1)) + b2)`` for all tokens.

    Saved, for the kept tokens only: x, ``hidden = W1 norm(x) + b1``, the
    factors of dropout, and the unscaled y if gamma exists. Backward: recomputes
    the norm and the activation, but no matrix product. The gradient of x is
    zero at dropped tokens.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, norm_weight: Tensor | None, norm_bias: Tensor | None,
                weight1: Tensor, bias1: Tensor | None, weight2: Tensor, bias2: Tensor | None,
                gamma: Tensor | None, options: MLPOptions) -> Tensor:
        kept = options.kept
        with uncached_autocast(x.device.type):
            normed, _, _ = normalize(x, norm_weight, norm_bias, options.eps)
            hidden = F.linear(normed, weight1, bias1)
            kept_hidden = take(hidden, kept)  # the activation may work in place
            active, noise1 = drop(options.activation(hidden), options.dropouts[0])
            branch, noise2 = drop(F.linear(active, weight2, bias2), options.dropouts[1])
            out = branch if gamma is None else gamma * branch
        ctx.save_for_backward(
            take(x, kept), kept_hidden, take(noise1, kept), take(noise2, kept),
            None if gamma is None else take(branch, kept), kept, norm_weight, norm_bias, weight1,
            weight2, gamma)
        ctx.options_of_backward = (options.activation, options.eps, options.gradient_scale)
        ctx.shape = x.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x, hidden, noise1, noise2, branch, kept, norm_weight, norm_bias, weight1, weight2,
         gamma) = ctx.saved_tensors
        activation, eps, gradient_scale = ctx.options_of_backward
        needs = ctx.needs_input_grad
        grad = take(gradient, kept) * gradient_scale
        to_gamma, grad = scale_backward(grad, branch, gamma, needs[7])
        grad = (grad if noise2 is None else grad * noise2).to(hidden.dtype)

        active, act_backward = activation_backward(activation, hidden, noise1)
        to_active, to_weight2, to_bias2 = linear_backward(
            grad, active, weight2, (any(needs[:5]), needs[5], needs[6]))
        if to_active is None:
            return (None, ) * 5 + (to_weight2, to_bias2, to_gamma, None)
        to_x: Tensor | None = None
        to_norm: list[Tensor | None] = [None, None]
        normed, mean, deviation = normalize(x, norm_weight, norm_bias, eps)
        to_normed, to_weight1, to_bias1 = linear_backward(
            act_backward(to_active), normed, weight1, (any(needs[:3]), needs[3], needs[4]))
        if to_normed is not None:
            to_x, *to_norm = normalize_backward(to_normed, x, mean, deviation, norm_weight,
                                                norm_bias, needs[:3])
            to_x = spread(to_x, kept, ctx.shape)
        return (to_x, *to_norm, to_weight1, to_bias1, to_weight2, to_bias2, to_gamma, None)


def mlp_branch(x: Tensor, norm: Parameters, first: Parameters, second: Parameters,
               gamma: Tensor | None, options: MLPOptions) -> Tensor:
    """Compute the MLP branch of tokens ``x`` (..., C); backpropagate the kept tokens.

    Args:
        x: (..., C).
        norm, first, second: weight and bias of the preceding layer norm and of
            the two linear layers; None for an absent one.
        gamma: (C,) scale of the branch, or None.
        options: inputs without a gradient.
    """
    return _TokenMLP.apply(x, *norm, *first, *second, gamma, options)


class _TokenAttention(torch.autograd.Function):
    """``y = gamma * drop(Wo attention(Wqkv norm(x) + bqkv) + bo)`` for all tokens.

    Saved: k and v; for the kept queries q, the attention output and the
    factors of dropout; x of all tokens with ``kv='full'``, of the kept tokens
    with ``'kept'``. Backward: the gradient of y at the kept tokens goes to
    their q, and to k and v of all tokens (``'full'``) or of the kept tokens
    (``'kept'``). The norm is recomputed.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, norm_weight: Tensor | None, norm_bias: Tensor | None,
                weight: Tensor, bias: Tensor | None, out_weight: Tensor, out_bias: Tensor | None,
                table: Tensor | None, gamma: Tensor | None, options: AttentionOptions) -> Tensor:
        with uncached_autocast(x.device.type):
            normed, _, _ = normalize(x, norm_weight, norm_bias, options.eps)
            packed = linear_in_order(to_windows(normed, options.slots), weight, bias, options)
            queries, keys, values = packed.unflatten(2, (3, options.num_heads, -1)).permute(
                2, 0, 3, 1, 4)
            out, noise = attend(queries, keys, values, relative_bias(table, options.bias_index),
                                options)
            attended = join_heads(out, options)  # (W, L, C)
            branch, out_noise = drop(linear_in_order(attended, out_weight, out_bias, options),
                                     options.dropouts[1])
            y = branch if gamma is None else gamma * branch
        kept_rows = options.kept_rows
        kept_queries = options.take_queries(queries) * options.scale
        ctx.save_for_backward(
            x if options.kv == 'full' else take(x, options.kept), kept_queries,
            keys.contiguous(), values.contiguous(), take(attended, kept_rows),
            None if noise is None else options.take_queries(noise) == 0,
            take(out_noise, kept_rows), None if gamma is None else take(branch, kept_rows),
            norm_weight, norm_bias, weight, out_weight, table, gamma)
        ctx.options, ctx.shape = options, x.shape
        return y if options.places is None else to_tokens(y, options.places).view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x, queries, keys, values, attended, dropped, out_noise, branch, norm_weight, norm_bias,
         weight, out_weight, table, gamma) = ctx.saved_tensors
        options, needs = ctx.options, ctx.needs_input_grad
        grad = take(gradient, options.kept) * options.gradient_scale
        if options.valid is not None:
            grad = grad * options.valid
        to_gamma, grad = scale_backward(grad, branch, gamma, needs[8])
        grad = (grad if out_noise is None else grad * out_noise).to(attended.dtype)
        inner = (*needs[:5], needs[7])
        to_attended, to_out_weight, to_out_bias = linear_backward(
            grad, attended, out_weight, (any(inner), needs[5], needs[6]))
        if to_attended is None:
            return (None, ) * 5 + (to_out_weight, to_out_bias, None, to_gamma, None)

        to_heads = to_attended.view(len(keys), -1, keys.shape[1], keys.shape[3]).transpose(1, 2)
        to_queries, to_keys, to_bias = attend_backward(
            to_heads, queries, keys, values, dropped, relative_bias(table, options.bias_index),
            options)
        to_table = bias_backward(to_bias, table, options.bias_index) \
            if to_bias is not None and needs[7] else None
        to_input = project_backward(to_queries, to_keys, x, (norm_weight, norm_bias), weight,
                                    needs[:5], options, ctx.shape)
        return (*to_input, to_out_weight, to_out_bias, to_table, to_gamma, None)


def attention_branch(x: Tensor, norm: Parameters, packed: Parameters, projection: Parameters,
                     table: Tensor | None, gamma: Tensor | None, options: AttentionOptions
                     ) -> Tensor:
    """Compute the attention branch of tokens ``x``; backpropagate the kept queries.

    Args:
        x: (..., C) with n tokens; (W, L, C) without ``options.slots``.
        norm, packed, projection: weight and bias of the preceding layer norm,
            of the linear layer to q, k and v, and of the output layer.
        table: (R, h) relative position bias, or None.
        gamma: (C,) scale of the branch, or None.
        options: inputs without a gradient.
    """
    return _TokenAttention.apply(x, *norm, *packed, *projection, table, gamma, options)
