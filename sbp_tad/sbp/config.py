"""What a user may choose about stochastic backpropagation, checked once."""
from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

from sbp_tad.errors import UserError
from sbp_tad.sbp.sampling import SAMPLERS

MODES = ('direct', 'deferred')
GRADIENT_SAMPLER = 'gradient'
# Clips of one pass where the user does not say. A pass with gradient holds the
# activations of all its clips, one without those of a layer.
DEFAULT_CLIPS_WITH_GRAD = 4
DEFAULT_CLIPS_WITHOUT_GRAD = 16


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
            ``'gradient'`` (deferred only) keeps a clip with a probability
            that grows with the norm of the loss gradient of its features.
        rescale: divide the gradient of a kept clip by its probability of
            being kept, so that the parameter gradient is an unbiased estimate
            of the full one. The published codes do not; switch it off to
            follow their learning rates.
        clips_at_once: clips in one pass without gradient and, deferred, in
            one with; bounds the transient memory. None takes 16 without and 4
            with gradient.
        mode: ``'direct'`` backpropagates the kept clips as one batch: memory
            ``r``. ``'deferred'`` encodes all clips without gradient and the
            kept ones again once the loss gradient of the features is known:
            memory of a few clips whatever their number and ``r``.

    Raises:
        SBPError: for a value outside of these.
    """

    keep_ratio: float = 0.25
    sampler: str = 'uniform_jitter'
    rescale: bool = True
    clips_at_once: int | None = None
    mode: str = 'direct'

    @property
    def clips_without_grad(self) -> int:
        """Clips in one pass without gradient."""
        return self.clips_at_once or DEFAULT_CLIPS_WITHOUT_GRAD

    @property
    def clips_with_grad(self) -> int:
        """Clips in one pass of the deferred form's backward."""
        return self.clips_at_once or DEFAULT_CLIPS_WITH_GRAD

    def __post_init__(self) -> None:
        ratio = self.keep_ratio
        if isinstance(ratio, bool) or not isinstance(ratio, Real) or not math.isfinite(ratio) \
                or not 0 < ratio <= 1:
            raise SBPError(f'keep_ratio must be a number in (0, 1], got {ratio!r}; '
                           'use 1 for full backpropagation.')
        if self.mode not in MODES:
            raise SBPError(f'mode must be one of {list(MODES)}, got {self.mode!r}.')
        samplers = sorted([*SAMPLERS, GRADIENT_SAMPLER])
        if self.sampler not in samplers:
            raise SBPError(f'sampler must be one of {samplers}, got {self.sampler!r}.')
        if self.sampler == GRADIENT_SAMPLER and self.mode != 'deferred':
            raise SBPError("sampler 'gradient' needs the gradient of the features before it draws, "
                           "which mode 'direct' has not; set mode='deferred' or another sampler.")
        if not isinstance(self.rescale, bool):
            raise SBPError(f'rescale must be True or False, got {self.rescale!r}.')
        clips = 1 if self.clips_at_once is None else self.clips_at_once
        if isinstance(clips, bool) or not isinstance(clips, int) or clips < 1:
            raise SBPError('clips_at_once must be a whole number of at least 1, or None, '
                           f'got {self.clips_at_once!r}.')
