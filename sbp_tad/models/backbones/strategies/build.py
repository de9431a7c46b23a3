"""Table of the strategies, and their construction from SBPBackbone's arguments."""
from __future__ import annotations

from inspect import signature
from typing import Any

from sbp_tad.models.backbones.strategies.adapters import AdaptersStrategy
from sbp_tad.models.backbones.strategies.base import Strategy, drop_none
from sbp_tad.models.backbones.strategies.checkpointing import CheckpointingStrategy
from sbp_tad.models.backbones.strategies.dropit import DropITStrategy
from sbp_tad.models.backbones.strategies.early_pooling import EarlyPoolingStrategy
from sbp_tad.models.backbones.strategies.frame_dropout import FrameDropoutStrategy
from sbp_tad.models.backbones.strategies.full_and_frozen import FrozenStrategy, FullStrategy
from sbp_tad.models.backbones.strategies.memory_bank import MemoryBankStrategy
from sbp_tad.models.backbones.strategies.sideways import SidewaysStrategy
from sbp_tad.models.backbones.strategies.stochastic import (
    DeferredStrategy,
    DirectStrategy,
    TokenStrategy,
)
from sbp_tad.sbp import SBPError

STRATEGIES: dict[str, type[Strategy]] = {strategy.mode: strategy for strategy in (
    DirectStrategy, DeferredStrategy, TokenStrategy, FullStrategy, FrozenStrategy,
    CheckpointingStrategy, FrameDropoutStrategy, EarlyPoolingStrategy, DropITStrategy,
    MemoryBankStrategy, SidewaysStrategy, AdaptersStrategy)}


def build_strategy(mode: str, options: dict[str, Any] | None, **choices: Any) -> Strategy:
    """Build the strategy that ``mode`` names.

    Args:
        mode: a name of :data:`STRATEGIES`.
        options: further arguments of the strategy's class.
        choices: arguments of SBPBackbone that only some strategies have; None
            stands for the strategy's default.

    Raises:
        SBPError: an unknown mode, or an argument that the strategy does not have.
    """
    if mode not in STRATEGIES:
        raise SBPError(f'mode must be one of {list(STRATEGIES)}, got {mode!r}.')
    if options is not None and not isinstance(options, dict):
        raise SBPError(f'options must be a dict, got {options!r}.')
    strategy_type = STRATEGIES[mode]
    asked = drop_none(**choices) | (options or {})
    known = list(signature(strategy_type.__init__).parameters)[1:]
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise SBPError(f"mode {mode!r} does not have {', '.join(unknown)}; it has "
                       f"{', '.join(known)}. Leave the others out or choose another mode.")
    return strategy_type(**asked)
