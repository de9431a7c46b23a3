"""Stochastic backpropagation as a strategy: by clips, direct or deferred, or by tokens."""
from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from sbp_tad.models.backbones.clip_layout import ClipLayout
from sbp_tad.models.backbones.strategies.base import Keys, Strategy, drop_none
from sbp_tad.models.backbones.strategies.modes import TOKEN_MODE
from sbp_tad.sbp import (
    SBPConfig,
    SBPError,
    TokenSBPConfig,
    apply_sbp,
    blocks_named,
    encode_stochastically,
)
from sbp_tad.sbp.modules import ModelState
from sbp_tad.sbp.nested_tensors import Encoder, Features

TOKEN_OPTIONS = ('mask', 'kv', 'shortcut')


class ClipStrategy(Strategy):
    """Backpropagate a random part of the clips.

    Cheng et al., "Stochastic Backpropagation: A Memory Efficient Strategy for
    Training Video Models", CVPR 2022. The
    forward is exact. Activations of the dropped clips are never saved.

    Args:
        keep_ratio, clips_at_once, sampler, rescale: see
            :class:`sbp_tad.sbp.SBPConfig`; None takes the default there.
    """

    def __init__(self, keep_ratio: float = 0.25, clips_at_once: int | None = None,
                 sampler: str | None = None, rescale: bool | None = None) -> None:
        self.config = SBPConfig(mode=self.mode, keep_ratio=keep_ratio,
                                clips_at_once=clips_at_once,
                                **drop_none(sampler=sampler, rescale=rescale))
        self.clips_without_grad = self.config.clips_without_grad

    def attach(self, network: nn.Module, layout: ClipLayout) -> None:
        """Keep the network, whose parameters receive the gradient."""
        self.network = network

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        """Encode all clips, a random part of each sample's with gradient."""
        return encode_stochastically(encoder, self.network, clips, len(clips) // len(keys),
                                     self.config, keys)


class DirectStrategy(ClipStrategy):
    """Backpropagate the kept clips as one batch.

    Saves the share ``1 - keep_ratio`` of the activations, and of the time of
    the backward. The kept clips' activations are held together.
    """

    mode: ClassVar[str] = 'direct'


class DeferredStrategy(ClipStrategy):
    """Encode the kept clips a second time, when the gradient of the features is known.

    Holds the activations of a few clips at a time, whatever the keep ratio.
    Costs one more forward of the kept clips.
    """

    mode: ClassVar[str] = 'deferred'


class TokenStrategy(Strategy):
    """Backpropagate a random part of the tokens of every clip, in blocks of a transformer.

    Fang et al., "An In-depth Study of Stochastic Backpropagation", NeurIPS
    2022. Saves most of the activations of the dropped tokens and the time of
    their gradients; the forward is exact.

    Args:
        keep_ratio, rescale: see :class:`sbp_tad.sbp.TokenSBPConfig`.
        clips_at_once: clips in one pass without gradient.
        token: any of ``mask``, ``kv`` and ``shortcut`` there.
        token_blocks: names or regular expressions of the covered blocks; None: all.

    Raises:
        SBPError: ``token`` is no dict of these options.
    """

    mode: ClassVar[str] = TOKEN_MODE

    def __init__(self, keep_ratio: float = 0.25, clips_at_once: int | None = None,
                 rescale: bool | None = None, token: dict[str, str] | None = None,
                 token_blocks: Sequence[str] | None = None) -> None:
        if token is not None and not (isinstance(token, dict) and set(token) <= set(TOKEN_OPTIONS)):
            raise SBPError(f'token must be a dict of any of {list(TOKEN_OPTIONS)}, got {token!r}; '
                           'keep_ratio and rescale stand beside it.')
        super().__init__(keep_ratio, clips_at_once)
        self.config = TokenSBPConfig(keep_ratio, **(token or {}), **drop_none(rescale=rescale))
        self.token_blocks = token_blocks

    def attach(self, network: nn.Module, layout: ClipLayout) -> None:
        """Swap the blocks for their token-level form."""
        covers = None
        if self.token_blocks is not None:
            covers = blocks_named(network, self.token_blocks)
        self.state: ModelState = apply_sbp(network, self.config, covers).state

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        """Encode all clips in one pass, whose blocks keep a part of the tokens."""
        self.state.config, self.state.keys = self.config, keys
        return encoder(clips)
