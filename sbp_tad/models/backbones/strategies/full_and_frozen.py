"""Full backpropagation and frozen backbones: the references of every other strategy."""
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from sbp_tad.models.backbones.clip_layout import ClipLayout
from sbp_tad.models.backbones.strategies.base import BlockStrategy, Keys, Strategy
from sbp_tad.sbp import SBPError
from sbp_tad.sbp.nested_tensors import Encoder, Features, encode_in_chunks


class FullStrategy(Strategy):
    """Backpropagate everything: the exact gradient, at full memory and full time."""

    mode: ClassVar[str] = 'full'
    has_keep_ratio: ClassVar[bool] = False

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        """Encode all clips in one pass."""
        return encoder(clips)


class FrozenStrategy(BlockStrategy):
    """Freeze the network or its first parts: no gradient, and no activations, below the rest.

    The usual way to train detectors on fixed features. Frozen everything costs
    a forward without gradient and no activations, but the features do not
    adapt to the data. Frozen parts are in evaluation mode: no dropout, no batch
    statistics. Parts before the first trained one save no activations. A
    frozen part after it still passes the gradient on.

    Args:
        keep_ratio: ignored.
        clips_at_once: clips in one pass without gradient.
        blocks: regular expressions of names of modules or parameters. Each
            must match a whole name, or a name up to a dot: ``['conv1', 'layer[12]']``.
            None freezes everything.
    """

    mode: ClassVar[str] = 'frozen'

    def attach(self, network: nn.Module, layout: ClipLayout) -> None:
        """Freeze the parameters that ``blocks`` names.

        Raises:
            SBPError: a pattern matches nothing.
        """
        self.is_whole = self.blocks is None
        for parameter in frozen_parameters(network, self.blocks):
            parameter.requires_grad_(False)

    def on_train(self, network: nn.Module) -> None:
        """Put frozen modules into evaluation mode."""
        for module in network.modules():
            own = list(module.parameters())
            if own and not any(parameter.requires_grad for parameter in own):
                module.eval()
        if self.is_whole:
            network.eval()  # layers without parameters too

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        """Encode all clips: in one pass, or without gradient if everything is frozen."""
        if not self.is_whole:
            return encoder(clips)
        with torch.no_grad():
            return encode_in_chunks(encoder, clips, self.clips_without_grad)


def frozen_parameters(network: nn.Module, patterns: Sequence[str] | None) -> list[nn.Parameter]:
    """Select parameters whose name, whole or up to a dot, matches a pattern; all for None.

    Raises:
        SBPError: no list of regular expressions, or one that matches nothing.
    """
    named = dict(network.named_parameters())
    if patterns is None:
        return list(named.values())
    if isinstance(patterns, str) or not isinstance(patterns, Sequence) or not patterns:
        raise SBPError('blocks must be a list of at least one name or regular expression, '
                       f'got {patterns!r}.')
    frozen = {}
    for pattern in patterns:
        fitting = {name: parameter for name, parameter in named.items()
                   if re.fullmatch(rf'(?:{pattern})(?:\..*)?', name)}
        if not fitting:
            tops = sorted({name.split('.')[0] for name in named})
            raise SBPError(f'{pattern!r} matches no part of {type(network).__name__}, which has '
                           f'{tops}.')
        frozen.update(fitting)
    return list(frozen.values())
