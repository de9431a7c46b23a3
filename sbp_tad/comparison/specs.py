"""Strategies of a comparison as words of a command line, and what each changes in a config."""
from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from mmengine.config import Config

from sbp_tad.comparison.errors import ComparisonError
from sbp_tad.models.backbones.strategies import STRATEGIES

BACKBONE_TYPES = ('SBPBackbone', 'sbp_tad.SBPBackbone')
# Arguments of SBPBackbone that only some strategies have.
CHOICES = ('sampler', 'rescale', 'token', 'token_blocks')


@dataclass(frozen=True)
class Word:
    """What a word of the command line stands for.

    Args:
        mode: of SBPBackbone.
        default: what stands behind the colon where nothing is given; None: the
            word takes nothing. A whole number is a count, else it is a ratio.
        change: further changes of the config, by what stands behind the colon.
    """

    mode: str
    default: float | None = None
    change: Callable[[Config, Any], None] = lambda cfg, argument: None


@dataclass(frozen=True)
class StrategyChoice:
    """A strategy of a comparison.

    Args:
        name: in tables and folders, unique in a comparison.
        word: what it is.
        argument: ratio or count, where the word takes one.
        options: changes of the config for this strategy alone.
    """

    name: str
    word: Word
    argument: float | None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """A name for a folder."""
        return self.name.replace(':', '_')


def freeze_stages(cfg: Config, stages: int) -> None:
    """Freeze the first stages, as the wrapped backbone itself does it."""
    cfg.model.backbone.backbone.frozen_stages = stages


def accumulate(cfg: Config, steps: int) -> None:
    """The same update from so many smaller batches.

    Schedules of the learning rate step with the smaller batches, so that an
    update is taken a part of a step later in them.

    Raises:
        ComparisonError: the batch has no such part.
    """
    batch = cfg.train_dataloader.batch_size
    if batch % steps:
        raise ComparisonError(f'accumulation:{steps} parts a batch of {batch}, which {steps} does '
                              'not divide; take another number or train_dataloader.batch_size.')
    cfg.train_dataloader.batch_size = batch // steps
    cfg.optim_wrapper.accumulative_counts = steps


def guide(cfg: Config, keep_ratio: float) -> None:
    """Draw clips by the gradient of their features."""
    cfg.model.backbone.sampler = 'gradient'


RATIO = 0.25
WORDS = {
    'full': Word('full'),
    'frozen': Word('frozen'),
    'frozen-stages': Word('full', 1, freeze_stages),
    'checkpointing': Word('checkpointing'),
    'accumulation': Word('full', 4, accumulate),
    'frame-dropout': Word('frame_dropout', RATIO),
    'early-pooling': Word('early_pooling', RATIO),
    'direct': Word('direct', RATIO),
    'deferred': Word('deferred', RATIO),
    'guided': Word('deferred', RATIO, guide),
    'token': Word('token', RATIO),
    'sideways': Word('sideways'),
    'dropit': Word('dropit', RATIO),
    'memory-bank': Word('memory_bank', RATIO),
    'adapters': Word('adapters')}


def parse_strategies(texts: Sequence[str], options: dict[str, dict[str, Any]] | None = None
                     ) -> list[StrategyChoice]:
    """Read ``WORD``, ``WORD:ARGUMENT`` or ``NAME=WORD:ARGUMENT``.

    Args:
        texts: of the command line.
        options: by name, changes of the config for that strategy alone.

    Raises:
        ComparisonError: an unknown word, an argument that it does not take, a
            name that occurs twice, options of a strategy that is not compared.
    """
    chosen = [parse_strategy(text) for text in texts]
    names = [choice.name for choice in chosen]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ComparisonError(f'strategies are named {", ".join(twice)} more than once; give one '
                              'another name, such as slow=direct:0.25.')
    options = {name if name in names else parse_strategy(name).name: changes
               for name, changes in (options or {}).items()}
    unknown = sorted(set(options) - set(names))
    if unknown:
        raise ComparisonError(f'--strategy-options are for {", ".join(unknown)}, but the '
                              f'strategies are {", ".join(names)}.')
    return [StrategyChoice(choice.name, choice.word, choice.argument, options.get(choice.name, {}))
            for choice in chosen]


def parse_strategy(text: str) -> StrategyChoice:
    """Read one strategy; see :func:`parse_strategies`."""
    name, has_name, rest = text.rpartition('=')
    word, _, argument = rest.partition(':')
    if word not in WORDS:
        raise ComparisonError(f'no strategy is called {word!r}; choose from {", ".join(WORDS)}.')
    if has_name and (not name or not all(sign.isalnum() or sign in '-._' for sign in name)):
        raise ComparisonError(f'a name of a strategy has letters, digits, "-", "." and "_", '
                              f'got {name!r} in {text!r}.')
    value = parse_argument(word, argument)
    plain = word if value is None else f'{word}:{value:g}'
    return StrategyChoice(name or plain, WORDS[word], value)


def parse_argument(word: str, text: str) -> float | None:
    """What stands behind the colon, or the word's default.

    Raises:
        ComparisonError: not a ratio in (0, 1], not a count of at least 1, or nothing is taken.
    """
    default = WORDS[word].default
    if not text:
        return default
    if default is None:
        raise ComparisonError(f'strategy {word!r} takes nothing behind a colon, got {text!r}.')
    try:
        if isinstance(default, int):
            value, fits = int(text), int(text) >= 1
        else:
            value, fits = float(text), 0 < float(text) <= 1
    except ValueError:
        fits = False
    if not fits:
        kind = 'a whole number of at least 1' if isinstance(default, int) else \
            'a ratio in (0, 1]'
        raise ComparisonError(f'strategy {word!r} takes {kind} behind the colon, such as '
                              f'{word}:{default}, got {text!r}.')
    return value


def apply_strategy(cfg: Config, choice: StrategyChoice) -> Config:
    """A copy of a config that trains its backbone by another strategy.

    What the config chose for its own strategy stays where the other one has
    that choice too, and is left out else.

    Raises:
        ComparisonError: no SBPBackbone, or the config cannot have this strategy.
    """
    cfg = copy.deepcopy(cfg)
    backbone = cfg.model.get('backbone') or {}
    if backbone.get('type') not in BACKBONE_TYPES:
        raise ComparisonError('strategies are modes of SBPBackbone, but the backbone of the config '
                              f'is of type {backbone.get("type")!r}; wrap it: '
                              "backbone=dict(type='SBPBackbone', backbone=...).")
    mode = choice.word.mode
    if mode not in STRATEGIES:
        raise ComparisonError(f'strategy {choice.name!r} needs mode {mode!r} of SBPBackbone, which '
                              f'has {", ".join(STRATEGIES)}.')
    if backbone.get('mode', 'direct') != mode:
        backbone.pop('options', None)
    has = signature(STRATEGIES[mode].__init__).parameters
    for name in CHOICES:
        if name not in has or (name, backbone.get(name)) == ('sampler', 'gradient'):
            backbone.pop(name, None)
    backbone.pop('memory_budget', None)
    ratio = choice.argument if isinstance(choice.word.default, float) else 1.0
    backbone.update(mode=mode, keep_ratio=ratio)
    choice.word.change(cfg, choice.argument)
    cfg.merge_from_dict(choice.options)
    return cfg
