"""Stochastic backpropagation as a strategy: clips direct or deferred, or tokens."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from sbp_tad.models.backbones.strategies.base import Keys, Strategy
from sbp_tad.sbp import (SBPConfig, SBPError, TokenSBPConfig, apply_sbp, blocks_named,
                         encode_stochastically)
from sbp_tad.sbp.modules import ModelState
from sbp_tad.sbp.nested_tensors import Encoder, Features

if TYPE_CHECKING:
    from sbp_tad.models.backbones.sbp_backbone import SBPBackbone

TOKEN_MODE = 'token'
TOKEN_OPTIONS = ('mask', 'kv', 'shortcut')


def given(**choices: Any) -> dict[str, Any]:
    """The choices that are not None, which stands for the default of a config."""
    return {name: value for name, value in choices.items() if value is not None}


class ClipStrategy(Strategy):
    """A random part of the clips is backpropagated.

    Args:
        keep_ratio, clips_at_once, sampler, rescale: see
            :class:`sbp_tad.sbp.SBPConfig`; None takes the default there.
    """

    def __init__(self, keep_ratio: float = 0.25, clips_at_once: int | None = None,
                 sampler: str | None = None, rescale: bool | None = None) -> None:
        self.config = SBPConfig(mode=self.mode, keep_ratio=keep_ratio,
                                clips_at_once=clips_at_once,
                                **given(sampler=sampler, rescale=rescale))
        self.clips_without_grad = self.config.clips_without_grad

    def attach(self, owner: SBPBackbone) -> None:
        """Remember whose parameters the gradient is of."""
        self.network = owner.backbone

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        """All clips, a random part of each sample's with gradient."""
        return encode_stochastically(encoder, self.network, clips, len(clips) // len(keys),
                                     self.config, keys)


class DirectStrategy(ClipStrategy):
    """The kept clips are backpropagated as one batch."""

    mode: ClassVar[str] = 'direct'


class DeferredStrategy(ClipStrategy):
    """The kept clips are encoded again once the gradient of the features is known."""

    mode: ClassVar[str] = 'deferred'


class TokenStrategy(Strategy):
    """A random part of the tokens of every clip is backpropagated, in blocks of a transformer.

    Args:
        keep_ratio, rescale: see :class:`sbp_tad.sbp.TokenSBPConfig`.
        clips_at_once: clips in one pass without gradient.
        token: any of ``mask``, ``kv`` and ``shortcut`` there.
        token_blocks: names or regular expressions of the covered blocks; None: all.
    """

    mode: ClassVar[str] = TOKEN_MODE

    def __init__(self, keep_ratio: float = 0.25, clips_at_once: int | None = None,
                 rescale: bool | None = None, token: dict[str, str] | None = None,
                 token_blocks: Sequence[str] | None = None) -> None:
        if token is not None and not (isinstance(token, dict) and set(token) <= set(TOKEN_OPTIONS)):
            raise SBPError(f'token must be a dict of any of {list(TOKEN_OPTIONS)}, got {token!r}; '
                           'keep_ratio and rescale stand beside it.')
        super().__init__(keep_ratio, clips_at_once)
        self.config = TokenSBPConfig(keep_ratio, **(token or {}), **given(rescale=rescale))
        self.token_blocks = token_blocks

    def attach(self, owner: SBPBackbone) -> None:
        """Swap the blocks for their token-level form."""
        covers = None
        if self.token_blocks is not None:
            covers = blocks_named(owner.backbone, self.token_blocks)
        self.state: ModelState = apply_sbp(owner.backbone, self.config, covers).state

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        """All clips in one pass, whose blocks keep a part of the tokens."""
        self.state.config, self.state.keys = self.config, keys
        return encoder(clips)
