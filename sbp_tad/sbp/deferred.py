"""Clip-wise SBP in deferred mode: encode the kept clips again once dL/dfeature is known.

The forward encodes all clips without gradient. The backward receives the gradient of
the features and encodes the kept clips again with gradient, a few at a time. It weights
each clip and returns the sum of the parameter gradients to autograd. The memory is that
of a few clips, independent of the number of clips and of the keep ratio.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sbp_tad.sbp.autocast import autocast_dtype
from sbp_tad.sbp.config import SBPError
from sbp_tad.sbp.modules import TokenSBP
from sbp_tad.sbp.nested_tensors import (
    Encoder,
    Features,
    encode_in_chunks,
    list_tensors,
    map_tensors,
)

# Maps the gradients of the features (None where the loss did not use a feature) to the
# kept clips (N,) bool and the weight of each clip's gradient (N,).
ChooseClips = Callable[[Sequence[Tensor | None]], 'tuple[Tensor, Tensor]']


def get_random_state(device: torch.device) -> tuple[Tensor, ...]:
    """Return the state of the CPU's random generator and of the device's, if it is another."""
    states: tuple[Tensor, ...] = (torch.get_rng_state(), )
    if device.type != 'cpu':
        states += (getattr(torch, device.type).get_rng_state(device), )
    return states


def set_random_state(states: tuple[Tensor, ...], device: torch.device) -> None:
    """Restore the state that :func:`get_random_state` returned."""
    torch.set_rng_state(states[0])
    if device.type != 'cpu':
        getattr(torch, device.type).set_rng_state(states[1], device)


@contextmanager
def restored_random_state(device: torch.device) -> Iterator[None]:
    """Restore the random state after the block."""
    before = get_random_state(device)
    try:
        yield
    finally:
        set_random_state(before, device)


def same_autocast(device: torch.device) -> Callable[[], torch.autocast]:
    """Return a factory of contexts with the current autocast state, for the backward pass."""
    dtype = autocast_dtype(device.type)
    return lambda: torch.autocast(device.type, dtype, enabled=dtype is not None)


@contextmanager
def replaced_parameters(module: nn.Module, replacements: dict[int, nn.Parameter]) -> Iterator[None]:
    """Replace parameters of ``module`` inside the block, by the ``id`` of the original."""
    places = [(layer, name, parameter) for layer in module.modules()
              for name, parameter in layer._parameters.items() if id(parameter) in replacements]
    try:
        for layer, name, parameter in places:
            # Use setattr: recurrent layers hold further references to their weights.
            setattr(layer, name, replacements[id(parameter)])
        yield
    finally:
        for layer, name, parameter in places:
            setattr(layer, name, parameter)


@dataclass
class Pass:
    """Clips of one encoder call, and the random state before it."""

    index: Tensor  # (n,)
    random_state: tuple[Tensor, ...] | None  # None: the encoder drew no random numbers


class DeferredEncoding:
    """Record of a forward pass that allows to encode its kept clips again identically.

    Args:
        encoder: maps (n, ...) clips to features, a nest of (n, ...) tensors.
        module: holds the parameters that the encoder uses.
        clips_with_grad, clips_without_grad: most clips in one pass.
    """

    def __init__(self, encoder: Encoder, module: nn.Module, clips_with_grad: int,
                 clips_without_grad: int) -> None:
        self.encoder = encoder
        self.module = module
        self.clips_with_grad = clips_with_grad
        self.clips_without_grad = clips_without_grad
        self.passes: list[Pass] = []

    @torch.no_grad()
    def encode(self, clips: Tensor, kept: Tensor | None) -> Features:
        """Encode all clips (N, ...) without gradient.

        If the encoder draws random numbers (dropout, drop-path), a pass can
        only be repeated with the same clips. Kept clips (N,) bool then run in
        passes of the backward's size. With ``kept=None`` any clip may be kept
        later, so each clip runs in its own pass.
        """
        self.context = same_autocast(clips.device)
        self.passes = []
        if kept is None:
            places = [(torch.arange(len(clips)), 1)]
        else:
            places = [(kept.nonzero().flatten(), self.clips_with_grad),
                      ((~kept).nonzero().flatten(), self.clips_without_grad)]
        places = [(index, limit) for index, limit in places if len(index)]
        features = [self._encode_part(clips, index, limit) for index, limit in places]
        # A cached cast made inside no_grad would remove the gradient of a shared weight.
        torch.clear_autocast_cache()
        if len(places) == 1:
            return features[0]
        order = torch.cat([index for index, _ in places]).argsort().to(clips.device)
        return map_tensors(lambda *parts: torch.cat(parts).index_select(0, order), *features)

    def _encode_part(self, clips: Tensor, index: Tensor, random_limit: int) -> Features:
        """Encode clips ``index``, at most ``random_limit`` per pass with random numbers."""
        parts, start, size = [], 0, self.clips_without_grad
        while start < len(index):
            chosen = index[start:start + size]
            before = get_random_state(clips.device)
            features = self.encoder(select(clips, chosen))
            after = get_random_state(clips.device)
            drew = any(not torch.equal(a, b) for a, b in zip(before, after))
            if drew and len(chosen) > random_limit:
                set_random_state(before, clips.device)
                size = random_limit
                continue
            check_rows(features, len(chosen))
            parts.append(features)
            self.passes.append(Pass(chosen, before if drew else None))
            start += len(chosen)
        return parts[0] if len(parts) == 1 else map_tensors(lambda *p: torch.cat(p), *parts)

    def kept_passes(self, kept: Tensor) -> list[Pass]:
        """Return passes that cover the kept clips; passes with random numbers stay as recorded."""
        drawn = [one for one in self.passes if one.random_state is not None
                 and kept[one.index].any()]
        left = kept.clone()
        for one in drawn:
            left[one.index] = False
        rest = left.nonzero().flatten().split(self.clips_with_grad)
        return drawn + [Pass(index, None) for index in rest if len(index)]

    def gradients(self, clips: Tensor, parameters: Sequence[Tensor],
                  from_head: Sequence[Tensor | None], kept: Tensor, weights: Tensor,
                  clips_need_gradient: bool) -> tuple[Tensor | None, list[Tensor | None]]:
        """Compute the gradients of the clips and of ``parameters``, summed over the kept clips.

        They accumulate in copies of the parameters. Hooks on the parameters
        (of DDP or of the user) therefore run once, on the sum.
        """
        twins = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in parameters}
        of_clips = torch.zeros_like(clips) if clips_need_gradient else None
        with restored_random_state(clips.device), torch.enable_grad(), \
                replaced_parameters(self.module, twins):
            for one in self.kept_passes(kept):
                part = select(clips.detach(), one.index).requires_grad_(clips_need_gradient)
                if one.random_state is not None:
                    set_random_state(one.random_state, clips.device)
                with self.context():
                    features = list_tensors(self.encoder(part))
                self._backward(features, from_head, one.index, weights)
                if of_clips is not None and part.grad is not None:
                    of_clips[one.index.to(clips.device)] = part.grad
        return of_clips, [twins[id(p)].grad for p in parameters]

    @staticmethod
    def _backward(features: list[Tensor], from_head: Sequence[Tensor | None], index: Tensor,
                  weights: Tensor) -> None:
        used = [(feature, select(gradient, index)) for feature, gradient in
                zip(features, from_head) if gradient is not None and feature.requires_grad]
        if not used:
            return
        weight = weights[index]
        scaled = [gradient * weight.to(gradient).reshape(-1, *[1] * (gradient.ndim - 1))
                  for _, gradient in used]
        torch.autograd.backward([feature for feature, _ in used], scaled)


def select(rows: Tensor, index: Tensor) -> Tensor:
    """Select rows ``index`` of a tensor, without a copy if they are consecutive."""
    first, last = int(index[0]), int(index[-1])
    if last - first == len(index) - 1:
        return rows[first:last + 1]
    return rows.index_select(0, index.to(rows.device))


def check_rows(features: Features, num_clips: int) -> None:
    """Check that the features have one row per clip.

    Raises:
        SBPError: they have not; gives the shape.
    """
    for feature in list_tensors(features):
        if feature.ndim < 1 or len(feature) != num_clips:
            raise SBPError('an encoder must return one row of features per clip: expected '
                           f'{num_clips} rows, got shape {tuple(feature.shape)}.')


def check_no_token_level(module: nn.Module) -> None:
    """Refuse token-level SBP inside a network that is encoded again in the backward pass.

    Its blocks would take that for activation checkpointing, and draw the same
    tokens for every clip and every step.

    Raises:
        SBPError: names the first such block.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, TokenSBP) and layer.token_sbp.model.config.keep_ratio < 1:
            raise SBPError(f"mode='deferred' cannot be combined with token-level SBP (block "
                           f"{name!r}), whose tokens would be the same in every step; use "
                           "mode='direct', or call remove_sbp(model).")


