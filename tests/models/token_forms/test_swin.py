"""Token-level SBP on Video Swin: shifted windows, padding, patch merging."""
import pytest
from token_cases import Case, record_masks
from token_form_tests import CompiledTokenFormTests, build, drop_path
from torch import nn

from sbp_tad.models.token_forms.swin import swin
from sbp_tad.sbp import SBPError, TokenSBPConfig, apply_sbp

SWIN = dict(type='SwinTransformer3D', pretrained=None, pretrained2d=False, patch_size=(2, 4, 4),
            window_size=(2, 4, 4), drop_path_rate=0.3, drop_rate=0.1, attn_drop_rate=0.1,
            arch=dict(embed_dims=8, depths=[2, 2, 1, 1], num_heads=[2, 2, 2, 2]))


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


def whole_swin():
    """The model, its blocks told the grids that 48 x 48 pixels give them."""
    model = build(SWIN)
    for stage, size in zip(model.layers, (12, 6, 3, 2)):
        for block in stage.blocks:
            block.grid_of_test = (4, size, size)
    return model


CASES = {
    'swin': Case(whole_swin, (2, 3, 8, 48, 48), swin.SwinTransformerBlock3D, drop_path,
                 packed=lambda block: block.attn.qkv, arrange=swin_layout),
    'swin-stage': Case(OneStage, (2, 8, 3, 6, 6), swin.SwinTransformerBlock3D, drop_path,
                       packed=lambda block: block.attn.qkv, arrange=swin_layout),
}


class TestSwin(CompiledTokenFormTests):
    CASES = CASES
    COMPILED = 'swin-stage'


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


def test_recomputing_swin_is_refused():
    model = build(SWIN, with_cp=True)
    with pytest.raises(SBPError, match='with_cp=True.*set with_cp=False'):
        apply_sbp(model, TokenSBPConfig())
