"""What a user may choose about stochastic backpropagation, checked once."""
from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

from sbp_tad.errors import UserError
from sbp_tad.sbp.sampling import SAMPLERS


class SBPError(UserError, ValueError):
    """A choice about stochastic backpropagation that cannot work."""


@dataclass(frozen=True)
class SBPConfig:
    """Choices of stochastic backpropagation; nothing downstream re-checks them.

    Args:
        keep_ratio: share ``r`` in (0, 1] of the clips whose backward is kept.
            Of K clips exactly ``max(1, round(r * K))`` are.
        sampler: ``'random'``, ``'uniform'`` (one random start, equal steps)
            or ``'uniform_jitter'`` (one clip at a random place of each of k
            equal parts). Every clip is kept with the same probability k / K.
        rescale: divide the gradient of a kept clip by its probability of
            being kept, so that the parameter gradient is an unbiased estimate
            of the full one. The published codes do not; switch it off to
            follow their learning rates.
        clips_at_once: clips in one pass without gradient; bounds the
            transient memory of the dropped clips.

    Raises:
        SBPError: for a value outside of these.
    """

    keep_ratio: float = 0.25
    sampler: str = 'uniform_jitter'
    rescale: bool = True
    clips_at_once: int = 16

    def __post_init__(self) -> None:
        ratio = self.keep_ratio
        if isinstance(ratio, bool) or not isinstance(ratio, Real) or not math.isfinite(ratio) \
                or not 0 < ratio <= 1:
            raise SBPError(f'keep_ratio must be a number in (0, 1], got {ratio!r}; '
                           'use 1 for full backpropagation.')
        if self.sampler not in SAMPLERS:
            raise SBPError(f'sampler must be one of {sorted(SAMPLERS)}, got {self.sampler!r}.')
        if not isinstance(self.rescale, bool):
            raise SBPError(f'rescale must be True or False, got {self.rescale!r}.')
        if isinstance(self.clips_at_once, bool) or not isinstance(self.clips_at_once, int) \
                or self.clips_at_once < 1:
            raise SBPError('clips_at_once must be a whole number of at least 1, '
                           f'got {self.clips_at_once!r}.')
