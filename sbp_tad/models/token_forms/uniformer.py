"""Token-level SBP for the self-attention blocks of UniFormer."""
from __future__ import annotations

import sbp_tad.registry  # noqa: F401, cures what the imports below need

# isort: split
from mmaction.models.backbones import uniformer
from torch import Tensor, nn

from sbp_tad.sbp.handlers import register_rule
from sbp_tad.sbp.inner_layers import PLAIN_TYPES, InnerLayers
from sbp_tad.sbp.modules import TokenSBP, parameters_of, run_attention, run_mlp


class TokenUniFormerBlock(TokenSBP, uniformer.SABlock):
    """Self-attention block of UniFormer that backpropagates a subset of tokens."""

    plain_type = uniformer.SABlock
    inner_layers = InnerLayers((*PLAIN_TYPES, uniformer.Attention, uniformer.Mlp),
                               called=('pos_embed', 'drop_path'), activation='mlp.act')

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, C, T, H, W) after the block."""
        if not self.is_stochastic:
            return super().forward(x)
        shape, grid, attention = x.shape, tuple(x.shape[2:]), self.attn
        mask = self.draw_mask(len(x), grid)
        x = x + self.pos_embed(x)
        x = x.flatten(2).transpose(1, 2)  # (B, N, C)
        x = x + self.drop_path(run_attention(
            x, mask, self.norm1, parameters_of(attention.qkv), attention.proj,
            num_heads=attention.num_heads, scale=attention.scale, form='scores',
            kv=self.token_sbp.model.config.kv,
            dropouts=(attention.attn_drop, attention.proj_drop)))
        mask = self.draw_mask(len(x), grid, branch=1)
        x = x + self.drop_path(run_mlp(x, mask, self.norm2, self.mlp.fc1, self.mlp.act,
                                       self.mlp.fc2, (self.mlp.drop, self.mlp.drop)))
        return mask.cut_shortcut(x).transpose(1, 2).reshape(shape)


@register_rule(uniformer.SABlock)
def uniformer_block(block: uniformer.SABlock) -> type[nn.Module]:
    """Cover self-attention blocks; convolutional blocks have no tokens."""
    return TokenUniFormerBlock
