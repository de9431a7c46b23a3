"""Settings of clip-wise stochastic backpropagation and their checks."""
from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

from sbp_tad.errors import UserError
from sbp_tad.sbp.sampling import SAMPLERS

MODES = ('direct', 'deferred')
GRADIENT_SAMPLER = 'gradient'
# Default numbers of clips in one pass. A pass with gradient holds the activations of
# all layers, a pass without gradient only those of one layer.
DEFAULT_CLIPS_WITH_GRAD = 4
DEFAULT_CLIPS_WITHOUT_GRAD = 16


class SBPError(UserError, ValueError):
    """Invalid setting or use of stochastic backpropagation."""


@dataclass(frozen=True)
class SBPConfig:
    """Settings of clip-wise stochastic backpropagation, checked on construction.

    Args:
        keep_ratio: share ``r`` in (0, 1] of the clips that are backpropagated:
            exactly ``max(1, round(r * K))`` of K clips.
        sampler: ``'random'``, ``'uniform'`` (one random start, equal steps)
            or ``'uniform_jitter'`` (one clip at a random place in each of k
            equal parts). Each keeps every clip with the same probability k / K.
            ``'gradient'`` (deferred only) keeps a clip with a probability
            that grows with the norm of the loss gradient of its features.
        rescale: divide the gradient of a kept clip by its probability of
            being kept. The parameter gradient is then an unbiased estimate of
            the full gradient. The published implementations do not rescale;
            set False to use their learning rates.
        clips_at_once: most clips in one pass without gradient and, in deferred
            mode, in one pass with gradient. It bounds the transient memory.
            None means 16 without and 4 with gradient.
        mode: ``'direct'`` backpropagates the kept clips as one batch and needs
            the share ``r`` of the memory. ``'deferred'`` encodes all clips
            without gradient. It encodes the kept clips again once the loss
            gradient of the features is known. It needs the memory of a few
            clips, independent of K and ``r``.

    Raises:
        SBPError: a value is not one of these.
    """

    keep_ratio: float = 0.25
    sampler: str = 'uniform_jitter'
    rescale: bool = True
    clips_at_once: int | None = None
    mode: str = 'direct'

    @property
    def clips_without_grad(self) -> int:
        """Most clips in one pass without gradient."""
        return self.clips_at_once or DEFAULT_CLIPS_WITHOUT_GRAD

    @property
    def clips_with_grad(self) -> int:
        """Most clips in one pass of the backward in deferred mode."""
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
                           "but mode 'direct' draws first; set mode='deferred' or another sampler.")
        if not isinstance(self.rescale, bool):
            raise SBPError(f'rescale must be True or False, got {self.rescale!r}.')
        clips = 1 if self.clips_at_once is None else self.clips_at_once
        if isinstance(clips, bool) or not isinstance(clips, int) or clips < 1:
            raise SBPError('clips_at_once must be a whole number of at least 1, or None, '
                           f'got {self.clips_at_once!r}.')
