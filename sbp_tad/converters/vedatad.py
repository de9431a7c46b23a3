"""Names of DaoTAD's own code (Media-Smart/vedatad)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sbp_tad.converters.renaming import Rule

NORM = r'(weight|bias|running_mean|running_var|num_batches_tracked)'
# of the downsampling, layers are counted from 1, each a sequence of one
RULES = (
    Rule(r'backbone\.(.+)', r'backbone.\1'),
    *(Rule(rf'neck\.\d+\.layer{number + 1}\.0\.conv\.weight',
           rf'neck.downsampling.layers.{number}.conv.weight') for number in range(9)),
    *(Rule(rf'neck\.\d+\.layer{number + 1}\.0\.bn\.{NORM}',
           rf'neck.downsampling.layers.{number}.norm.\1') for number in range(9)),
    Rule(r'neck\.\d+\.lateral_convs\.(\d+)\.conv\.weight', r'neck.fpn.laterals.\1.conv.weight'),
    Rule(rf'neck\.\d+\.lateral_convs\.(\d+)\.bn\.{NORM}', r'neck.fpn.laterals.\1.norm.\2'),
    Rule(r'neck\.\d+\.fpn_convs\.(\d+)\.conv\.weight', r'neck.fpn.outputs.\1.conv.weight'),
    Rule(rf'neck\.\d+\.fpn_convs\.(\d+)\.bn\.{NORM}', r'neck.fpn.outputs.\1.norm.\2'),
    Rule(r'head\.(cls|reg)_convs\.(\d+)\.conv\.weight', r'head.\1_tower.convs.\2.conv.weight'),
    Rule(rf'head\.(cls|reg)_convs\.(\d+)\.bn\.{NORM}', r'head.\1_tower.convs.\2.norm.\3'),
    Rule(r'head\.retina_(cls|reg)\.(weight|bias)', r'head.\1_tower.predictor.\2'),
)
LEFT_OUT: tuple[str, ...] = ()


def is_source(names: Mapping[str, Any]) -> bool:
    """Return whether a state dict is of this code."""
    return 'head.retina_cls.weight' in names and any('.lateral_convs.' in name for name in names)
