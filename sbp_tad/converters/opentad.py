"""Names of OpenTAD (sming256/OpenTAD): ActionFormer on features, and AdaTAD from frames."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sbp_tad.converters.actionformer import block_rules
from sbp_tad.converters.renaming import Rule

BACKBONE = r'backbone\.model\.backbone\.'

RULES = (
    Rule(r'projection\.embed\.(\d+)\.(conv|norm)\.(weight|bias)', r'neck.embed.\1.\2.\3'),
    *block_rules(r'projection\.stem', 'stem'),
    *block_rules(r'projection\.branch', 'downsample'),
    Rule(r'neck\.fpn_norms\.(\d+)\.(weight|bias)', r'neck.norms.\1.\2'),
    Rule(r'rpn_head\.(cls|reg)_convs\.(\d+)\.(conv|norm)\.(weight|bias)',
         r'head.\1_tower.convs.\2.\3.\4'),
    Rule(r'rpn_head\.(cls|reg)_head\.(weight|bias)', r'head.\1_tower.predictor.\2'),
    Rule(r'rpn_head\.scale\.(\d+)\.scale', r'head.scales.\1.scale'),
    Rule(r'rpn_head\.loss_normalizer', r'head.normalizer'),
    # AdaTAD: VideoMAE of mmaction2 with adapters
    Rule(BACKBONE + r'(blocks\.\d+\.adapter)\.gamma', r'backbone.\1.scale'),
    Rule(BACKBONE + r'(blocks\.\d+\.adapter)\.dwconv\.(weight|bias)', r'backbone.\1.depth.\2'),
    Rule(BACKBONE + r'(blocks\.\d+\.adapter)\.conv\.(weight|bias)', r'backbone.\1.point.\2'),
    Rule(BACKBONE + r'(blocks\.\d+\.adapter)\.(down|up)_proj\.(weight|bias)',
         r'backbone.\1.\2.\3'),
    Rule(BACKBONE + r'(pos_embed|(?:patch_embed|fc_norm)\..*|blocks\.\d+\.(?!adapter).*)',
         r'backbone.\1'),
)
LEFT_OUT: tuple[str, ...] = ()


def is_source(names: Mapping[str, Any]) -> bool:
    """Return whether a state dict is of this code."""
    return 'projection.embed.0.conv.weight' in names and 'rpn_head.reg_head.weight' in names
