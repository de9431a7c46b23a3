"""Strategies to train a backbone in limited memory: stochastic backpropagation and its rivals.

One class per mode, named by SBPBackbone's ``mode``. To add one: subclass
:class:`Strategy`, put the class into ``STRATEGIES`` (``build.py``), and add a row to
``tests/models/backbones/strategies/test_strategies.py``.
"""
from sbp_tad.models.backbones.strategies.base import Strategy, StrategyConfig
from sbp_tad.models.backbones.strategies.build import STRATEGIES, build_strategy

__all__ = ['STRATEGIES', 'Strategy', 'StrategyConfig', 'build_strategy']
