"""Token-level SBP forms of the blocks of torch."""
from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from sbp_tad.sbp.inner_layers import InnerLayers
from sbp_tad.sbp.modules import TokenSBP, run_attention, run_mlp


class TokenEncoderLayer(TokenSBP, nn.TransformerEncoderLayer):
    """``nn.TransformerEncoderLayer`` that backpropagates some tokens.

    Attention with dropout of its weights or with ``is_causal`` runs in fused
    kernels that do not return what they dropped. There the gradient is cut,
    but only the MLP saves memory.
    """

    plain_type = nn.TransformerEncoderLayer
    inner_layers = InnerLayers(activation='activation')

    def forward(self, src: Tensor, src_mask: Tensor | None = None,
                src_key_padding_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Encode a batch; see :class:`torch.nn.TransformerEncoderLayer`."""
        if not self.is_stochastic or src.dim() != 3:
            return super().forward(src, src_mask, src_key_padding_mask, is_causal)
        norms = (self.norm1, self.norm2) if self.norm_first else (None, None)
        x = src + self._attend(src, norms[0], src_mask, src_key_padding_mask, is_causal)
        x = x if self.norm_first else self.norm1(x)
        mask = self.draw_sequence_mask(self._swap(x), branch=1)
        if not self.self_attn.batch_first:
            mask = mask.transpose()
        x = x + run_mlp(x, mask, norms[1], self.linear1, self.activation, self.linear2,
                        (self.dropout, self.dropout2))
        return mask.cut_shortcut(x if self.norm_first else self.norm2(x))

    def _swap(self, x: Tensor) -> Tensor:
        """Convert between the order of the layer and (B, N, C)."""
        return x if self.self_attn.batch_first else x.transpose(0, 1)

    def _attend(self, src: Tensor, norm: nn.LayerNorm | None, src_mask: Tensor | None,
                padding: Tensor | None, is_causal: bool) -> Tensor:
        attention, x = self.self_attn, self._swap(src)
        mask = self.draw_sequence_mask(x)
        if attention.dropout > 0 or is_causal:
            branch = self._sa_block(src if norm is None else norm(src), src_mask, padding,
                                    is_causal)
            return self._swap(mask.cut_branch(self._swap(branch)))
        scores = merge_masks(src_mask, padding, x, attention.num_heads)
        return self._swap(run_attention(
            x, mask, norm, (attention.in_proj_weight, attention.in_proj_bias), attention.out_proj,
            num_heads=attention.num_heads, scale=attention.head_dim**-0.5, form='fused',
            sequence_first=True, kv=self.token_sbp.model.config.kv, fused_mask=scores,
            score_mask=None if scores is None else scores.expand(-1, -1, x.shape[1], -1),
            dropouts=(nn.Identity(), self.dropout1)))


def merge_masks(src_mask: Tensor | None, padding: Tensor | None, x: Tensor, num_heads: int
                ) -> Tensor | None:
    """Merge both masks of an encoder layer into one added to the scores.

    Returns:
        (1 or B, 1 or h, 1 or N, N), or None without a mask.
    """
    def added(mask: Tensor) -> Tensor:
        if mask.dtype != torch.bool:
            return mask
        return torch.zeros_like(mask, dtype=x.dtype).masked_fill_(mask, float('-inf'))

    masks = []
    if src_mask is not None:
        heads = src_mask.unflatten(0, (-1, num_heads)) if src_mask.dim() == 3 \
            else src_mask[None, None]
        masks.append(added(heads))
    if padding is not None:
        masks.append(added(padding)[:, None, None].expand(-1, num_heads, -1, -1))
    return sum(masks[1:], masks[0]) if masks else None


class TokenSequentialMLP(TokenSBP, nn.Sequential):
    """``nn.Sequential`` of LayerNorm, Linear, activation, Dropout?, Linear, Dropout?."""

    plain_type = nn.Sequential
    has_shortcut = False
    inner_layers = InnerLayers(activation='2')

    def forward(self, x: Tensor) -> Tensor:
        """Compute the MLP of x (B, ..., C)."""
        if not self.is_stochastic or x.dim() < 3:
            return super().forward(x)
        grid = tuple(x.shape[1:4]) if x.dim() == 5 else (1, 1, x[0, ..., 0].numel())
        mask = self.draw_mask(len(x), grid)
        norm, first, activation, second = cast(
            'tuple[nn.LayerNorm, nn.Linear, nn.Module, nn.Linear]',
            [layer for layer in self if not isinstance(layer, (nn.Dropout, nn.Identity))])
        dropouts = following_dropout(self, activation), following_dropout(self, second)
        return run_mlp(x, mask, norm, first, activation, second, dropouts)


def following_dropout(layers: nn.Sequential, layer: nn.Module) -> nn.Module:
    """Return the dropout directly after a layer, or an identity."""
    members = list(layers)
    after = members[members.index(layer) + 1:][:1]
    return after[0] if after and isinstance(after[0], nn.Dropout) else nn.Identity()
