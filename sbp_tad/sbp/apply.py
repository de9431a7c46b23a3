"""Turn token-level SBP on and off in an existing model."""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from sbp_tad.sbp.config import SBPConfig, SBPError
from sbp_tad.sbp.handlers import RULES, form_of
from sbp_tad.sbp.modules import BlockState, ModelState, TokenSBP, TokenSBPContainer
from sbp_tad.sbp.token_config import TokenSBPConfig

Filter = Callable[[str, nn.Module], bool]
Block = tuple[nn.Module, type[TokenSBP]]  # a block and its SBP form


@dataclass(frozen=True)
class SBPReport:
    """Result of :func:`apply_sbp`.

    Args:
        covered: names of the blocks that now backpropagate only some tokens.
        left: names of the blocks that have an SBP form but were excluded by the filter.
        state: the shared state; its ``step`` counts training forwards.
    """

    covered: tuple[str, ...]
    left: tuple[str, ...]
    state: ModelState

    def __str__(self) -> str:
        return (f'token-level SBP with {self.state.config} on {len(self.covered)} blocks '
                f'({self.covered[0]} ... {self.covered[-1]}), {len(self.left)} unchanged')


def apply_sbp(model: nn.Module, config: TokenSBPConfig | SBPConfig,
              filter_fn: Filter | None = None, *, seed: int = 0) -> SBPReport:
    """Apply token-level SBP to the transformer blocks of ``model``, in place.

    The forward stays exact. Evaluation, ``no_grad``, the parameters, their
    names and the state dict do not change. The kept tokens depend only on
    (seed, step, sample, block).

    Args:
        model: any module. Its blocks are found by type, see
            :func:`sbp_tad.sbp.handlers.register_rule`.
        config: the settings. Only ``keep_ratio`` and ``rescale`` of an
            ``SBPConfig`` apply to tokens.
        filter_fn: called with the name and module of every block; False
            leaves the block unchanged.
        seed: first number of every sampling key.

    Returns:
        The names of the covered and of the unchanged blocks.

    Raises:
        SBPError: the config has the wrong type, no block matched, the model
            is wrapped for distributed training, SBP is already applied, or a
            layer inside a block is subclassed, wrapped or has hooks.
    """
    if isinstance(config, SBPConfig):
        config = TokenSBPConfig(keep_ratio=config.keep_ratio, rescale=config.rescale)
    check_applicable(model, config)
    blocks, containers, left = find_blocks(model, filter_fn)
    if not blocks:
        raise SBPError(no_match(left))
    check_shortcuts(blocks, config)
    for name, (module, form) in blocks.items():
        form.inner_layers.check(module, name)
    state = ModelState(config, seed)
    names = [*blocks, *('' for _ in containers)]
    for number, (module, new_type) in enumerate([*blocks.values(), *containers]):
        module.__class__ = new_type
        cast(TokenSBP, module).token_sbp = BlockState(state, number, names[number])
    for container, _ in containers:
        cast(TokenSBPContainer, container).prepare_blocks()
    model.register_forward_pre_hook(state)
    return SBPReport(tuple(blocks), tuple(left), state)


def find_blocks(model: nn.Module, filter_fn: Filter | None) -> tuple[
        dict[str, Block], list[tuple[nn.Module, type[TokenSBPContainer]]], list[str]]:
    """Find blocks and containers with their forms, and the names of unchanged blocks."""
    blocks: dict[str, Block] = {}
    containers: list[tuple[nn.Module, type[TokenSBPContainer]]] = []
    left: list[str] = []
    for name, module in model.named_modules():
        form = form_of(module)
        if form is not None and issubclass(form, TokenSBPContainer):
            containers.append((module, form))
        elif form is not None and (filter_fn is None or filter_fn(name, module)):
            blocks[name] = (module, form)
        elif form is not None:
            left.append(name)
    return blocks, containers, left


