"""Token-level SBP on TimeSformer: attention over time, over space, and the class token."""
import torch
from einops import rearrange
from reference.masked_tokens import explicit_attention
from token_cases import Case, check_reference
from token_form_tests import CompiledTokenFormTests
from torch import nn

from sbp_tad.models.token_forms.timesformer import (
    DividedSpatialAttentionWithNorm,
    DividedTemporalAttentionWithNorm,
    FFNWithNorm,
)


def divided_mask(mask, block):
    """Mask (B, 1 + P * T, 1) in the groups of TimeSformer's attention, or as it is for its MLP."""
    if isinstance(block, DividedTemporalAttentionWithNorm):
        return mask[:, 1:].reshape(-1, block.num_frames, 1)
    if isinstance(block, DividedSpatialAttentionWithNorm):
        patches = rearrange(mask[:, 1:], 'b (p t) c -> (b t) p c', t=block.num_frames)
        return torch.cat([mask[:, :1].repeat_interleave(block.num_frames, 0), patches], 1)
    return mask


def explicit_divided(block, mask):
    attention = getattr(block, 'attn', None)
    if attention is None:
        return

    def forward(x, *_):
        dropout = nn.Dropout(attention.dropout)
        out = explicit_attention(x.transpose(0, 1), attention.in_proj_weight,
                                 attention.in_proj_bias, attention.num_heads,
                                 attention.head_dim**-0.5, dropout, mask)
        return attention.out_proj(out).transpose(0, 1), None

    attention.forward = forward


def divided_end(block):
    """The module behind which a branch of TimeSformer only joins the shortcut."""
    return getattr(block, 'temporal_fc', block.dropout_layer)


def timesformer():
    """Two blocks of divided attention: 2 frames of 2 x 2 patches and a class token."""
    common = dict(embed_dims=8, norm_cfg=dict(type='LN'),
                  dropout_layer=dict(type='DropPath', drop_prob=0.2))
    attention = dict(num_heads=2, num_frames=2, attn_drop=0.1, proj_drop=0.1)
    blocks = [kind(**common, **attention) for _ in range(2) for kind in (
        DividedTemporalAttentionWithNorm, DividedSpatialAttentionWithNorm)]
    mlps = [FFNWithNorm(feedforward_channels=32, act_cfg=dict(type='GELU'), ffn_drop=0.1, **common)
            for _ in range(2)]
    return nn.Sequential(*blocks[:2], mlps[0], *blocks[2:], mlps[1])


CASES = {
    'timesformer': Case(timesformer, (2, 9, 8), (
        DividedTemporalAttentionWithNorm, DividedSpatialAttentionWithNorm, FFNWithNorm), None,
        last=divided_end, explicit=explicit_divided, arrange=divided_mask),
}


class TestTimeSformer(CompiledTokenFormTests):
    CASES = CASES
    COMPILED = 'timesformer'


def test_a_single_token_in_one_of_many_groups(monkeypatch):
    check_reference(CASES['timesformer'], monkeypatch, keep_ratio=0.01)
