"""Token-level SBP on the self-attention blocks of UniFormer."""
from token_cases import Case
from token_form_tests import TokenFormTests, drop_path
from torch import nn

from sbp_tad.models.token_forms.uniformer import uniformer

CASES = {
    'uniformer': Case(lambda: nn.Sequential(*(uniformer.SABlock(
        8, 2, drop=0.1, attn_drop=0.1, drop_path=0.2) for _ in range(2))), (2, 8, 2, 4, 3),
        uniformer.SABlock, drop_path, packed=lambda block: block.attn.qkv, channels_first=True),
}


class TestUniFormer(TokenFormTests):
    CASES = CASES
