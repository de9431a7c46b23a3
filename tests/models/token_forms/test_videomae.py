"""Token-level SBP on VideoMAE, with and without biases and layer scale."""
from functools import partial

import torch
from reference.masked_tokens import explicit_attention
from token_cases import Case, record_masks
from token_form_tests import CompiledTokenFormTests, build, drop_path

from sbp_tad.models.token_forms.videomae import vit_mae
from sbp_tad.sbp import TokenSBPConfig, apply_sbp

VIDEOMAE = dict(type='VisionTransformer', img_size=32, patch_size=8, embed_dims=16, depth=2,
                num_heads=2, num_frames=8, drop_rate=0.1, attn_drop_rate=0.1, drop_path_rate=0.3)


def explicit_videomae(block, mask):
    attention = block.attn

    def forward(x):
        bias = attention.qkv.bias
        if hasattr(attention, 'q_bias'):
            bias = torch.cat([attention.q_bias, torch.zeros_like(attention.v_bias),
                              attention.v_bias])
        out = explicit_attention(x, attention.qkv.weight, bias, attention.num_heads,
                                 attention.scale, attention.attn_drop, mask)
        return attention.proj_drop(attention.proj(out))

    attention.forward = forward


CASES = {
    'videomae': Case(partial(build, VIDEOMAE), (2, 3, 8, 32, 32), vit_mae.Block, drop_path,
                     explicit=explicit_videomae),
    'videomae-scaled': Case(partial(build, VIDEOMAE, init_values=0.5, qkv_bias=False),
                            (2, 3, 8, 32, 32), vit_mae.Block, drop_path,
                            packed=lambda block: block.attn.qkv),
}


class TestVideoMAE(CompiledTokenFormTests):
    CASES = CASES
    COMPILED = 'videomae'


def test_tubes_of_videomae_follow_its_grid(monkeypatch):
    model, x = CASES['videomae'].make()
    masks = record_masks(monkeypatch)
    apply_sbp(model, TokenSBPConfig(keep_ratio=0.25, mask='tube'))
    model(x)
    kept = masks[0].kept.view(2, 4, 4, 4)
    assert (kept == kept[:, :1]).all() and kept[:, 0].sum((1, 2)).tolist() == [4, 4]
