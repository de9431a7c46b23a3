"""Token-level SBP for MViT: pooling attention and MLP.

MViT-S on 16 x 112 x 112 with keep ratio 1/4 on one CPU thread: 0.49 of the
bytes that full backpropagation saves (0.72 with the MLPs only) and 0.82 of its
time.
"""
from __future__ import annotations

from dataclasses import dataclass

import sbp_tad.registry  # noqa: F401, cures what the imports below need

# isort: split
import torch
from mmaction.models.backbones import mvit
from torch import Tensor, nn
from torch.nn import functional as F

from sbp_tad.sbp.functions import kept_rows_branch
from sbp_tad.sbp.handlers import register_rule
from sbp_tad.sbp.inner_layers import InnerLayers
from sbp_tad.sbp.masks import Grid
from sbp_tad.sbp.modules import TokenSBP, run_linear, run_mlp


@dataclass(frozen=True)
class PooledAttention:
    """Attention of all or some pooled queries with relative positions.

    Args:
        query_grid: (T, H, W) grid of the pooled queries.
        key_grid: (T, H, W) grid of the pooled keys.
        scale: factor of the queries.
        class_token: whether queries and keys begin with a class token.
        residual: whether the queries are added to the result.
    """

    query_grid: Grid
    key_grid: Grid
    scale: float
    class_token: bool
    residual: bool

    def __call__(self, queries: Tensor, positions: Tensor | None, keys: Tensor, values: Tensor,
                 *tables: Tensor) -> Tensor:
        """Return the attended values (B, h, m, d).

        Args:
            queries: (B, h, m, d).
            positions: (B, m) positions of the queries; None if these are all queries.
            keys: (B, h, L, d).
            values: (B, h, L, d).
            tables: relative positions along height, width and time, or none.
        """
        scores = (queries * self.scale) @ keys.transpose(-2, -1)  # (B, h, m, L)
        if tables and positions is None:  # in place, as the plain module rounds
            scores = mvit.add_decomposed_rel_pos(scores, queries, self.query_grid, self.key_grid,
                                                 *tables, self.class_token)
        elif tables:
            scores = scores + self._relative_scores(queries, positions, tables)
        out = scores.softmax(-1) @ values
        if not self.residual:
            return out
        # With a class token the plain module adds in place, which keeps the type.
        dtype = out.dtype if self.class_token else torch.result_type(out, queries)
        return (out + queries * self._patches(queries, positions)).to(dtype)

    def _patches(self, queries: Tensor, positions: Tensor | None) -> Tensor:
        """Return (B or 1, 1, m, 1), 0 for the class token and 1 for all other queries."""
        if positions is None:
            positions = torch.arange(queries.shape[2], device=queries.device)[None]
        return (positions >= int(self.class_token)).to(queries)[:, None, :, None]

    def _relative_scores(self, queries: Tensor, positions: Tensor, tables: tuple[Tensor, ...]
                         ) -> Tensor:
        """Return products (B, h, m, L) of the queries with their relative positions."""
        first = int(self.class_token)
        _, height, width = self.query_grid
        flat = (positions - first).clamp(min=0)
        places = (flat // width % height, flat % width, flat // (height * width))
        axes = (1, 2, 0)  # of the grids, in the order of the tables
        parts = []
        for table, place, axis in zip(tables, places, axes):
            rows = mvit.resize_decomposed_rel_pos(table, self.query_grid[axis],
                                                  self.key_grid[axis])[place]  # (B, m, K, d)
            parts.append(torch.einsum('bhmd,bmkd->bhmk', queries, rows))
        of_height, of_width, of_time = parts
        scores = (of_time[..., None, None] + of_height[..., None, :, None]
                  + of_width[..., None, None, :]).flatten(3)
        return F.pad(scores, (first, 0)) * self._patches(queries, positions)


class TokenPoolingAttention(TokenSBP, mvit.MultiScaleAttention):
    """Pooling attention of MViT that backpropagates a subset of the pooled queries.

    Pooling mixes neighbours, so the projection to q, k and v and the pooling
    are backpropagated at every token. Scores, attention and the last
    projection are backpropagated for the kept queries only. Keys and values
    are pooled too, so they get the whole gradient of the kept queries, also
    with ``kv='kept'``.
    """

    plain_type = mvit.MultiScaleAttention
    has_shortcut = False
    inner_layers = InnerLayers(
        called=('qkv', 'pool_q', 'pool_k', 'pool_v', 'norm_q', 'norm_k', 'norm_v'))

    def forward(self, x: Tensor, in_size: Grid) -> tuple[Tensor, Grid]:
        """Attend in x (B, N, C), class token included; return tokens and the new patch grid."""
        if not self.is_stochastic:
            return super().forward(x, in_size)
        packed = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        (queries, grid), (keys, key_grid), (values, _) = (
            mvit.attention_pool(part, pool, in_size, self.with_cls_token, norm)
            for part, pool, norm in zip(packed.unbind(0), (self.pool_q, self.pool_k, self.pool_v),
                                        (self.norm_q, self.norm_k, self.norm_v)))
        # A class token is not part of the grid.
        mask = self.draw_mask(len(x), (1, 1, queries.shape[2]) if self.with_cls_token
                              else tuple(grid))
        positions = mask.kept.nonzero()[:, 1].view(len(x), -1).to(x.device)  # (B, m)
        attend = PooledAttention(tuple(grid), tuple(key_grid), self.scale, self.with_cls_token,
                                 self.residual_pooling)
        tables = (self.rel_pos_h, self.rel_pos_w, self.rel_pos_t) if self.rel_pos_embed else ()
        out = kept_rows_branch(attend, positions, queries, keys, values, *tables)
        out = out.transpose(1, 2).flatten(2)  # (B, N', C)
        return run_linear(out, mask, self.proj), grid


@register_rule(mvit.MultiScaleAttention)
def mvit_attention(attention: mvit.MultiScaleAttention) -> type[nn.Module]:
    """Cover every pooling attention."""
    return TokenPoolingAttention


class TokenMViTMLP(TokenSBP, mvit.MLP):
    """MLP of MViT that backpropagates a subset of tokens."""

    plain_type = mvit.MLP
    has_shortcut = False
    inner_layers = InnerLayers(activation='act')

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, N, C), class token included, after the MLP."""
        if not self.is_stochastic:
            return super().forward(x)
        return run_mlp(x, self.draw_sequence_mask(x), None, self.fc1, self.act, self.fc2,
                       (nn.Identity(), nn.Identity()))


@register_rule(mvit.MLP)
def mvit_mlp(mlp: mvit.MLP) -> type[nn.Module]:
    """Cover every MLP of MViT."""
    return TokenMViTMLP
