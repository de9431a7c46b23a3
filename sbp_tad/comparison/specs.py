"""Strategies of a comparison as they are written on the command line.

Light to import, so that ``tools/compare_strategies.py --help`` answers at once.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sbp_tad.comparison.errors import ComparisonError

if TYPE_CHECKING:
    from mmengine.config import Config

FULL = 'full'
DEFAULT_KEEP_RATIO = 0.25


@dataclass(frozen=True)
class StrategySpec:
    """Meaning of a keyword such as ``direct`` on the command line.

    Args:
        mode: of SBPBackbone.
        default: number where none follows the keyword; None: the keyword takes no number. An
            int is a count of at least 1, a float a keep ratio in (0, 1].
        change: further changes of the config; called with the config and the number.
    """

    mode: str
    default: float | None = None
    change: Callable[[Config, Any], None] = lambda cfg, number: None

    @property
    def takes_ratio(self) -> bool:
        """True where the number is a keep ratio."""
        return isinstance(self.default, float)


@dataclass(frozen=True)
class ComparedStrategy:
    """A strategy of a comparison.

    Args:
        name: in tables and folders, unique in a comparison.
        spec: meaning of its keyword.
        number: keep ratio or count, None where the keyword takes none.
        options: changes of the config for this strategy alone.
    """

    name: str
    spec: StrategySpec
    number: float | None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return self.name.replace(':', '_')


def freeze_stages(cfg: Config, stages: int) -> None:
    """Freeze the first stages by the option of the wrapped backbone."""
    cfg.model.backbone.backbone.frozen_stages = stages


def accumulate(cfg: Config, steps: int) -> None:
    """Split each batch into ``steps`` smaller ones and accumulate their gradients.

    Learning rate schedules step with the smaller batches, so an update falls a fraction of a
    step later in the schedule.

    Raises:
        ComparisonError: the batch size is no multiple of ``steps``.
    """
    batch = cfg.train_dataloader.batch_size
    if batch % steps:
        raise ComparisonError(
            f'accumulation:{steps} splits train_dataloader.batch_size = {batch}, which is no '
            f'multiple of {steps}; choose another number or batch size.')
    cfg.train_dataloader.batch_size = batch // steps
    cfg.optim_wrapper.accumulative_counts = steps


def guide(cfg: Config, keep_ratio: float) -> None:
    """Draw clips by the gradient of their features."""
    cfg.model.backbone.sampler = 'gradient'


SPECS = {
    FULL: StrategySpec('full'),
    'frozen': StrategySpec('frozen'),
    'frozen-stages': StrategySpec('full', 1, freeze_stages),
    'checkpointing': StrategySpec('checkpointing'),
    'accumulation': StrategySpec('full', 4, accumulate),
    'frame-dropout': StrategySpec('frame_dropout', DEFAULT_KEEP_RATIO),
    'early-pooling': StrategySpec('early_pooling', DEFAULT_KEEP_RATIO),
    'direct': StrategySpec('direct', DEFAULT_KEEP_RATIO),
    'deferred': StrategySpec('deferred', DEFAULT_KEEP_RATIO),
    'guided': StrategySpec('deferred', DEFAULT_KEEP_RATIO, guide),
    'token': StrategySpec('token', DEFAULT_KEEP_RATIO),
    'sideways': StrategySpec('sideways'),
    'dropit': StrategySpec('dropit', DEFAULT_KEEP_RATIO),
    'memory-bank': StrategySpec('memory_bank', DEFAULT_KEEP_RATIO),
    'adapters': StrategySpec('adapters')}


def parse_strategies(texts: Sequence[str], options: dict[str, dict[str, Any]] | None = None
                     ) -> list[ComparedStrategy]:
    """Read strategies ``KEYWORD``, ``KEYWORD:NUMBER`` or ``NAME=KEYWORD:NUMBER``.

    Args:
        texts: of the command line.
        options: changes of the config for one strategy alone, by its name.

    Raises:
        ComparisonError: an unknown keyword, a number that it does not take, a name that
            occurs twice, or options of a strategy that is not compared.
    """
    strategies = [parse_strategy(text) for text in texts]
    names = [strategy.name for strategy in strategies]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ComparisonError(f'--strategies has {", ".join(repeated)} more than once; give one '
                              'of them another name, such as slow=direct:0.25.')
    options = {name if name in names else parse_strategy(name).name: changes
               for name, changes in (options or {}).items()}
    unknown = sorted(set(options) - set(names))
    if unknown:
        raise ComparisonError(f'--strategy-options are for {", ".join(unknown)}, but '
                              f'--strategies has {", ".join(names)}; add the strategy there.')
    return [replace(strategy, options=options.get(strategy.name, {})) for strategy in strategies]


def parse_strategy(text: str) -> ComparedStrategy:
    """Read one strategy; see :func:`parse_strategies`."""
    name, has_name, rest = text.rpartition('=')
    keyword, _, number = rest.partition(':')
    if keyword not in SPECS:
        raise ComparisonError(f'unknown strategy {keyword!r}; choose from {", ".join(SPECS)}.')
    if has_name and (not name or not all(sign.isalnum() or sign in '-._' for sign in name)):
        raise ComparisonError(f'the name of a strategy has letters, digits, "-", "." and "_", '
                              f'got {name!r} in {text!r}.')
    value = parse_number(keyword, number)
    default_name = keyword if value is None else f'{keyword}:{value:g}'
    return ComparedStrategy(name or default_name, SPECS[keyword], value)


def parse_number(keyword: str, text: str) -> float | None:
    """Return the number behind the colon, or the default of the keyword where it is empty.

    Raises:
        ComparisonError: not a keep ratio in (0, 1], not a count of at least 1, or the keyword
            takes no number.
    """
    default = SPECS[keyword].default
    if not text:
        return default
    if default is None:
        raise ComparisonError(f'strategy {keyword!r} takes no number, got {text!r}; write '
                              f'{keyword} alone.')
    try:
        if SPECS[keyword].takes_ratio:
            value, fits = float(text), 0 < float(text) <= 1
        else:
            value, fits = int(text), int(text) >= 1
    except ValueError:
        fits = False
    if not fits:
        kind = 'a keep ratio in (0, 1]' if SPECS[keyword].takes_ratio else \
            'a whole number of at least 1'
        raise ComparisonError(f'strategy {keyword!r} takes {kind}, such as {keyword}:{default}, '
                              f'got {text!r}.')
    return value
