"""Token-level SBP on the blocks of mmaction: one table of cases, every invariant on each."""
import pytest
import torch
from einops import rearrange
from reference.masked_tokens import explicit_attention
from token_cases import INVARIANTS, Case, check_autocast, check_reference, record_masks
from token_settings import SETTINGS, check_compile, check_distributed, turn_off_dropout
from torch import nn

from sbp_tad.models.token_forms.handlers import swin, uniformer, vit_mae
from sbp_tad.models.token_forms.mvit import mvit
from sbp_tad.models.token_forms.timesformer import (DividedSpatialAttentionWithNorm,
                                                    DividedTemporalAttentionWithNorm, FFNWithNorm)
from sbp_tad.registry import MODELS
from sbp_tad.sbp import SBPError, TokenSBPConfig, apply_sbp

SWIN = dict(type='SwinTransformer3D', pretrained=None, pretrained2d=False, patch_size=(2, 4, 4),
            window_size=(2, 4, 4), drop_path_rate=0.3, drop_rate=0.1, attn_drop_rate=0.1,
            arch=dict(embed_dims=8, depths=[2, 2, 1, 1], num_heads=[2, 2, 2, 2]))
VIDEOMAE = dict(type='VisionTransformer', img_size=32, patch_size=8, embed_dims=16, depth=2,
                num_heads=2, num_frames=8, drop_rate=0.1, attn_drop_rate=0.1, drop_path_rate=0.3)


def drop_path(block):
    return [block.drop_path]


def swin_layout(mask, block):
    """Mask (B, N, 1) as Video Swin arranges the tokens of the first stage: 4 x 6 x 6."""
    batch, grid = len(mask), block.grid_of_test
    window, shift = swin.get_window_size(grid, block.window_size, block.shift_size)
    padding = [pad for size, extent in zip(reversed(grid), reversed(window))
               for pad in (0, -size % extent)]
    mask = nn.functional.pad(mask.view(batch, *grid, 1), (0, 0, *padding))
    return swin.window_partition(mask.roll([-s for s in shift], dims=(1, 2, 3)), window)


class OneStage(nn.Module):
    """Two Swin blocks, plain and shifted, on a grid that needs padding."""

    def __init__(self):
        super().__init__()
        self.stage = swin.BasicLayer(8, depth=2, num_heads=2, window_size=(2, 4, 4),
                                     drop_paths=0.3, drop=0.1, attn_drop=0.1)
        for block in self.stage.blocks:
            block.grid_of_test = (3, 6, 6)

    def forward(self, x):
        return self.stage(x)


def built(config, **options):
    return lambda: MODELS.build({**config, **options})


def whole_swin():
    """The model, its blocks told the grids that 48 x 48 pixels give them."""
    model = MODELS.build(SWIN)
    for stage, size in zip(model.layers, (12, 6, 3, 2)):
        for block in stage.blocks:
            block.grid_of_test = (4, size, size)
    return model


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


MVIT = dict(type='MViT', spatial_size=32, temporal_size=4, out_scales=[1], drop_path_rate=0.2,
            arch=dict(embed_dims=8, num_layers=3, num_heads=1, downscale_indices=[1]))
MVIT_TYPES = (mvit.MultiScaleAttention, mvit.MLP)


def mvit_case(**options):
    return Case(built(MVIT, **options), (2, 3, 4, 32, 32), MVIT_TYPES, None, dropped=False,
                last=lambda block: getattr(block, 'proj', block), most_saved=0.7)


CASES = {
    'swin': Case(whole_swin, (2, 3, 8, 48, 48), swin.SwinTransformerBlock3D, drop_path,
                 packed=lambda block: block.attn.qkv, arrange=swin_layout),
    'swin-stage': Case(OneStage, (2, 8, 3, 6, 6), swin.SwinTransformerBlock3D, drop_path,
                       packed=lambda block: block.attn.qkv, arrange=swin_layout),
    'videomae': Case(built(VIDEOMAE), (2, 3, 8, 32, 32), vit_mae.Block, drop_path,
                     explicit=explicit_videomae),
    'videomae-scaled': Case(built(VIDEOMAE, init_values=0.5, qkv_bias=False), (2, 3, 8, 32, 32),
                            vit_mae.Block, drop_path, packed=lambda block: block.attn.qkv),
    'uniformer': Case(lambda: nn.Sequential(*(uniformer.SABlock(
        8, 2, drop=0.1, attn_drop=0.1, drop_path=0.2) for _ in range(2))), (2, 8, 2, 4, 3),
        uniformer.SABlock, drop_path, packed=lambda block: block.attn.qkv, channels_first=True),
    'mvit': mvit_case(),
    'mvit-no-class-token': mvit_case(with_cls_token=False, output_cls_token=False,
                                     rel_pos_embed=False, residual_pooling=False),
    'timesformer': Case(timesformer, (2, 9, 8), (
        DividedTemporalAttentionWithNorm, DividedSpatialAttentionWithNorm, FFNWithNorm), None,
        last=divided_end, explicit=explicit_divided, arrange=divided_mask),
}
every_case = pytest.mark.parametrize('case', CASES)


