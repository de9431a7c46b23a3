"""Names of ActionFormer's own code (happyharrycn/actionformer_release)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sbp_tad.converters.renaming import Rule

PARTS = ('query', 'key', 'value')


def flat(weight: Tensor) -> Tensor:
    """Return (1, C, 1) as (C,)."""
    return weight.flatten()


def column(weight: Tensor) -> Tensor:
    """Return (1, C, 1) as (C, 1)."""
    return weight.flatten()[:, None]


def block_rules(theirs: str, ours: str) -> list[Rule]:
    """Return the rules of the transformer blocks ``theirs.N``, which OpenTAD names alike."""
    before, after = rf'{theirs}\.(\d+)', rf'neck.{ours}.\1'
    rules = [
        Rule(rf'{before}\.ln([12])\.(weight|bias)', rf'{after}.norm\2.\3', flat),
        Rule(rf'{before}\.attn\.proj\.(weight|bias)', rf'{after}.attention.out.\2'),
        Rule(rf'{before}\.mlp\.0\.(weight|bias)', rf'{after}.mlp.0.\2'),
        Rule(rf'{before}\.mlp\.3\.(weight|bias)', rf'{after}.mlp.2.\2'),
        Rule(rf'{before}\.drop_path_attn\.scale', rf'{after}.branches.0.scale', column),
        Rule(rf'{before}\.drop_path_mlp\.scale', rf'{after}.branches.1.scale', column),
    ]
    for number, part in enumerate(PARTS):
        place = rf'{after}.attention'
        rules += [
            Rule(rf'{before}\.attn\.{part}_conv\.conv\.weight', rf'{place}.convs.{number}.weight'),
            Rule(rf'{before}\.attn\.{part}_norm\.(weight|bias)', rf'{place}.norms.{number}.\2',
                 flat),
            Rule(rf'{before}\.attn\.{part}\.(weight|bias)', rf'{place}.projections.{number}.\2'),
        ]
    return rules


RULES = (
    Rule(r'backbone\.embd\.(\d+)\.conv\.weight', r'neck.embed.\1.conv.weight'),
    Rule(r'backbone\.embd_norm\.(\d+)\.(weight|bias)', r'neck.embed.\1.norm.\2', flat),
    *block_rules(r'backbone\.stem', 'stem'),
    *block_rules(r'backbone\.branch', 'downsample'),
    Rule(r'neck\.fpn_norms\.(\d+)\.(weight|bias)', r'neck.norms.\1.\2', flat),
    Rule(r'(cls|reg)_head\.head\.(\d+)\.conv\.weight', r'head.\1_tower.convs.\2.conv.weight'),
    Rule(r'(cls|reg)_head\.norm\.(\d+)\.(weight|bias)', r'head.\1_tower.convs.\2.norm.\3', flat),
    Rule(r'cls_head\.cls_head\.conv\.(weight|bias)', r'head.cls_tower.predictor.\1'),
    Rule(r'reg_head\.offset_head\.conv\.(weight|bias)', r'head.reg_tower.predictor.\1'),
    Rule(r'reg_head\.scale\.(\d+)\.scale', r'head.scales.\1.scale'),
)
LEFT_OUT: tuple[str, ...] = ()


def is_source(names: Mapping[str, Any]) -> bool:
    """Return whether a state dict is of this code."""
    return 'backbone.embd.0.conv.weight' in names and 'reg_head.offset_head.conv.weight' in names
