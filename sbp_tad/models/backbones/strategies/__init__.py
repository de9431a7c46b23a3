"""Every way to train a backbone within memory: stochastic backpropagation and its rivals.

One class a file and a word each, SBPBackbone's ``mode``. To add one: subclass
:class:`Strategy`, put the class into ``STRATEGIES``, and a row into
``tests/models/backbones/strategies/test_strategies.py``.
"""
from sbp_tad.models.backbones.strategies.adapters import AdaptersStrategy
from sbp_tad.models.backbones.strategies.base import Strategy, StrategyConfig
from sbp_tad.models.backbones.strategies.checkpointing import CheckpointingStrategy
from sbp_tad.models.backbones.strategies.dropit import DropITStrategy
from sbp_tad.models.backbones.strategies.early_pooling import EarlyPoolingStrategy
from sbp_tad.models.backbones.strategies.frame_dropout import FrameDropoutStrategy
from sbp_tad.models.backbones.strategies.full_and_frozen import FrozenStrategy, FullStrategy
from sbp_tad.models.backbones.strategies.memory_bank import MemoryBankStrategy
from sbp_tad.models.backbones.strategies.sideways import SidewaysStrategy
from sbp_tad.models.backbones.strategies.stochastic import (DeferredStrategy, DirectStrategy,
                                                            TokenStrategy)

STRATEGIES: dict[str, type[Strategy]] = {strategy.mode: strategy for strategy in (
    DirectStrategy, DeferredStrategy, TokenStrategy, FullStrategy, FrozenStrategy,
    CheckpointingStrategy, FrameDropoutStrategy, EarlyPoolingStrategy, DropITStrategy,
    MemoryBankStrategy, SidewaysStrategy, AdaptersStrategy)}

__all__ = ['STRATEGIES', 'Strategy', 'StrategyConfig']
