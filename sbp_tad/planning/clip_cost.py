"""Memory of encoding so many clips, with gradient and without: lines through one and two clips.

Clips are encoded one by one, so what their encoding holds is a line in their
number, which fake tensors (:mod:`sbp_tad.planning.fake_tensors`) give without
computing a clip.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sbp_tad.planning.fake_tensors import LiveMemory
from sbp_tad.planning.saved_memory import meter_saved_memory
from sbp_tad.sbp.deferred import restored_random_state
from sbp_tad.sbp.nested_tensors import Features, list_tensors

EncodeClips = Callable[[int], Features]


@dataclass(frozen=True)
class ClipCost:
    """Bytes for so many clips: ``shared + clips * each``, measured at one and two."""

    shared: int
    each: int

    @classmethod
    def through(cls, one: int, two: int) -> ClipCost:
        """The line through the bytes of one and of two clips."""
        return cls(max(0, 2 * one - two), two - one)

    def bytes(self, num_clips: int) -> int:
        """Of ``num_clips`` clips that are encoded together."""
        return self.shared + num_clips * self.each if num_clips else 0


@dataclass(frozen=True)
class EncodingCost:
    """Of an encoder's clips.

    Args:
        saved: for backward.
        live: the most that is held in forward and backward, ``saved``
            included, gradients of parameters not.
        without_grad: the most that a pass without gradient holds.
    """

    saved: ClipCost
    live: ClipCost
    without_grad: ClipCost


@dataclass(frozen=True)
class StepBytes:
    """What a step holds beside weights: ``saved`` for backward and ``transients`` above it."""

    saved: int
    transients: int

    def times(self, factor: float) -> StepBytes:
        """Of so many such steps together."""
        return StepBytes(round(factor * self.saved), round(factor * self.transients))


def measure_encoding(module: nn.Module, encode: EncodeClips, device: str = 'cpu',
                     amp: bool = False) -> EncodingCost:
    """Run forward and backward of one and of two clips.

    Args:
        module: the encoder, in training mode, see
            :func:`sbp_tad.planning.fake_tensors.shape_twin`.
        encode: number of clips to features that are backpropagated in full.
        device: where the module claims to be.
        amp: in mixed precision.
    """
    steps = [_step_bytes(module, encode, clips, device, amp) for clips in (1, 2)]
    return EncodingCost(*(ClipCost.through(*pair) for pair in zip(*steps)))


def _step_bytes(module: nn.Module, encode: EncodeClips, num_clips: int, device: str, amp: bool
                ) -> tuple[int, int, int]:
    """Saved, live, and live without gradient."""
    def run() -> list[Tensor]:
        dtype = torch.bfloat16 if device == 'cpu' else torch.float16
        with torch.autocast(device, dtype, enabled=amp):
            return list_tensors(encode(num_clips))

    with restored_random_state(torch.device('cpu')):
        with LiveMemory(module) as without_grad, torch.no_grad():
            run()
        # A weight cast without gradient would be found within an outer autocast.
        torch.clear_autocast_cache()
        with LiveMemory(module) as live, meter_saved_memory(module) as saved:
            _backpropagate(run())
        peaks = saved.bytes, live.peak_bytes, without_grad.peak_bytes
        module.zero_grad()
    return peaks


def _backpropagate(features: list[Tensor]) -> None:
    used = [feature for feature in features if feature.requires_grad]
    if used:
        torch.autograd.backward(used, [torch.zeros_like(feature) for feature in used])


def direct_bytes(cost: EncodingCost, num_kept: int, num_dropped: int, clips_without_grad: int,
                 head: StepBytes) -> StepBytes:
    """A step that saves its kept clips at once, and then runs what comes on top, ``head``."""
    saved = cost.saved.bytes(num_kept)
    peak = max(saved + cost.without_grad.bytes(min(num_dropped, clips_without_grad)),
               saved + head.saved + head.transients, cost.live.bytes(num_kept))
    return StepBytes(saved + head.saved, max(0, peak - saved - head.saved))


def deferred_bytes(cost: EncodingCost, num_kept: int, num_clips: int, passes: tuple[int, int],
                   clip_bytes: int, head: StepBytes) -> StepBytes:
    """A step that encodes kept clips again when ``head`` has let go of its own.

    Args:
        cost: of the encoding.
        num_kept, num_clips: clips of the batch, kept and all.
        passes: clips of one pass with gradient and without.
        clip_bytes: frames of a clip; those of all clips are saved.
        head: what comes on top.
    """
    with_grad = min(num_kept, passes[0])
    frames = num_clips * clip_bytes
    # Neighbours come as a view of the frames, which are saved already; others as a copy.
    view = with_grad * clip_bytes if num_kept == num_clips else 0
    saved = frames + max(head.saved, cost.saved.bytes(with_grad) - view)
    peak = frames + max(cost.without_grad.bytes(min(num_clips, passes[1])),
                        head.saved + head.transients, cost.live.bytes(with_grad) - view)
    return StepBytes(saved, max(0, peak - saved))


def largest_fit(fits: Callable[[int], bool], most: int) -> int:
    """The largest of 1 to ``most`` that fits, 0 if none; whatever is below one that fits, fits."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
