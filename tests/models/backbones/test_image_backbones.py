"""ViT and ConvNeXt on images: published sizes, and token-level SBP on their blocks."""
import pytest
import torch
from token_cases import INVARIANTS, Case, check_reference
from torch import nn

from sbp_tad.models.backbones.image_backbones import ConvNeXt, ConvNeXtBlock, ImageViT
from sbp_tad.models.token_forms.videomae import vit_mae
from sbp_tad.registry import MODELS
from sbp_tad.sbp import SavedMemory, TokenSBPConfig, apply_sbp, modules, remove_sbp

SMALL = dict(
    vit=dict(type='ImageViT', img_size=32, patch_size=8, embed_dims=24, depth=3, num_heads=2,
             drop_path_rate=0.2),
    convnext=dict(type='ConvNeXt', depths=(1, 2, 1, 1), channels=(8, 12, 16, 24), layer_scale=1.0,
                  drop_path_rate=0.2))
IMAGES = (4, 3, 32, 32)
# In millions, from the papers; a ViT-T of 5.7 has a classifier of 0.2 with it.
SIZES = [
    (dict(type='ImageViT', embed_dims=192, num_heads=3), 5.5),
    (dict(type='ImageViT', embed_dims=768, num_heads=12), 85.8),
    (dict(type='ConvNeXt'), 27.8),
    (dict(type='ConvNeXt', depths=(3, 3, 27, 3), channels=(128, 256, 512, 1024)), 87.6),
]


@pytest.mark.parametrize('cfg, millions', SIZES)
def test_the_sizes_are_the_published_ones(cfg, millions):
    model = MODELS.build(cfg)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.3)


@pytest.mark.parametrize('name', SMALL)
def test_an_image_becomes_a_vector_of_its_own(name):
    torch.manual_seed(0)
    model = MODELS.build(SMALL[name])
    model.init_weights()
    model.eval()
    images = torch.randn(IMAGES)
    features = model(images)
    assert features.shape == (4, 24)
    torch.testing.assert_close(model(images[2:3]), features[2:3])
    assert features.std(0).min() > 1e-4  # and not the same for every image


@pytest.mark.parametrize('name', SMALL)
def test_sbp_leaves_forward_and_names_alone_and_saves_less(name):
    torch.manual_seed(0)
    model = MODELS.build({**SMALL[name], 'drop_path_rate': 0.0})
    model.train()
    images, names = torch.randn(IMAGES), list(model.state_dict())
    with SavedMemory(model) as full:
        expected = model(images)
    report = apply_sbp(model, TokenSBPConfig(keep_ratio=0.25))
    with SavedMemory(model) as saved:
        found = model(images)
    torch.testing.assert_close(found, expected)
    assert list(model.state_dict()) == names
    assert len(report.covered) == {'vit': 3, 'convnext': 5}[name]
    assert saved.bytes < 0.75 * full.bytes
    remove_sbp(model)
    assert type(model) is {'vit': ImageViT, 'convnext': ConvNeXt}[name]


@pytest.mark.parametrize('name, grids', [
    ('vit', {(1, 4, 4)}), ('convnext', {(1, 8, 8), (1, 4, 4), (1, 2, 2), (1, 1, 1)})])
def test_tokens_are_drawn_on_the_grid_of_the_image(name, grids, monkeypatch):
    model, drawn, draw = MODELS.build(SMALL[name]), set(), modules.draw_kept_tokens

    def spy(grid, *args):
        drawn.add(grid)
        return draw(grid, *args)

    monkeypatch.setattr(modules, 'draw_kept_tokens', spy)
    model.train()
    apply_sbp(model, TokenSBPConfig(keep_ratio=0.5))
    model(torch.randn(IMAGES))
    assert drawn == grids


CASES = {
    'vit': Case(lambda: ImageViT(img_size=16, patch_size=4, embed_dims=8, depth=2, num_heads=2,
                                 drop_path_rate=0.2),
                (2, 3, 16, 16), vit_mae.Block, lambda block: [block.drop_path],
                lambda block: block.attn.qkv, most_saved=0.8),
    'convnext': Case(lambda: ConvNeXtBlock(8, 0.0, 1.0), (2, 8, 5, 4), nn.Sequential, None,
                     dropped=False, most_saved=0.8),
}


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('options', [dict(), dict(mask='random', rescale=False)], ids=str)
def test_gradients_equal_the_masked_reference(case, options, monkeypatch):
    check_reference(CASES[case], monkeypatch, **options)


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('invariant', INVARIANTS)
def test_invariants(case, invariant):
    INVARIANTS[invariant](CASES[case])