class _EncodeAgain(torch.autograd.Function):
    """Features without a gradient, with the deferred gradient attached.

    Forward: ``y = features``. Backward, given dL/dy: draw the kept clips S and
    their weights w, then ``dtheta = sum_S w_i (dy_i/dtheta)^T dL/dy_i`` and
    ``dclips_i = w_i (dy_i/dclips_i)^T dL/dy_i``. Saved: clips and parameters.
    """

    @staticmethod
    def forward(ctx: Any, encoding: DeferredEncoding, choose: ChooseClips, num_features: int,
                clips: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.encoding, ctx.choose, ctx.num_features = encoding, choose, num_features
        features, parameters = tensors[:num_features], tensors[num_features:]
        ctx.save_for_backward(clips, *parameters)
        # Detach instead of a view: the head may change the features in place.
        return tuple(feature.detach() for feature in features)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *from_head: Tensor | None) -> tuple[Tensor | None, ...]:
        clips, *parameters = ctx.saved_tensors
        kept, weights = ctx.choose(from_head)
        of_clips, of_parameters = ctx.encoding.gradients(
            clips, parameters, from_head, kept, weights, ctx.needs_input_grad[3])
        return None, None, None, of_clips, *[None] * ctx.num_features, *of_parameters


def encode_deferred(encoder: Encoder, module: nn.Module, clips: Tensor, choose: ChooseClips,
                    kept: Tensor | None = None, *, clips_with_grad: int = 4,
                    clips_without_grad: int = 16) -> Features:
    """Encode every clip, and in the backward pass the kept clips again, with gradient.

    The backward pass repeats the random numbers and the autocast state of the
    forward pass, so dropout and drop-path agree with the features that the
    loss used. The backward may run only once, and with ``create_graph=False``.

    Args:
        encoder: maps (n, ...) clips to a tensor (n, ...) or a nest of those.
        module: the network whose parameters the encoder uses.
        clips: (N, ...).
        choose: maps the gradients of the feature tensors to the kept clips
            (N,) bool and the weight of each (N,), both on the CPU.
        kept: (N,) bool if it is known before the gradient, otherwise None.
        clips_with_grad, clips_without_grad: most clips in one pass.

    Returns:
        Features of all N clips in their order.

    Raises:
        SBPError: the encoder does not return one row per clip, or contains
            token-level SBP.
    """
    if not torch.is_grad_enabled():
        return encode_in_chunks(encoder, clips, clips_without_grad)
    check_no_token_level(module)
    encoding = DeferredEncoding(encoder, module, clips_with_grad, clips_without_grad)
    features = encoding.encode(clips, kept)
    parameters = [p for p in module.parameters() if p.requires_grad]
    leaves = list_tensors(features)
    attached = iter(_EncodeAgain.apply(encoding, choose, len(leaves), clips, *leaves,
                                       *parameters))
    return map_tensors(lambda _: next(attached), features)
