"""The planner behind ``keep_ratio='auto'``: declared here, registered by the planning package.

:mod:`sbp_tad.planning.auto_keep_ratio` plans with the models, so it cannot be imported
here. It registers itself when it is imported, which the MODELS registry does
before it builds anything.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from sbp_tad.models.backbones.strategies.modes import STOCHASTIC_MODES
from sbp_tad.sbp import SBPError


@dataclass(frozen=True)
class KeepRatioPlanner:
    """Two functions that plan a keep ratio.

    Args:
        parse_budget: bytes of a memory budget such as ``'8GiB'``.
        agree_on_keep_ratio: an SBPBackbone in training mode, a batch of its
            inputs and bytes, to the largest keep ratio that fits in every process.
    """

    parse_budget: Callable[[str | int], int]
    agree_on_keep_ratio: Callable[[nn.Module, Tensor, int], float]


_planners: list[KeepRatioPlanner] = []


def register_keep_ratio_planner(planner: KeepRatioPlanner) -> None:
    """Plan with this planner from now on."""
    _planners[:] = [planner]


def keep_ratio_planner() -> KeepRatioPlanner:
    """Return the registered planner.

    Raises:
        SBPError: there is none.
    """
    if not _planners:
        raise SBPError("keep_ratio='auto' needs a planner, and none is registered; "
                       'import sbp_tad.planning.auto_keep_ratio, or give a keep_ratio.')
    return _planners[0]


def check_budget(mode: str, keep_ratio: float | str, memory_budget: str | int | None) -> None:
    """Check that a memory budget and ``keep_ratio='auto'`` come together, in a mode that plans.

    Raises:
        SBPError: one of the two without the other, or a mode that is not planned.
    """
    if memory_budget is not None and mode not in STOCHASTIC_MODES:
        raise SBPError(f'memory_budget is planned for the modes {list(STOCHASTIC_MODES)}, got '
                       f'{mode!r}; leave memory_budget out and give a keep_ratio.')
    if (keep_ratio == 'auto') != (memory_budget is not None):
        raise SBPError("keep_ratio='auto' and memory_budget (such as '8GiB') go together, got "
                       f'keep_ratio={keep_ratio!r} and memory_budget={memory_budget!r}.')
