"""Token-level SBP for Video Swin."""
from __future__ import annotations

from functools import lru_cache

import sbp_tad.registry  # noqa: F401, cures what the imports below need

# isort: split
import torch
from mmaction.models.backbones import swin
from torch import Tensor, nn

from sbp_tad.sbp.config import SBPError
from sbp_tad.sbp.handlers import register_rule
from sbp_tad.sbp.inner_layers import PLAIN_TYPES, InnerLayers
from sbp_tad.sbp.masks import Grid
from sbp_tad.sbp.modules import (
    TokenSBP,
    TokenSBPContainer,
    Windows,
    outside_graph,
    parameters_of,
    run_attention,
    run_mlp,
)


@outside_graph  # torch.compile would bypass the cache
@lru_cache(maxsize=64)
def swin_windows(batch: int, grid: Grid, window: Grid, shift: Grid, device: torch.device
                 ) -> Windows:
    """Return the window of every token of Video Swin: padded, rolled, cut into windows.

    Args:
        batch: B.
        grid: (D, H, W) tokens.
        window: (D, H, W) tokens of a window.
        shift: (D, H, W) tokens by which windows are shifted.
        device: device of the result.
    """
    rows = torch.arange(1, batch * grid[0] * grid[1] * grid[2] + 1).view(batch, *grid, 1)
    padding = [pad for size, extent in zip(reversed(grid), reversed(window))
               for pad in (0, -size % extent)]
    rows = nn.functional.pad(rows, (0, 0, *padding))
    rows = rows.roll([-step for step in shift], dims=(1, 2, 3))
    return Windows.from_slots(swin.window_partition(rows, window).squeeze(-1) - 1, device)


class TokenSwinBlock(TokenSBP, swin.SwinTransformerBlock3D):
    """Video Swin block that backpropagates a subset of tokens."""

    plain_type = swin.SwinTransformerBlock3D
    inner_layers = InnerLayers((*PLAIN_TYPES, swin.WindowAttention3D, swin.Mlp),
                               called=('drop_path', ), activation='mlp.act')

    def forward(self, x: Tensor, mask_matrix: Tensor) -> Tensor:
        """Return x (B, D, H, W, C) after the block; mask_matrix (M, L, L) is of shifted windows."""
        if not self.is_stochastic:
            return super().forward(x, mask_matrix)
        grid = tuple(x.shape[1:4])
        mask = self.draw_mask(len(x), grid)
        window, shift = swin.get_window_size(grid, self.window_size, self.shift_size)
        attention, length = self.attn, window[0] * window[1] * window[2]
        branch = run_attention(
            x, mask, self.norm1, parameters_of(attention.qkv), attention.proj,
            num_heads=attention.num_heads, scale=attention.scale, form='queries',
            kv=self.token_sbp.model.config.kv,
            windows=swin_windows(len(x), grid, window, shift, x.device),
            score_mask=mask_matrix[:, None] if any(shift) else None,
            bias=(attention.relative_position_bias_table,
                  attention.relative_position_index[:length, :length]),
            dropouts=(attention.attn_drop, attention.proj_drop))
        x = x + self.drop_path(branch)
        mask = self.draw_mask(len(x), grid, branch=1)
        x = x + self.drop_path(run_mlp(x, mask, self.norm2, self.mlp.fc1, self.mlp.act,
                                       self.mlp.fc2, (self.mlp.drop, self.mlp.drop)))
        return mask.cut_shortcut(x)


@register_rule(swin.SwinTransformerBlock3D)
def swin_block(block: swin.SwinTransformerBlock3D) -> type[nn.Module] | None:
    """Cover every block with layer normalization.

    Raises:
        SBPError: ``with_cp=True``, whose recomputation leaves SBP nothing to save.
    """
    if block.with_cp:
        raise SBPError('the Swin blocks recompute their forward (with_cp=True), so SBP cannot '
                       'save more memory; set with_cp=False.')
    return TokenSwinBlock if isinstance(block.norm1, nn.LayerNorm) else None


class TokenSwin(TokenSBPContainer, swin.SwinTransformer3D):
    """Video Swin that tells each block how many patch mergings follow it."""

    plain_type = swin.SwinTransformer3D

    def prepare_blocks(self) -> None:
        """Count the patch mergings after each block, so that one mask fits all stages."""
        merges = 0
        for stage in reversed(self.layers):
            merges += stage.downsample is not None
            for block in stage.blocks:
                if isinstance(block, TokenSBP):
                    block.token_sbp.merges = merges


@register_rule(swin.SwinTransformer3D)
def swin_transformer(model: swin.SwinTransformer3D) -> type[nn.Module]:
    """Cover every Video Swin."""
    return TokenSwin
