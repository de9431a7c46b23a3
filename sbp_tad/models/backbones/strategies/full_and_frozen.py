"""Full backpropagation, and none: what every other strategy is measured against."""
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
    """Everything is backpropagated, all activations are kept."""

    mode: ClassVar[str] = 'full'
    has_keep_ratio: ClassVar[bool] = False

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        """Everything in one pass."""
        return encoder(clips)


class FrozenStrategy(BlockStrategy):
    """The network, or its first parts, stays as it was loaded.

    Frozen parts are in evaluation mode: no dropout, no statistics of the
    batch. Parts in front of the first trained one keep no activations; a part
    behind it would still pass the gradient on.

    Args:
        keep_ratio: ignored.
        clips_at_once: clips in one pass without gradient.
        blocks: regular expressions of names of modules or parameters, fitting
            from the start to the end or to a dot: ``['conv1', 'layer[12]']``.
            None freezes everything, and then nothing at all is kept.
    """

    mode: ClassVar[str] = 'frozen'

    def attach(self, network: nn.Module, layout: ClipLayout) -> None:
        """Take the frozen part out of training.

        Raises:
            SBPError: a pattern fits nothing.
        """
        self.is_whole = self.blocks is None
        for parameter in frozen_parameters(network, self.blocks):
            parameter.requires_grad_(False)

    def on_train(self, network: nn.Module) -> None:
        """Frozen modules behave as in evaluation."""
        for module in network.modules():
            own = list(module.parameters())
            if own and not any(parameter.requires_grad for parameter in own):
                module.eval()
        if self.is_whole:
            network.eval()  # layers without parameters too

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        """In one pass what is trained in part; without gradient what is not."""
        if not self.is_whole:
            return encoder(clips)
        with torch.no_grad():
            return encode_in_chunks(encoder, clips, self.clips_without_grad)


def frozen_parameters(network: nn.Module, patterns: Sequence[str] | None) -> list[nn.Parameter]:
    """Parameters whose name fits a pattern up to its end or a dot; all for None.

    Raises:
        SBPError: no list of regular expressions, or one that fits nothing.
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
            raise SBPError(f'{pattern!r} fits no part of {type(network).__name__}, which has '
                           f'{tops}.')
        frozen.update(fitting)
    return list(frozen.values())
