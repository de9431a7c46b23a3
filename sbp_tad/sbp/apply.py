"""Turn token-level SBP on and off in a model that is there already."""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from sbp_tad.sbp.config import SBPConfig, SBPError
from sbp_tad.sbp.handlers import RULES, form_of
from sbp_tad.sbp.modules import BlockState, ModelState, TokenSBPContainer
from sbp_tad.sbp.token_config import TokenSBPConfig

Filter = Callable[[str, nn.Module], bool]


@dataclass(frozen=True)
class SBPReport:
    """What :func:`apply_sbp` did.

    Args:
        covered: names of the blocks that backpropagate some tokens now.
        left: names of the blocks that have an SBP form but did not pass the filter.
        state: the shared state; its ``step`` counts training forwards.
    """

    covered: tuple[str, ...]
    left: tuple[str, ...]
    state: ModelState

    def __str__(self) -> str:
        return (f'token-level SBP with {self.state.config} on {len(self.covered)} blocks '
                f'({self.covered[0]} ... {self.covered[-1]}), {len(self.left)} left alone')


def apply_sbp(model: nn.Module, config: TokenSBPConfig | SBPConfig,
              filter_fn: Filter | None = None, *, seed: int = 0) -> SBPReport:
    """Backpropagate only some tokens of the transformer blocks of ``model``, in place.

    The forward stays exact, evaluation and ``no_grad`` are untouched, and so
    are parameters, their names and the state dict. Which tokens are kept
    depends on (seed, step, sample, block) alone.

    Args:
        model: any module; its blocks are found by type, see
            :func:`sbp_tad.sbp.handlers.register_rule`.
        config: the choices. Of an ``SBPConfig`` only ``keep_ratio`` and
            ``rescale`` have a meaning for tokens.
        filter_fn: called with name and module of every block; False leaves it alone.
        seed: first number of every sampling key.

    Returns:
        What was covered.

    Raises:
        SBPError: the config is none, nothing matched, the model is wrapped
            for distributed training, or SBP is applied already.
    """
    if isinstance(config, SBPConfig):
        config = TokenSBPConfig(keep_ratio=config.keep_ratio, rescale=config.rescale)
    check_applicable(model, config)
    blocks, containers, left = find_blocks(model, filter_fn)
    if not blocks:
        raise SBPError(no_match(left))
    check_shortcuts(blocks, config)
    state = ModelState(config, seed)
    for number, (module, form) in enumerate([*blocks.values(), *containers]):
        module.token_sbp = BlockState(state, number)
        module.__class__ = form
    for container, _ in containers:
        container.prepare_blocks()
    model.register_forward_pre_hook(state)
    return SBPReport(tuple(blocks), tuple(left), state)


def find_blocks(model: nn.Module, filter_fn: Filter | None) -> tuple[
        dict[str, tuple[nn.Module, type]], list[tuple[nn.Module, type]], list[str]]:
    """Blocks and containers with their forms, and the names of blocks left alone."""
    blocks, containers, left = {}, [], []
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
    """A filter that takes the blocks whose name, or a module's around them, fits a pattern.

    Args:
        model: where the names are looked up.
        patterns: regular expressions that fit a dotted name from its start to
            its end or to one of its dots: ``'layers.0'`` takes all of that
            stage, ``'blocks.1'`` does not take ``blocks.10``.

    Raises:
        SBPError: no list of regular expressions, or one that fits no block.
    """
    listed = isinstance(patterns, (list, tuple)) and all(isinstance(p, str) for p in patterns)
    if not listed or not patterns:
        raise SBPError('expected a list of at least one name or regular expression of blocks, '
                       f'got {patterns!r}.')
    try:
        compiled = [re.compile(rf'(?:{pattern})(?:\..*)?') for pattern in patterns]
    except re.error as error:
        raise SBPError(f'{error.pattern!r} is no regular expression: {error}.') from error
    names = list(find_blocks(model, None)[0])
    for pattern, expression in zip(patterns, compiled):
        if names and not any(map(expression.fullmatch, names)):
            raise SBPError(f'{pattern!r} fits no block; those that have a token-level form are '
                           f'{names[0]!r} ... {names[-1]!r}.')
    return lambda name, _: any(expression.fullmatch(name) for expression in compiled)


def check_applicable(model: nn.Module, config: TokenSBPConfig) -> None:
    """Refuse what :func:`apply_sbp` says it refuses."""
    if not isinstance(config, TokenSBPConfig):
        raise SBPError('config must be a TokenSBPConfig or SBPConfig, '
                       f'got {type(config).__name__}.')
    if isinstance(model, (DistributedDataParallel, DataParallel)):
        raise SBPError(f'the model is wrapped in {type(model).__name__}; call apply_sbp on '
                       'model.module, before wrapping.')
    for name, module in model.named_modules():
        if hasattr(module, 'token_sbp'):
            raise SBPError(f'SBP is applied already (block {name!r}); call remove_sbp(model) '
                           'first to change it.')


def check_shortcuts(blocks: dict[str, tuple[nn.Module, type]], config: TokenSBPConfig) -> None:
    """Refuse to cut a shortcut that lies outside of the block."""
    outside = [name for name, (_, form) in blocks.items() if not form.has_shortcut]
    if config.shortcut == 'dropped' and outside:
        raise SBPError(f"shortcut='dropped' cannot be had at {outside[0]!r}: its residual "
                       "connection lies outside of the block; use shortcut='full', or leave it "
                       'out by filter_fn.')


def no_match(left: list[str]) -> str:
    """The message when no block takes an SBP form."""
    known = ', '.join(sorted(kind.__name__ for kind in RULES))
    if left:
        return (f'nothing to apply SBP to: filter_fn refused all {len(left)} blocks that have an '
                f'SBP form, such as {left[0]!r}; widen it.')
    return (f'nothing to apply SBP to: the model has no block of a known type ({known}); '
            'register a rule with sbp_tad.sbp.handlers.register_rule, or import '
            'sbp_tad.models for the blocks of mmaction.')


def remove_sbp(model: nn.Module) -> None:
    """Undo :func:`apply_sbp`: every block is of its own class again.

    Raises:
        SBPError: SBP is not applied.
    """
    found = [module for module in model.modules() if hasattr(module, 'token_sbp')]
    if not found:
        raise SBPError('there is no SBP to remove; apply_sbp was not called on this model.')
    for module in found:
        module.__class__ = type(module).plain_type
        del module.token_sbp
    for module in model.modules():
        for key, hook in list(module._forward_pre_hooks.items()):
            if isinstance(hook, ModelState):
                del module._forward_pre_hooks[key]
