"""What a user may choose about token-level stochastic backpropagation, checked once."""
from __future__ import annotations

from dataclasses import dataclass

from sbp_tad.sbp.config import SBPConfig, SBPError

MASKS = ('grid', 'random', 'tube')
KEYS_AND_VALUES = ('full', 'kept')
SHORTCUTS = ('full', 'dropped')


@dataclass(frozen=True)
class TokenSBPConfig:
    """Choices of token-level stochastic backpropagation; nothing downstream re-checks them.

    The forward is always exact. In the backward the residual branches of a
    block, attention and MLP, receive the gradient of the kept tokens only.

    Args:
        keep_ratio: share ``r`` in (0, 1] of the tokens whose branches are
            backpropagated: exactly ``max(1, round(r * N))`` of N places.
        mask: ``'random'`` (any tokens), ``'tube'`` (any places of a frame, the
            same in every frame) or ``'grid'`` (tokens spread evenly over space
            and time, from a random start). Each keeps every token with the
            same probability.
        kv: keys and values receive the gradient of the kept queries at every
            token (``'full'``) or at the kept tokens only (``'kept'``), which
            saves less and is no longer unbiased.
        shortcut: ``'full'`` lets the gradient pass the residual connection at
            every token and draws a new mask for every block; ``'dropped'``
            cuts it at the dropped tokens and keeps the same tokens in every
            block, also through patch merging.
        rescale: multiply the gradient of a kept token's branch by 1 / its
            probability of being kept. With ``shortcut='full'`` and
            ``kv='full'`` the gradient of every parameter is then an unbiased
            estimate of the full one. None: wherever ``shortcut='full'``.

    Raises:
        SBPError: for a value outside of these, or ``rescale`` together with
            ``shortcut='dropped'``.
    """

    keep_ratio: float = 0.25
    mask: str = 'grid'
    kv: str = 'full'
    shortcut: str = 'full'
    rescale: bool | None = None

    def __post_init__(self) -> None:
        SBPConfig(keep_ratio=self.keep_ratio)  # one check of the ratio for both levels
        for name, choices in (('mask', MASKS), ('kv', KEYS_AND_VALUES), ('shortcut', SHORTCUTS)):
            value = getattr(self, name)
            if value not in choices:
                raise SBPError(f'{name} must be one of {choices}, got {value!r}.')
        if self.rescale not in (True, False, None):
            raise SBPError(f'rescale must be True, False or None, got {self.rescale!r}.')
        if self.rescale and self.shortcut == 'dropped':
            raise SBPError("rescale needs shortcut='full': with the shortcut cut as well, one "
                           'token passes every block and would be scaled once a block; set '
                           'rescale=False and scale the learning rate.')

    @property
    def rescaled(self) -> bool:
        """Whether a kept token's gradient is divided by its probability."""
        return self.shortcut == 'full' if self.rescale is None else self.rescale
