"""DropIT: a layer saves only the largest elements of its input for the gradient of its weight.

Shapes: a layer's input has n items of m elements, of which k are kept.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sbp_tad.models.backbones.clip_layout import ClipLayout
from sbp_tad.models.backbones.strategies.base import Keys, Strategy
from sbp_tad.models.backbones.wrapped_network import PLAIN_CONV_TYPES
from sbp_tad.sbp import SBPError
from sbp_tad.sbp.autocast import cast_like_autocast
from sbp_tad.sbp.frozen_norm import FoldedPair, Geometry, Pair, folded_pair, geometry_of
from sbp_tad.sbp.nested_tensors import Encoder, Features
from sbp_tad.sbp.sampling import keep_count
from sbp_tad.sbp.token_math import linear_backward

INDEX_BYTES = torch.int32.itemsize


def pack_bits(mask: Tensor) -> Tensor:
    """Pack a mask (n, m) bool, eight bits per byte: (n, ceil(m / 8)) uint8."""
    padded = F.pad(mask, (0, -mask.shape[1] % 8)).view(torch.uint8)
    return (padded.unflatten(1, (-1, 8)) * bit_values(mask.device)).sum(2, dtype=torch.uint8)


def unpack_bits(packed: Tensor, length: int) -> Tensor:
    """Unpack the mask (n, ``length``) that :func:`pack_bits` packed."""
    return (packed[:, :, None] & bit_values(packed.device)).bool().flatten(1)[:, :length]


def bit_values(device: torch.device) -> Tensor:
    """Return the powers 1, 2, 4, ... 128 (8,) uint8."""
    return 2 ** torch.arange(8, dtype=torch.uint8, device=device)


def compress(x: Tensor, keep_ratio: float) -> tuple[Tensor, Tensor]:
    """Keep the elements of each item that are largest by magnitude.

    Args:
        x: n items of m elements, (n, ...).
        keep_ratio: share to keep; k is :func:`sbp_tad.sbp.keep_count` of it and m.

    Returns:
        Values (n, k), and their positions in the form that takes fewer bytes:
        a mask of bits (n, ceil(m / 8)) uint8, or, where k is below m / 32,
        indices (n, k) int32.
    """
    rows = x.flatten(1)  # (n, m)
    length = rows.shape[1]
    kept = rows.abs().topk(keep_count(keep_ratio, length), dim=1, sorted=False).indices  # (n, k)
    if INDEX_BYTES * kept.shape[1] < math.ceil(length / 8):
        return rows.gather(1, kept), kept.to(torch.int32)
    mask = torch.zeros_like(rows, dtype=torch.bool).scatter_(1, kept, True)
    return rows[mask].view(kept.shape), pack_bits(mask)


def decompress(values: Tensor, places: Tensor, shape: torch.Size) -> Tensor:
    """Restore a tensor of ``shape`` from :func:`compress`, with zeros for dropped elements."""
    length = math.prod(shape[1:])
    rows = values.new_zeros(len(values), length)
    if places.dtype == torch.int32:
        rows.scatter_(1, places.long(), values)
    else:
        rows.masked_scatter_(unpack_bits(places, length), values)
    return rows.view(shape)


class _Context:
    """Context ``ctx`` of a Function that runs within another one."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.saved_tensors: tuple[Tensor | None, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        self.saved_tensors = tensors


class _SparseInput(torch.autograd.Function):
    """Another Function of an input x and weights that saves less of x.

    Forward: ``function(x, ...)`` unchanged. Backward: the backward of
    ``function``, with zeros for the dropped elements of x, which it needs only
    for the gradients of weights. Saved: the tensors that ``function`` saves,
    where x, the first of them, is compressed by :func:`compress`.
    """

    @staticmethod
    def forward(ctx: Any, function: type[torch.autograd.Function], keep_ratio: float, x: Tensor,
                *inputs: Any) -> Tensor:
        ctx.function, ctx.shape = function, x.shape
        ctx.inner = _Context(ctx.needs_input_grad[2:])
        y = function.forward(ctx.inner, x, *inputs)
        (saved, *others), ctx.inner.saved_tensors = ctx.inner.saved_tensors, ()
        kept = (None, None) if saved is None else compress(saved, keep_ratio)
        ctx.save_for_backward(*kept, *others)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, from_above: Tensor) -> tuple[Tensor | None, ...]:
        values, places, *others = ctx.saved_tensors
        x = None if values is None else decompress(values, places, ctx.shape)
        inner = _Context(ctx.inner.needs_input_grad)
        inner.__dict__.update(ctx.inner.__dict__, saved_tensors=(x, *others))
        return None, None, *ctx.function.backward(inner, from_above)


