"""Base class of the strategies that train a backbone whose activations do not fit into memory.

Shapes: B samples of K clips each, clips (B * K, C, L, H, W), features (B * K, C', t).
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, ClassVar

from torch import Tensor, nn

from sbp_tad.models.backbones.clip_layout import ClipLayout
from sbp_tad.sbp import SBPConfig, SBPError
from sbp_tad.sbp.nested_tensors import Encoder, Features, encode_in_chunks
from sbp_tad.structures import Window

Keys = Sequence[tuple[int, ...]]


def drop_none(**choices: Any) -> dict[str, Any]:
    """Leave out the choices that are None, so that the defaults of a config apply."""
    return {name: value for name, value in choices.items() if value is not None}


@dataclass(frozen=True)
class StrategyConfig:
    """Name of a strategy and the share of the work that it keeps.

    Args:
        mode: name of the strategy.
        keep_ratio: share in (0, 1] of what the strategy thins out; 1 where it
            thins out nothing.

    Raises:
        SBPError: a keep ratio outside (0, 1].
    """

    mode: str
    keep_ratio: float = 1.0

    def __post_init__(self) -> None:
        ratio = self.keep_ratio
        if isinstance(ratio, bool) or not isinstance(ratio, Real) or not math.isfinite(ratio) \
                or not 0 < ratio <= 1:
            raise SBPError(f'keep_ratio must be a number in (0, 1], got {ratio!r}.')


class Strategy:
    """One way to train a backbone in limited memory, named by SBPBackbone's ``mode``.

    A subclass sets ``mode`` and implements :meth:`encode`; it overrides the
    other methods where it needs to.

    Args:
        keep_ratio: share of what the strategy thins out; ignored where
            ``has_keep_ratio`` is False, so that a config changes its strategy
            by ``mode`` alone.
        clips_at_once: clips in one pass without gradient.
    """

    mode: ClassVar[str]
    has_keep_ratio: ClassVar[bool] = True
    needs_windows: ClassVar[bool] = False  # the video, and the part of it, of each sample
    windows: Sequence[Window] | None = None  # B, of the current forward

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

    def attach(self, network: nn.Module, layout: ClipLayout) -> None:
        """Prepare the network once, before an optimizer, DDP or EMA sees its parameters.

        Args:
            network: the wrapped network.
            layout: of the clips that it encodes.
        """

    def on_train(self, network: nn.Module) -> None:
        """Restore what must hold each time the network is put into training mode."""

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        """Encode all clips in training, with this strategy's backward.

        Args:
            encoder: (n, C, L, H, W) to (n, C', t); for a batch of clips or
                frames the network's own output.
            clips: (B * K, C, L, H, W), the K clips of a sample side by side.
            keys: B sampling keys, see :func:`sbp_tad.sbp.draw_kept_clips`.
        """
        raise NotImplementedError

    def encode_without_grad(self, encoder: Encoder, clips: Tensor, batch: int) -> Features:
        """Encode all clips in evaluation, or where nothing is backpropagated.

        Args:
            encoder, clips: see :meth:`encode`.
            batch: B.
        """
        return encode_in_chunks(encoder, clips, self.clips_without_grad)

    def check_videos(self, layout: ClipLayout) -> None:
        """Check that the clips are those of a video, in their order.

        Raises:
            SBPError: the network encodes a batch of clips.
        """
        if layout.clip_len is None:
            raise SBPError(f'mode {self.mode!r} needs the clips of a video in their order, which '
                           'a batch of clips is not; set clip_len, or choose another mode.')


class BlockStrategy(Strategy):
    """A strategy that treats some blocks of the network, and has no keep ratio.

    Args:
        keep_ratio: ignored.
        clips_at_once: clips in one pass without gradient.
        blocks: regular expressions of module names; None is the strategy's own choice.
    """

    has_keep_ratio: ClassVar[bool] = False

    def __init__(self, keep_ratio: float = 0.25, clips_at_once: int | None = None,
                 blocks: Sequence[str] | None = None) -> None:
        super().__init__(keep_ratio, clips_at_once)
        self.blocks = blocks
