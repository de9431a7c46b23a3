"""Changes of a config that make it train its backbone by another strategy."""
from __future__ import annotations

import copy
from inspect import signature

from mmengine.config import Config

from sbp_tad.comparison.errors import ComparisonError
from sbp_tad.comparison.specs import ComparedStrategy
from sbp_tad.models.backbones.strategies import STRATEGIES

BACKBONE_TYPES = ('SBPBackbone', 'sbp_tad.SBPBackbone')
# Arguments of SBPBackbone that only some strategies take.
STRATEGY_ARGUMENTS = ('sampler', 'rescale', 'token', 'token_blocks')


def apply_strategy(cfg: Config, strategy: ComparedStrategy) -> Config:
    """Return a copy of a config that trains its backbone by another strategy.

    Arguments of SBPBackbone that the other strategy takes too stay; the rest is removed.

    Raises:
        ComparisonError: no SBPBackbone, or the config cannot be trained by this strategy.
    """
    cfg = copy.deepcopy(cfg)
    backbone = cfg.model.get('backbone') or {}
    if backbone.get('type') not in BACKBONE_TYPES:
        raise ComparisonError('strategies are modes of SBPBackbone, but model.backbone.type is '
                              f'{backbone.get("type")!r}; wrap it: '
                              "backbone=dict(type='SBPBackbone', backbone=...).")
    mode = strategy.spec.mode
    if mode not in STRATEGIES:
        raise ComparisonError(f'strategy {strategy.name!r} needs mode {mode!r} of SBPBackbone, '
                              f'whose modes are {", ".join(STRATEGIES)}.')
    if backbone.get('mode', 'direct') != mode:
        backbone.pop('options', None)
    accepted = signature(STRATEGIES[mode].__init__).parameters
    for name in STRATEGY_ARGUMENTS:
        if name not in accepted or (name, backbone.get(name)) == ('sampler', 'gradient'):
            backbone.pop(name, None)
    backbone.pop('memory_budget', None)
    backbone.update(mode=mode, keep_ratio=strategy.number if strategy.spec.takes_ratio else 1.0)
    strategy.spec.change(cfg, strategy.number)
    cfg.merge_from_dict(strategy.options)
    return cfg