class _Linear(torch.autograd.Function):
    """``y = W x + b``; ``dx = W' dy``, ``dW = dy x'``, ``db = dy``, summed over all but channels.

    Saved: W, and x if the gradient of W is needed.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, from_above: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        x = None if x is None else x.flatten(0, -2)
        of_x, of_weight, of_bias = linear_backward(from_above.flatten(0, -2), x, weight,
                                                   ctx.needs_input_grad)
        of_x = None if of_x is None else of_x.view(*from_above.shape[:-1], -1)
        return of_x, of_weight, of_bias


class _Convolution(torch.autograd.Function):
    """``y = conv(x, w) + b``; ``dx = conv^T(dy, w)``, dw from x and dy, db the sum of dy.

    Saved: w, and x if the gradient of w is needed.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
                ) -> Tensor:
        ctx.geometry, ctx.input_shape = geometry, x.shape
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        bias = None if bias is None else bias.to(x.dtype)
        return torch.convolution(x, weight.to(x.dtype), bias, *geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, from_above: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        if x is None:  # only its shape matters
            x = from_above.new_empty(1).expand(ctx.input_shape)
        of_x, of_weight, of_bias = torch.ops.aten.convolution_backward(
            from_above, x, weight.to(x.dtype), [len(weight)], *ctx.geometry,
            list(ctx.needs_input_grad[:3]))
        of_weight = None if of_weight is None else of_weight.to(weight.dtype)
        of_bias = None if of_bias is None else of_bias.to(weight.dtype)
        return of_x, of_weight, of_bias, None


class _SignReLU(torch.autograd.Function):
    """``y = max(x, 0)``; dx is dy where y is not 0. Saved: a bit per element, y = 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, inplace: bool) -> Tensor:
        y = x.relu_() if inplace else x.relu()
        if inplace:
            ctx.mark_dirty(x)
        ctx.save_for_backward(pack_bits((y <= 0).flatten()[None]))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, from_above: Tensor) -> tuple[Tensor, None]:
        zero = unpack_bits(ctx.saved_tensors[0], from_above.numel()).view(from_above.shape)
        return from_above.masked_fill(zero, 0), None


@dataclass
class CacheShare:
    """Share of the inputs that the layers of one network save, read in every forward."""

    keep_ratio: float = 1.0

    def applies(self, layer: nn.Module) -> bool:
        """Tell whether ``layer`` drops anything in this forward."""
        return self.keep_ratio < 1 and layer.training and torch.is_grad_enabled()


class SparseLayer:
    """Forward method of a convolution, linear layer or ReLU that saves less."""

    def __init__(self, layer: nn.Module, share: CacheShare) -> None:
        self.layer, self.share = layer, share

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer's output for ``x``."""
        layer = self.layer
        if not self.share.applies(layer):
            return type(layer).forward(layer, x)
        if isinstance(layer, nn.ReLU):
            return _SignReLU.apply(x, layer.inplace)
        x = cast_like_autocast(x)
        function, *rest = (_Linear, ) if isinstance(layer, nn.Linear) else (
            _Convolution, geometry_of(layer))
        return _SparseInput.apply(function, self.share.keep_ratio, x, layer.weight, layer.bias,
                                  *rest)


class SparseFoldedPair(FoldedPair):
    """Convolution with folded normalization that saves less of its input."""

    def __init__(self, parent: nn.Module, pair: Pair, share: CacheShare) -> None:
        super().__init__(parent, pair)
        self.share = share

    def convolve_alone(self, x: Tensor) -> Tensor:
        """Compute the convolution alone, saving a share of its input."""
        return SparseLayer(self.conv, self.share).forward(x)

    def apply(self, *inputs: Any) -> Tensor:
        """Compute the folded pair, saving a share of its input."""
        if not self.share.applies(self.conv):
            return super().apply(*inputs)
        return _SparseInput.apply(self.function, self.share.keep_ratio, *inputs)


def drop_caches(network: nn.Module, share: CacheShare, relu_signs: bool = True) -> int:
    """Let the convolutions and linear layers of a network save a share of their input, in place.

    Parameters and state dict do not change. Convolutions whose padding is not
    a fixed number of zeros save their whole input.

    Args:
        network: module that contains the layers.
        share: read by the layers in every forward.
        relu_signs: let ReLUs save signs instead of their output.

    Returns:
        The number of convolutions and linear layers.

    Raises:
        SBPError: the network has none.
    """
    found = 0
    for layer in network.modules():
        pair = folded_pair(layer)
        if pair is not None and layer is pair.conv:
            pair.remove()
            SparseFoldedPair(pair.parent, Pair(pair.conv_name, pair.norm_name), share).install()
            found += 1
        elif pair is None and can_drop(layer):
            layer.forward = SparseLayer(layer, share).forward
            found += 1
        elif relu_signs and type(layer) is nn.ReLU:
            layer.forward = SparseLayer(layer, share).forward
    if not found:
        raise SBPError(f'{type(network).__name__} has no convolution or linear layer whose saved '
                       "input could be thinned out; choose another mode than 'dropit'.")
    return found


def can_drop(layer: nn.Module) -> bool:
    """Tell whether a layer is linear or a plain convolution."""
    return type(layer) is nn.Linear or type(layer) in PLAIN_CONV_TYPES \
        and layer.padding_mode == 'zeros' and not isinstance(layer.padding, str)


class DropITStrategy(Strategy):
    """Save only the elements of a layer's input that are largest by magnitude.

    Chen et al., "DropIT: Dropping Intermediate Tensors for Memory-Efficient
    DNN Training", ICLR 2023. Convolutions and fully connected layers drop the
    smallest elements of their saved input, and take zeros for them in the
    gradient of the weight. The forward is exact. The gradient of the input
    needs only the weight and stays exact too, so the error does not propagate
    to lower layers. The saved tensors of other layers do not change. The
    authors report equal or better accuracy with up to 90 % dropped: DeiT-S
    fine-tuned on CIFAR-100 89.7 % in full, 90.1 % with 90 % dropped; Faster
    R-CNN on COCO 37.0 and 37.2 AP (tables of github.com/chenjoya/dropit). They
    report 20 % less GPU memory (abstract of arXiv 2202.13808). A step takes
    longer: every layer selects its largest elements.

    The selection is made per item, a row of the layer's input: a frame in a 2D
    network, a clip in a 3D one, a window in Swin's attention. Saved are the
    values and a mask of bits, ``keep_ratio + 1 / 32`` of a float32 input, or
    the values and int32 indices where these take less.

    A ReLU saves its output, which is the tensor that the next convolution
    drops, so memory would grow. With ``relu_signs`` a ReLU saves one bit per
    element instead, with a bit-identical gradient. This is not in the paper.
    Weights that are used without calling their layer (queries, keys and values
    of VideoMAE, ``nn.MultiheadAttention``) save their whole inputs.

    Args:
        keep_ratio: share of an item's elements that is saved; 1 is full
            backpropagation.
        clips_at_once: clips in one pass without gradient.
        relu_signs: see above.
    """

    mode: ClassVar[str] = 'dropit'

    def __init__(self, keep_ratio: float = 0.25, clips_at_once: int | None = None,
                 relu_signs: bool = True) -> None:
        super().__init__(keep_ratio, clips_at_once)
        self.relu_signs = relu_signs
        self.share = CacheShare()

    def attach(self, network: nn.Module, layout: ClipLayout) -> None:
        """Replace the forward methods of the layers."""
        drop_caches(network, self.share, self.relu_signs)

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        """Encode all clips in one pass, whose layers save a share of their input."""
        self.share.keep_ratio = self.config.keep_ratio
        return encoder(clips)
