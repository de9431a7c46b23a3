"""Memory of encoding clips, with and without gradient: lines through one and two clips.

Clips do not depend on each other, so the memory of encoding them is linear in
their number. Fake tensors (:mod:`sbp_tad.planning.fake_tensors`) give this line
without computing a clip.
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
    """Bytes as a linear function of the clips, ``shared + clips * each``."""

    shared: int
    each: int

    @classmethod
    def through(cls, one: int, two: int) -> ClipCost:
        """Draw the line through the bytes of one and of two clips."""
        return cls(max(0, 2 * one - two), two - one)

    def bytes(self, num_clips: int) -> int:
        """Return the bytes of clips that are encoded together."""
        return self.shared + num_clips * self.each if num_clips else 0


@dataclass(frozen=True)
class EncodingCost:
    """Memory of an encoder's clips.

    Args:
        saved: activations for backward.
        live: peak of forward and backward, with ``saved``, without the
            gradients of parameters.
        without_grad: peak of a pass without gradient.
    """

    saved: ClipCost
    live: ClipCost
    without_grad: ClipCost


@dataclass(frozen=True)
class StepBytes:
    """Bytes of a step besides weights.

    Args:
        saved: activations for backward.
        transients: peak above ``saved``.
    """

    saved: int
    transients: int

    def times(self, factor: float) -> StepBytes:
        """Multiply both by a factor."""
        return StepBytes(round(factor * self.saved), round(factor * self.transients))


def measure_encoding(module: nn.Module, encode: EncodeClips, device: str = 'cpu',
                     amp: bool = False) -> EncodingCost:
    """Measure the encoding of one and of two clips, forward and backward.

    Args:
        module: the encoder, in training mode, see
            :func:`sbp_tad.planning.fake_tensors.shape_twin`.
        encode: number of clips to features that are backpropagated in full.
        device: device type of the module.
        amp: mixed precision.
    """
    steps = [_step_bytes(module, encode, clips, device, amp) for clips in (1, 2)]
    return EncodingCost(*(ClipCost.through(*pair) for pair in zip(*steps)))


def _step_bytes(module: nn.Module, encode: EncodeClips, num_clips: int, device: str, amp: bool
                ) -> tuple[int, int, int]:
    """Return the bytes saved, live, and live without gradient."""
    def run() -> list[Tensor]:
        dtype = torch.bfloat16 if device == 'cpu' else torch.float16
        with torch.autocast(device, dtype, enabled=amp):
            return list_tensors(encode(num_clips))

    with restored_random_state(torch.device('cpu')):
        with LiveMemory(module) as without_grad, torch.no_grad():
            run()
        # An outer autocast would reuse the weights that were cast without gradient.
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
    """Memory of a step of the direct form: all kept clips are saved, then the head runs.

    Args:
        cost: of the encoding.
        num_kept, num_dropped: clips of the batch.
        clips_without_grad: clips in one pass without gradient.
        head: of neck, head and losses.
    """
    saved = cost.saved.bytes(num_kept)
    peak = max(saved + cost.without_grad.bytes(min(num_dropped, clips_without_grad)),
               saved + head.saved + head.transients, cost.live.bytes(num_kept))
    return StepBytes(saved + head.saved, max(0, peak - saved - head.saved))


def deferred_bytes(cost: EncodingCost, num_kept: int, num_clips: int, passes: tuple[int, int],
                   clip_bytes: int, head: StepBytes) -> StepBytes:
    """Memory of a step of the deferred form: kept clips are encoded again after the head.

    Args:
        cost: of the encoding.
        num_kept, num_clips: clips of the batch, kept and all.
        passes: clips in one pass with gradient and without.
        clip_bytes: bytes of a clip's frames; those of all clips are saved.
        head: of neck, head and losses.
    """
    with_grad = min(num_kept, passes[0])
    frames = num_clips * clip_bytes
    # If all clips are kept, a pass takes a view of the saved frames; else it takes a copy.
    view = with_grad * clip_bytes if num_kept == num_clips else 0
    saved = frames + max(head.saved, cost.saved.bytes(with_grad) - view)
    peak = frames + max(cost.without_grad.bytes(min(num_clips, passes[1])),
                        head.saved + head.transients, cost.live.bytes(with_grad) - view)
    return StepBytes(saved, max(0, peak - saved))


def largest_fit(fits: Callable[[int], bool], most: int) -> int:
    """Find the largest number from 1 to ``most`` that fits, by bisection; 0 if none does.

    Args:
        fits: true for every number below one that fits.
        most: the largest to try.
    """
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
