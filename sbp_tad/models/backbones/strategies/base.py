"""What a strategy is: one way to train a backbone whose activations do not fit into memory.

Shapes: B samples of K clips each, clips (B * K, C, L, H, W), features (B * K, C', t).
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from sbp_tad.sbp import SBPConfig, SBPError
from sbp_tad.sbp.nested_tensors import Encoder, Features, encode_in_chunks
from sbp_tad.structures import Window

if TYPE_CHECKING:
    from sbp_tad.models.backbones.sbp_backbone import SBPBackbone

Keys = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class StrategyConfig:
    """Which strategy, and how much of the work it leaves.

    Args:
        mode: its name.
        keep_ratio: share in (0, 1] of what the strategy thins out; 1 where it
            thins out nothing.

    Raises:
        SBPError: for a ratio outside of these.
    """

    mode: str
    keep_ratio: float = 1.0

    def __post_init__(self) -> None:
        ratio = self.keep_ratio
        if isinstance(ratio, bool) or not isinstance(ratio, Real) or not math.isfinite(ratio) \
                or not 0 < ratio <= 1:
            raise SBPError(f'keep_ratio must be a number in (0, 1], got {ratio!r}.')


class Strategy:
    """One way to train a backbone within memory, named by SBPBackbone's ``mode``.

    A subclass gives ``mode`` and :meth:`encode`; the rest where it needs it.

    Args:
        keep_ratio: share of what the strategy thins out; ignored where
            ``has_keep_ratio`` is False, so that the mode is the only word of a
            config that changes.
        clips_at_once: clips in one pass without gradient.
    """

    mode: ClassVar[str]
    has_keep_ratio: ClassVar[bool] = True
    needs_windows: ClassVar[bool] = False  # which part of which video a sample is
    windows: Sequence[Window] | None = None  # B, of the forward that is going on

    def __init__(self, keep_ratio: float = 0.25, clips_at_once: int | None = None) -> None:
        self.config = StrategyConfig(self.mode, keep_ratio if self.has_keep_ratio else 1.0)
        self.clips_without_grad = SBPConfig(clips_at_once=clips_at_once).clips_without_grad

    def set_keep_ratio(self, keep_ratio: float) -> None:
        """Thin out to this share from the next forward on.

        Raises:
            SBPError: this strategy thins out nothing.
        """
        if not self.has_keep_ratio:
            raise SBPError(f'mode {self.mode!r} has no keep ratio that could be set to '
                           f'{keep_ratio!r}; take one that has, such as mode="direct".')
        self.config = replace(self.config, keep_ratio=keep_ratio)

    def attach(self, owner: SBPBackbone) -> None:
        """Prepare the wrapped network, once it is built and before an optimizer looks."""

    def on_train(self, owner: SBPBackbone) -> None:
        """What must hold whenever the network is put into training mode."""

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        """Features of all clips in training, with the backward that the strategy leaves.

        Args:
            encoder: (n, C, L, H, W) to (n, C', t); for a batch of clips or
                frames the network's own output.
            clips: (B * K, C, L, H, W), the K clips of a sample side by side.
            keys: B sampling keys, see :func:`sbp_tad.sbp.draw_kept_clips`.
        """
        raise NotImplementedError

    def encode_without_grad(self, encoder: Encoder, clips: Tensor, batch: int) -> Features:
        """The same in evaluation, or where nothing is backpropagated; ``batch`` is B."""
        return encode_in_chunks(encoder, clips, self.clips_without_grad)


class BlockStrategy(Strategy):
    """A strategy that thins out nothing, of some blocks of the network.

    Args:
        keep_ratio: ignored.
        clips_at_once: clips in one pass without gradient.
        blocks: regular expressions of names; None is the strategy's own choice.
    """

    has_keep_ratio: ClassVar[bool] = False

    def __init__(self, keep_ratio: float = 0.25, clips_at_once: int | None = None,
                 blocks: Sequence[str] | None = None) -> None:
        super().__init__(keep_ratio, clips_at_once)
        self.blocks = blocks


def check_videos(owner: SBPBackbone) -> None:
    """Refuse clips that are not those of a video, in their order.

    Raises:
        SBPError: with what to set.
    """
    if owner.clip_len is None:
        raise SBPError(f'mode {owner.mode!r} needs the clips of a video in their order, which a '
                       'batch of clips is not; set clip_len, or choose another mode.')
