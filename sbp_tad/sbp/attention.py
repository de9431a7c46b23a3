"""Window attention: forward for all queries, backward for the kept ones; pure functions.

Shapes: W windows of L tokens, m kept queries in each, h heads of d channels,
C = h * d. A sequence is one window.

One product runs twice: ``q k'`` of the kept queries. :func:`attend_backward`
repeats it; torch's fused kernel runs in the forward only. The alternative is to
save the probabilities P of the kept queries. Measured with one CPU thread at
112 x 112 pixels and keep ratios 1/2, 1/4, 1/8, as shares of the time of a step
and of the bytes saved by full backpropagation:

======================  ==================  ===================  ===================
network                 the product's time  bytes, P recomputed  bytes, P saved
======================  ==================  ===================  ===================
Video Swin-T, T = 32    3.8, 2.5, 1.5 %     0.267, 0.207, 0.176  0.472, 0.311, 0.229
VideoMAE-S, T = 16      1.7, 1.2, 0.8 %     0.291, 0.217, 0.179  0.422, 0.282, 0.212
======================  ==================  ===================  ===================

Saving 2.5 % of the time would cost about half as much memory again, so P is not saved.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sbp_tad.sbp.token_math import (
    Parameters,
    TensorMap,
    linear_backward,
    normalize,
    normalize_backward,
    spread,
    take,
)

# On a CPU, scores of this size stay in the cache of one core, which is about three
# times as fast as all windows at once. Elsewhere the limit bounds the transient memory.
SCORE_BYTES_AT_ONCE = {'cpu': 4 * 2**20}
SCORE_BYTES_ELSEWHERE = 256 * 2**20


@dataclass(frozen=True)
class AttentionOptions:
    """Inputs of :func:`attention_branch` that take no gradient.

    Args:
        kept: (W * m,) int64, rows of the kept queries in the flattened tokens
            (n, C), window by window.
        positions: (W, m) int64, places of the kept queries in their windows.
        valid: (W * m, 1) bool, False where a window keeps fewer than m
            queries; None if all are valid.
        slots: (W, L) int64, token row of every place of a window, -1 for
            padding; None if the tokens already have the shape (W, L, C).
        places: (n,) int64, flat place of every token in the windows.
        length: L, places of one window.
        num_heads: h.
        scale: factor of the scores.
        form: ``'queries'`` scales the queries, ``'scores'`` scales the scores,
            ``'fused'`` calls ``F.scaled_dot_product_attention``. It must be
            the form of the plain module, because each rounds differently.
        sequence_first: whether the linear layers and dropout use the memory
            order (L, W, C) of ``nn.MultiheadAttention``.
        kv: ``'full'`` or ``'kept'``, see ``TokenSBPConfig``.
        gradient_scale: factor of the gradient of the kept tokens.
        eps: of the preceding layer norm; None without a norm.
        mask: constant (M, 1 or h, L, L); ``mask[w % M]`` is added to the
            scores of window ``w``. None adds nothing.
        fused_mask: mask that the plain module passes to the fused kernel;
            only for ``'fused'``.
        bias_index: (L, L) int64, rows of the table of relative position bias.
        dropouts: of the attention weights and of the output; None where
            dropout is not active.
    """

    kept: Tensor
    positions: Tensor
    valid: Tensor | None
    slots: Tensor | None
    places: Tensor | None
    length: int
    num_heads: int
    scale: float
    form: str
    kv: str
    gradient_scale: float
    eps: float | None
    sequence_first: bool = False
    mask: Tensor | None = None
    fused_mask: Tensor | None = None
    bias_index: Tensor | None = None
    dropouts: tuple[nn.Dropout | None, TensorMap | None] = (None, None)

    @property
    def kept_rows(self) -> Tensor:
        """Places of the kept queries in the flattened windows: (W * m,) int64."""
        starts = torch.arange(len(self.positions), device=self.positions.device) * self.length
        return (starts[:, None] + self.positions).flatten()

    def take_queries(self, x: Tensor) -> Tensor:
        """Select the kept queries: (W, h, L, c) to (W, h, m, c)."""
        index = self.positions[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3])
        return x.gather(2, index)


def window_chunks(num_windows: int, num_rows: int, num_heads: int, keys: Tensor) -> Iterator[slice]:
    """Yield slices of windows whose scores (num_rows, L) per head fit the memory limit."""
    score_bytes = num_rows * keys.shape[-2] * num_heads * keys.element_size()
    budget = SCORE_BYTES_AT_ONCE.get(keys.device.type, SCORE_BYTES_ELSEWHERE)
    step = max(1, budget // max(1, score_bytes))  # num_rows may be 0
    return (slice(start, min(start + step, num_windows))
            for start in range(0, num_windows, step))


def to_windows(tokens: Tensor, slots: Tensor | None) -> Tensor:
    """Gather tokens (..., C) into windows (W, L, C), with zeros at padding."""
    if slots is None:
        return tokens
    windows = tokens.reshape(-1, tokens.shape[-1]).index_select(0, slots.clamp(min=0).flatten())
    windows = windows.view(*slots.shape, -1)
    return windows.masked_fill_((slots < 0)[..., None], 0)


def to_tokens(windows: Tensor, places: Tensor | None) -> Tensor:
    """Gather windows (W, L, C) into tokens (n, C): the adjoint of :func:`to_windows`."""
    flat = windows.reshape(-1, windows.shape[-1])
    return flat if places is None else flat.index_select(0, places)


def linear_in_order(windows: Tensor, weight: Tensor, bias: Tensor | None,
                    options: AttentionOptions) -> Tensor:
    """Compute ``F.linear`` of (W, L, C) in the memory order of the options."""
    if options.sequence_first:
        return F.linear(windows.transpose(0, 1), weight, bias).transpose(0, 1)
    return F.linear(windows, weight, bias)


def join_heads(heads: Tensor, options: AttentionOptions) -> Tensor:
    """Concatenate heads (W, h, L, d) to (W, L, C) in the memory order of the options.

    The order matters for rounding: a linear layer adds its bias within the
    product if the rows are contiguous, and after the product otherwise.
    """
    if options.sequence_first:
        return heads.permute(2, 0, 1, 3).flatten(2).transpose(0, 1)
    return heads.transpose(1, 2).flatten(2)


def relative_bias(table: Tensor | None, index: Tensor | None) -> Tensor | None:
    """Look up the bias of the scores (h, L, L) in a table (R, h)."""
    if table is None or index is None:
        return None
    return table[index.reshape(-1)].view(*index.shape, -1).permute(2, 0, 1).contiguous()


def add_to_scores(scores: Tensor, term: Tensor) -> Tensor:
    """Add, in place unless that would change the dtype."""
    same = torch.result_type(scores, term) == scores.dtype
    return scores.add_(term) if same else scores + term


def attend(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None,
           options: AttentionOptions) -> tuple[Tensor, Tensor | None]:
    """Compute the attention of all queries with the rounding of the plain module.

    Args:
        queries, keys, values: (W, h, L, d).
        bias: (h, L, L) or None.
        options: of the branch.

    Returns:
        Output (W, h, L, d), and the factors (W, h, L, L) of attention dropout
        if it is active.
    """
    if options.form == 'fused':
        return F.scaled_dot_product_attention(queries, keys, values, options.fused_mask), None
    dropout = options.dropouts[0]
    num_windows, num_heads, length, _ = queries.shape
    everything = iter([slice(0, num_windows)])  # one draw of dropout, as in the plain module
    chunks = everything if dropout else window_chunks(num_windows, length, num_heads, keys)
    parts, noise = [], None
    for chunk in chunks:
        weights = explicit_scores(queries[chunk], keys[chunk], bias, options, chunk).softmax(-1)
        if dropout:
            noise = dropout(torch.ones_like(weights))
            weights = weights * noise
        parts.append(weights @ values[chunk])
    return torch.cat(parts) if len(parts) > 1 else parts[0], noise


def explicit_scores(queries: Tensor, keys: Tensor, bias: Tensor | None, options: AttentionOptions,
                    chunk: slice) -> Tensor:
    """Compute the scores (w, h, L, L) of a chunk of windows, with bias and mask."""
    if options.form == 'queries':
        scores = (queries * options.scale) @ keys.transpose(-2, -1)
    else:
        scores = (queries @ keys.transpose(-2, -1)) * options.scale
    if bias is not None:
        scores = add_to_scores(scores, bias)
    if options.mask is not None:
        windows = torch.arange(chunk.start, chunk.stop, device=scores.device)
        scores = add_to_scores(scores, options.mask[windows % len(options.mask)])
    return scores


def kept_scores(queries: Tensor, keys: Tensor, bias: Tensor | None, options: AttentionOptions,
                chunk: slice) -> Tensor:
    """Compute the scores (w, h, m, L) of the kept queries (w, h, m, d), which are scaled."""
    scores = queries @ keys.transpose(-2, -1)
    positions = options.positions[chunk]  # (w, m)
    if bias is not None:
        rows = bias.index_select(1, positions.flatten())  # (h, w * m, L)
        rows = rows.unflatten(1, positions.shape).transpose(0, 1)
        scores = add_to_scores(scores, rows)
    if options.mask is not None:
        windows = torch.arange(chunk.start, chunk.stop, device=scores.device)
        rows = options.mask[(windows % len(options.mask))[:, None], :, positions]  # (w, m, h, L)
        scores = add_to_scores(scores, rows.transpose(1, 2))
    return scores


def attend_backward(gradient: Tensor, queries: Tensor, keys: Tensor, values: Tensor,
                    dropped: Tensor | None, bias: Tensor | None, options: AttentionOptions
                    ) -> tuple[Tensor, Tensor, Tensor | None]:
    """Compute the gradients of attention when only the kept queries have one.

    With ``P = softmax(q k' + bias)``, ``A = P * noise`` and ``o = A v``:
    ``dv = A' do``, ``dP = (do v') * noise``, ``dS = P * (dP - sum(dP * P))``,
    ``dq = scale * dS k``, ``dk = dS' q``, ``dbias = dS``. As in flash
    attention, P of the kept queries is recomputed from q and k.

    Args:
        gradient: (W, h, m, d) of the outputs of the kept queries.
        queries: (W, h, m, d), scaled.
        keys, values: (W, h, L, d).
        dropped: (W, h, m, L) bool, True where dropout set a weight to zero, or None.
        bias: (h, L, L) or None.
        options: of the branch.

    Returns:
        Gradients of the unscaled queries (W * m, C), of keys and values
        concatenated (W * L, 2C), and of the bias with the query first (L, h, L).
    """
    num_windows, num_heads, num_kept, channels = queries.shape
    rows_of_queries = queries.new_empty(num_windows, num_kept, num_heads, channels)
    rows_of_keys = keys.new_empty(num_windows, keys.shape[2], 2, num_heads, channels)
    to_queries = rows_of_queries.transpose(1, 2)  # (W, h, m, d)
    to_keys, to_values = rows_of_keys.permute(2, 0, 3, 1, 4)  # (W, h, L, d) each
    to_bias = None if bias is None else torch.zeros_like(bias.transpose(0, 1).contiguous())
    dropout = options.dropouts[0]
    for chunk in window_chunks(num_windows, num_kept, num_heads, keys):
        query, key, grad = queries[chunk], keys[chunk], gradient[chunk]
        probability = kept_scores(query, key, bias, options, chunk).softmax(-1)  # (w, h, m, L)
        weights, to_weights = probability, grad @ values[chunk].transpose(-2, -1)
        if dropped is not None and dropout is not None:
            noise = (~dropped[chunk]).to(weights.dtype) / (1 - dropout.p)
            weights, to_weights = weights * noise, to_weights * noise
        to_values[chunk] = weights.to(grad.dtype).transpose(-2, -1) @ grad
        to_scores = torch._softmax_backward_data(to_weights.to(probability.dtype), probability,
                                                 -1, probability.dtype)
        if to_bias is not None:
            rows = to_scores.transpose(1, 2).flatten(0, 1)  # (w * m, h, L)
            to_bias.index_add_(0, options.positions[chunk].flatten(), rows.to(to_bias.dtype))
        to_scores = to_scores.to(grad.dtype)
        to_queries[chunk] = (to_scores @ key) * options.scale
        to_keys[chunk] = to_scores.transpose(-2, -1) @ query
    return (rows_of_queries.view(num_windows * num_kept, -1),
            rows_of_keys.view(num_windows * keys.shape[2], -1), to_bias)


def bias_backward(to_bias: Tensor, table: Tensor, index: Tensor) -> Tensor:
    """Compute the gradient of the table from the gradient of the bias (L, h, L)."""
    rows = to_bias.transpose(1, 2).flatten(0, 1)  # (L * L, h)
    return torch.zeros_like(table).index_add_(0, index.reshape(-1), rows.to(table.dtype))


def project_backward(to_queries: Tensor, to_keys: Tensor, x: Tensor, norm: Parameters,
                     weight: Tensor, needs: Sequence[bool], options: AttentionOptions,
                     shape: torch.Size) -> tuple[Tensor | None, ...]:
    """Compute the gradients of ``q, k, v = W norm(x) + b`` when only kept queries have one.

    Args:
        to_queries: (W * m, C).
        to_keys: (W * L, 2C), keys and values concatenated.
        x: the input: all tokens with ``kv='full'``, (W * m, C) with ``'kept'``.
        norm: weight and bias of the layer norm.
        weight: W (3C, C).
        needs: flags of x, the norm's weight and bias, W and b: True where a
            gradient is needed.
        options: of the branch.
        shape: of the full input.

    Returns:
        Gradients of x, the norm's weight and bias, W and b.
    """
    normed, mean, deviation = normalize(x, *norm, options.eps)
    wanted = (any(needs[:3]), needs[3], needs[4])
    to_normed: Tensor | None = None
    if options.kv == 'kept':
        keys = to_keys.index_select(0, options.kept_rows)
        keys = keys if options.valid is None else keys * options.valid
        packed = torch.cat([to_queries, keys], 1)  # (W * m, 3C)
        to_normed, to_weight, to_bias = linear_backward(packed, normed, weight, wanted)
    else:
        channels = to_queries.shape[1]
        inputs = to_windows(normed, options.slots).flatten(0, 1)  # (W * L, C)
        of_keys = linear_backward(to_keys, inputs, weight[channels:], wanted)
        of_queries = linear_backward(to_queries, take(normed, options.kept), weight[:channels],
                                     wanted)
        to_weight, to_bias = (None if a is None or b is None else torch.cat([a, b])
                              for a, b in zip(of_queries[1:], of_keys[1:]))
        if of_keys[0] is not None and of_queries[0] is not None:
            to_normed = to_tokens(of_keys[0], options.places)
            to_normed = to_normed.index_add_(0, options.kept, of_queries[0]).view(shape)
    if to_normed is None:
        return None, None, None, to_weight, to_bias
    to_x, *to_norm = normalize_backward(to_normed, x, mean, deviation, *norm, needs[:3])
    if options.kv == 'kept':
        to_x = spread(to_x, options.kept, shape)
    return to_x, *to_norm, to_weight, to_bias
