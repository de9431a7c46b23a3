"""Settings of token-level stochastic backpropagation and their checks."""
from __future__ import annotations

from dataclasses import dataclass

from sbp_tad.sbp.config import SBPConfig, SBPError

MASKS = ('grid', 'random', 'tube')
KEYS_AND_VALUES = ('full', 'kept')
SHORTCUTS = ('full', 'dropped')


@dataclass(frozen=True)
class TokenSBPConfig:
    """Settings of token-level stochastic backpropagation, checked on construction.

    The forward is always exact. In the backward the residual branches of a
    block (attention and MLP) receive only the gradient of the kept tokens.

    Args:
        keep_ratio: share ``r`` in (0, 1] of the tokens whose branches are
            backpropagated: exactly ``max(1, round(r * N))`` of N tokens.
        mask: ``'random'`` (random tokens), ``'tube'`` (random places, the same
            in every frame; ``N`` then counts places) or ``'grid'`` (tokens
            spread evenly over space and time, from a random start). Each keeps
            every token with the same probability.
        kv: keys and values receive the gradient of the kept queries at every
            token (``'full'``) or only at the kept tokens (``'kept'``), which
            saves fewer activations but is biased.
        shortcut: ``'full'`` passes the gradient through the residual
            connection at every token and draws a new mask for every block.
            ``'dropped'`` cuts it at the dropped tokens and keeps the same
            tokens in every block, also across patch merging.
        rescale: multiply the branch gradient of a kept token by 1 / its
            probability of being kept. With ``shortcut='full'`` and
            ``kv='full'`` the gradient of every parameter is then an unbiased
            estimate of the full gradient. None means True for
            ``shortcut='full'``.

    Raises:
        SBPError: a value is not one of these, or ``rescale`` is combined with
            ``shortcut='dropped'``.
    """

    keep_ratio: float = 0.25
    mask: str = 'grid'
    kv: str = 'full'
    shortcut: str = 'full'
    rescale: bool | None = None

    def __post_init__(self) -> None:
        SBPConfig(keep_ratio=self.keep_ratio)  # the same check for clips and tokens
        for name, choices in (('mask', MASKS), ('kv', KEYS_AND_VALUES), ('shortcut', SHORTCUTS)):
            value = getattr(self, name)
            if value not in choices:
                raise SBPError(f'{name} must be one of {choices}, got {value!r}.')
        if self.rescale not in (True, False, None):
            raise SBPError(f'rescale must be True, False or None, got {self.rescale!r}.')
        if self.rescale and self.shortcut == 'dropped':
            raise SBPError("rescale=True needs shortcut='full': with shortcut='dropped' a kept "
                           'token passes every block and would be scaled once per block; set '
                           'rescale=False and scale the learning rate.')

    @property
    def rescaled(self) -> bool:
        """True if the gradient of a kept token is divided by its probability."""
        return self.shortcut == 'full' if self.rescale is None else self.rescale
