"""Token-level SBP on MViT: pooled queries, relative positions, class token."""
from functools import partial

from token_cases import Case, check_reference
from token_form_tests import CompiledTokenFormTests, build

from sbp_tad.models.token_forms.mvit import mvit

MVIT = dict(type='MViT', spatial_size=32, temporal_size=4, out_scales=[1], drop_path_rate=0.2,
            arch=dict(embed_dims=8, num_layers=3, num_heads=1, downscale_indices=[1]))
MVIT_TYPES = (mvit.MultiScaleAttention, mvit.MLP)


def mvit_case(**options):
    return Case(partial(build, MVIT, **options), (2, 3, 4, 32, 32), MVIT_TYPES, None, dropped=False,
                last=lambda block: getattr(block, 'proj', block), most_saved=0.7)


CASES = {
    'mvit': mvit_case(),
    'mvit-no-class-token': mvit_case(with_cls_token=False, output_cls_token=False,
                                     rel_pos_embed=False, residual_pooling=False),
}


class TestMViT(CompiledTokenFormTests):
    CASES = CASES
    COMPILED = 'mvit-no-class-token'


def test_a_single_token_which_may_be_the_class_token(monkeypatch):
    check_reference(CASES['mvit'], monkeypatch, keep_ratio=0.01)
