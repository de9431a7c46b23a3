"""Token-level SBP for VideoMAE, the plain vision transformer."""
from __future__ import annotations

import sbp_tad.registry  # noqa: F401, cures what the imports below need

# isort: split
import torch
from mmaction.models.backbones import vit_mae
from mmcv.cnn.bricks.transformer import FFN
from torch import Tensor, nn

from sbp_tad.models.token_forms.ffn import FFN_TYPES
from sbp_tad.sbp.handlers import register_rule
from sbp_tad.sbp.inner_layers import InnerLayers
from sbp_tad.sbp.modules import TokenSBP, TokenSBPContainer, run_attention, run_mlp


class TokenVideoMAEBlock(TokenSBP, vit_mae.Block):
    """Vision transformer block that backpropagates a subset of tokens."""

    plain_type = vit_mae.Block
    inner_layers = InnerLayers((*FFN_TYPES, vit_mae.Attention, FFN), called=('drop_path', ),
                               activation='mlp.layers.0.1')

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, N, C) after the block."""
        if not self.is_stochastic:
            return super().forward(x)
        mask = self.draw_sequence_mask(x)
        attention, gammas = self.attn, (getattr(self, 'gamma_1', None),
                                        getattr(self, 'gamma_2', None))
        bias = attention.qkv.bias
        if hasattr(attention, 'q_bias'):
            no_bias = torch.zeros_like(attention.v_bias, requires_grad=False)
            bias = torch.cat([attention.q_bias, no_bias, attention.v_bias])
        branch = run_attention(
            x, mask, self.norm1, (attention.qkv.weight, bias), attention.proj,
            num_heads=attention.num_heads, scale=attention.scale, form='queries',
            kv=self.token_sbp.model.config.kv,
            dropouts=(attention.attn_drop, attention.proj_drop), gamma=gammas[0])
        x = x + self.drop_path(branch)
        mask = self.draw_sequence_mask(x, branch=1)
        (first, activation, dropout), second, last_dropout = self.mlp.layers
        x = x + self.drop_path(run_mlp(x, mask, self.norm2, first, activation, second,
                                       (dropout, last_dropout), gammas[1]))
        return mask.cut_shortcut(x)


@register_rule(vit_mae.Block)
def videomae_block(block: vit_mae.Block) -> type[nn.Module] | None:
    """Cover blocks with layer normalization and an MLP of two layers."""
    plain = isinstance(block.norm1, nn.LayerNorm) and len(block.mlp.layers) == 3
    return TokenVideoMAEBlock if plain else None


class TokenVideoMAE(TokenSBPContainer, vit_mae.VisionTransformer):
    """VideoMAE that tells its blocks the grid of the tokens."""

    plain_type = vit_mae.VisionTransformer

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of x (B, 3, T, H, W)."""
        stride = self.patch_embed.projection.stride
        self.token_sbp.model.grid = tuple(
            size // step for size, step in zip(x.shape[2:], stride))
        return super().forward(x)


@register_rule(vit_mae.VisionTransformer)
def videomae(model: vit_mae.VisionTransformer) -> type[nn.Module]:
    """Cover every VideoMAE."""
    return TokenVideoMAE