def blocks_named(model: nn.Module, patterns: Sequence[str]) -> Filter:
    """Make a filter of blocks whose name, or the name of an enclosing module, fits a pattern.

    Args:
        model: holds the blocks.
        patterns: regular expressions. Each must match a dotted name from its
            start to its end or to one of its dots: ``'layers.0'`` matches that
            whole stage, ``'blocks.1'`` does not match ``blocks.10``.

    Raises:
        SBPError: ``patterns`` is not a list of regular expressions, or one of
            them matches no block.
    """
    listed = isinstance(patterns, (list, tuple)) and all(isinstance(p, str) for p in patterns)
    if not listed or not patterns:
        raise SBPError('patterns must be a list of at least one block name or regular '
                       f'expression, got {patterns!r}.')
    try:
        compiled = [re.compile(rf'(?:{pattern})(?:\..*)?') for pattern in patterns]
    except re.error as error:
        raise SBPError(f'{error.pattern!r} is not a valid regular expression: '
                       f'{error}.') from error
    names = list(find_blocks(model, None)[0])
    for pattern, expression in zip(patterns, compiled):
        if names and not any(map(expression.fullmatch, names)):
            raise SBPError(f'{pattern!r} matches no block; the blocks with a token-level form '
                           f'are {names[0]!r} ... {names[-1]!r}.')
    return lambda name, _: any(expression.fullmatch(name) for expression in compiled)


def check_applicable(model: nn.Module, config: TokenSBPConfig) -> None:
    """Check that :func:`apply_sbp` can apply ``config`` to ``model``."""
    if not isinstance(config, TokenSBPConfig):
        raise SBPError('config must be a TokenSBPConfig or SBPConfig, '
                       f'got {type(config).__name__}.')
    if isinstance(model, (DistributedDataParallel, DataParallel)):
        raise SBPError(f'the model is wrapped in {type(model).__name__}; call apply_sbp on '
                       'model.module, before wrapping.')
    for name, module in model.named_modules():
        if hasattr(module, 'token_sbp'):
            raise SBPError(f'SBP is already applied (block {name!r}); call remove_sbp(model) '
                           'before you apply it again.')


def check_shortcuts(blocks: dict[str, Block], config: TokenSBPConfig) -> None:
    """Refuse to cut a shortcut that lies outside the block."""
    outside = [name for name, (_, form) in blocks.items() if not form.has_shortcut]
    if config.shortcut == 'dropped' and outside:
        raise SBPError(f"shortcut='dropped' is not possible for {outside[0]!r}: its residual "
                       "connection lies outside the block; use shortcut='full', or exclude the "
                       'block with filter_fn.')


def no_match(left: list[str]) -> str:
    """Return the message for a model in which no block takes an SBP form."""
    known = ', '.join(sorted(kind.__name__ for kind in RULES))
    if left:
        return (f'nothing to apply SBP to: filter_fn excluded all {len(left)} blocks that have an '
                f'SBP form, for example {left[0]!r}; return True for at least one of them.')
    return (f'nothing to apply SBP to: the model has no block of a known type ({known}); '
            'register a rule with sbp_tad.sbp.handlers.register_rule, or import '
            'sbp_tad.models for the blocks of MMAction2.')


def remove_sbp(model: nn.Module) -> None:
    """Undo :func:`apply_sbp` and give every block its own class back.

    Raises:
        SBPError: SBP is not applied.
    """
    found = [module for module in model.modules()
             if isinstance(module, (TokenSBP, TokenSBPContainer))]
    if not found:
        raise SBPError('SBP is not applied to this model, so there is nothing to remove; call '
                       'apply_sbp first.')
    for block in found:
        plain_type = block.plain_type
        del block.token_sbp
        cast(nn.Module, block).__class__ = plain_type
    for module in model.modules():
        for key, hook in list(module._forward_pre_hooks.items()):
            if isinstance(hook, ModelState):
                del module._forward_pre_hooks[key]