@every_case
@pytest.mark.parametrize('mask', ['grid', 'random', 'tube'])
def test_gradients_equal_the_masked_reference(case, mask, monkeypatch):
    check_reference(CASES[case], monkeypatch, mask=mask)


OPTIONS = [dict(kv='kept'), dict(rescale=False), dict(shortcut='dropped'),
           dict(kv='kept', shortcut='dropped', mask='tube')]


@pytest.mark.parametrize('case, options', [
    pytest.param(name, options, id=f'{name}-{options}') for name, case in CASES.items()
    for options in OPTIONS if case.dropped or 'shortcut' not in options])
def test_every_option_equals_the_masked_reference(case, options, monkeypatch):
    check_reference(CASES[case], monkeypatch, **options)


@pytest.mark.parametrize('case', ['mvit', 'timesformer'])
def test_a_single_token(case, monkeypatch):
    """It may be the class token, or lie in one of many groups."""
    check_reference(CASES[case], monkeypatch, keep_ratio=0.01)


@every_case
@pytest.mark.parametrize('invariant', INVARIANTS)
def test_invariants(case, invariant):
    INVARIANTS[invariant](CASES[case])


@every_case
@pytest.mark.parametrize('setting', SETTINGS)
def test_works_under(case, setting):
    SETTINGS[setting](CASES[case])


@every_case
def test_autocast(case, monkeypatch):
    check_autocast(CASES[case], monkeypatch)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:.*should not be instantiated:DeprecationWarning',
                            'ignore:The .grad attribute of a Tensor',  # torch's own, in tracing
                            'ignore:.*call to a `functools.lru_cache`')  # mmaction's compute_mask
@pytest.mark.parametrize('case', ['swin-stage', 'videomae', 'mvit-no-class-token', 'timesformer'])
def test_compiled(case):
    check_compile(CASES[case])


def build_for_two(name):
    model, x = CASES[name].make()
    turn_off_dropout(model)
    apply_sbp(model, TokenSBPConfig(keep_ratio=0.3))
    return model, x


@pytest.mark.slow
def test_two_processes():
    check_distributed(build_for_two, CASES)


def test_one_mask_for_all_blocks_of_swin(monkeypatch):
    """With the shortcut cut, a merged token is kept exactly where its parts are."""
    model, x = CASES['swin'].make()
    masks = record_masks(monkeypatch)
    apply_sbp(model, TokenSBPConfig(keep_ratio=0.3, shortcut='dropped'))
    model(x)
    grids = [(4, 12, 12)] * 2 + [(4, 6, 6)] * 2 + [(4, 3, 3), (4, 2, 2)]  # blocks of two branches
    kept = [mask.kept.view(2, *grid) for mask, grid in zip(masks[::2], grids)]
    for fine, coarse in zip(kept, kept[1:]):
        factor = 2 if fine.shape != coarse.shape else 1
        spread = coarse.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        assert (spread[:, :, :fine.shape[2], :fine.shape[3]] == fine).all()


def test_tubes_of_videomae_follow_its_grid(monkeypatch):
    model, x = CASES['videomae'].make()
    masks = record_masks(monkeypatch)
    apply_sbp(model, TokenSBPConfig(keep_ratio=0.25, mask='tube'))
    model(x)
    kept = masks[0].kept.view(2, 4, 4, 4)
    assert (kept == kept[:, :1]).all() and kept[:, 0].sum((1, 2)).tolist() == [4, 4]


def test_recomputing_swin_is_refused():
    model = built(SWIN, with_cp=True)()
    with pytest.raises(SBPError, match='with_cp=True.*set with_cp=False'):
        apply_sbp(model, TokenSBPConfig())
