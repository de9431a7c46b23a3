"""Frozen batch normalization, folded into the preceding convolution at every forward.

With frozen statistics ``BN(conv(x, w) + b) = conv(x, w s) + (b - mean) s + beta``
where ``s = gamma / sqrt(var + eps)``. Parameters, state dict and gradients remain
those of the two layers. Only the input of the convolution is saved for the
backward, which halves the saved bytes of a ResNet.
"""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sbp_tad.sbp.autocast import cast_like_autocast
from sbp_tad.sbp.config import SBPError

Convolution = nn.modules.conv._ConvNd
BatchNorm = nn.modules.batchnorm._BatchNorm

CONV_TYPES = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORM_TYPES = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Pair(NamedTuple):
    """Names, in one parent, of a convolution (``a`` or ``a.b``) and of the norm after it."""

    conv: str
    norm: str


# Stride, padding, dilation, transposed, output padding, groups.
Geometry = tuple[Any, ...]
# The place of the scaling is decided for passes of this many items.
ITEMS_OF_A_PASS = 16

PairRule = Callable[[nn.Module], Iterable[Pair]]


def sequential_pairs(module: nn.Module) -> Iterator[Pair]:
    """Pair neighbours in ``nn.Sequential``."""
    if type(module) is nn.Sequential:
        names = list(module._modules)
        yield from (Pair(*pair) for pair in zip(names, names[1:]))


def conv_module_pairs(module: nn.Module) -> Iterator[Pair]:
    """Pair ``conv`` with its norm in modules like OpenMMLab's ``ConvModule``."""
    order = tuple(getattr(module, 'order', ()))
    name = getattr(module, 'norm_name', None)
    if name in module._modules and 'conv' in module._modules \
            and ('conv', 'norm') in zip(order, order[1:]):
        yield Pair('conv', name)


def numbered_pairs(module: nn.Module) -> Iterator[Pair]:
    """Pair ``conv1`` with ``bn1``, ``conv2`` with ``bn2``, ... as in torchvision's ResNets.

    Use it only for networks that normalize the output of a convolution and
    not its input: the names do not tell. It is not a default rule.
    """
    for name in module._modules:
        norm = name.replace('conv', 'bn')
        if norm != name and norm in module._modules:
            yield Pair(name, norm)


DEFAULT_RULES: tuple[PairRule, ...] = (sequential_pairs, conv_module_pairs)


class _FoldedConvolution(torch.autograd.Function):
    """Convolution and frozen batch normalization as one operation.

    Forward: ``y = conv(x, w s) + (b - mean) s + beta`` with
    ``s = gamma * rsqrt(var + eps)``. Backward, with W the weight gradient of
    ``conv(x, .)`` and D the sum of dy over all but channels:
    ``dx = conv^T(dy, w s)``, ``dw = W s``, ``db = D s``, ``dbeta = D``,
    ``dgamma = (sum(W w) + D (b - mean)) rsqrt(var + eps)``.
    Saved: x, parameters and statistics. A deep layer has more weights than
    outputs; there ``s`` multiplies the outputs and dy instead of ``w``.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, gamma: Tensor | None,
                beta: Tensor | None, mean: Tensor, var: Tensor, eps: float,
                geometry: Geometry) -> Tensor:
        ctx.eps, ctx.geometry, ctx.input_shape = eps, geometry, x.shape
        # The input is not needed if neither weight nor scale is trained.
        x_needed = ctx.needs_input_grad[1] or ctx.needs_input_grad[3]
        ctx.save_for_backward(x if x_needed else None, weight, bias, gamma, mean, var)
        scale = fold_scale(gamma, var, eps)
        shift = -mean * scale if bias is None else (bias - mean) * scale
        if beta is not None:
            shift = shift + beta
        if has_more_weights(weight, x.shape, geometry):
            y = torch.convolution(x, weight.to(x.dtype), None, *geometry)
            return y.mul_(along(1, scale, y)).add_(along(1, shift, y))
        return torch.convolution(x, (weight * along(0, scale, weight)).to(x.dtype),
                                 shift.to(x.dtype), *geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, from_above: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, gamma, mean, var = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, needs_gamma, needs_beta = ctx.needs_input_grad[:5]
        scale = fold_scale(gamma, var, ctx.eps)
        if x is None:  # only the shape matters
            x = from_above.new_empty(1).expand(ctx.input_shape)
        of_x = of_gamma = None
        if needs_x:
            of_x = _gradient_of_input(from_above, x, weight, scale, ctx.geometry)
        _, of_folded, total = torch.ops.aten.convolution_backward(
            from_above, x, weight.to(x.dtype), [len(weight)], *ctx.geometry,
            [False, needs_weight or needs_gamma, needs_bias or needs_gamma or needs_beta])
        if of_folded is not None:
            of_folded = of_folded.to(weight.dtype)  # W
        if total is not None:
            total = total.to(weight.dtype)  # D
        if needs_gamma:
            offset = -mean if bias is None else bias - mean
            products = row_products(of_folded, weight)
            of_gamma = (products + total * offset) * torch.rsqrt(var + ctx.eps)
        return (of_x, of_folded.mul_(along(0, scale, weight)) if needs_weight else None,
                total * scale if needs_bias else None, of_gamma, total if needs_beta else None,
                None, None, None, None)


def _gradient_of_input(from_above: Tensor, x: Tensor, weight: Tensor, scale: Tensor,
                       geometry: Geometry) -> Tensor:
    """Compute ``conv^T(dy, w s)``, scaling the smaller of both tensors."""
    if has_more_weights(weight, x.shape, geometry):
        from_above = from_above * along(1, scale, from_above)
    else:
        weight = weight * along(0, scale, weight)
    return torch.ops.aten.convolution_backward(
        from_above, x, weight.to(x.dtype), [len(weight)], *geometry, [True, False, False])[0]


def geometry_of(conv: Convolution) -> Geometry:
    """Return the arguments of ``torch.convolution`` after input, weight and bias."""
    return (conv.stride, conv.padding, conv.dilation, False, (0, ) * len(conv.stride), conv.groups)


def has_more_weights(weight: Tensor, input_shape: Sequence[int], geometry: Geometry) -> bool:
    """Tell whether a convolution has more weights than outputs in a usual pass.

    The number of items in the current pass does not count: all passes of a
    step must give bit-identical results.
    """
    positions = math.prod(input_shape[2:]) / math.prod(geometry[0])
    return weight[0].numel() > ITEMS_OF_A_PASS * positions


def fold_scale(gamma: Tensor | None, var: Tensor, eps: float) -> Tensor:
    """Compute ``s`` (C,) of the module docstring."""
    scale = torch.rsqrt(var + eps)
    return scale if gamma is None else scale * gamma


def along(dimension: int, values: Tensor, like: Tensor) -> Tensor:
    """Reshape ``values`` (C,) to broadcast along ``dimension`` of ``like``."""
    shape = [1] * like.ndim
    shape[dimension] = -1
    return values.to(like.dtype).view(shape)


def row_products(a: Tensor, b: Tensor) -> Tensor:
    """Sum ``a * b`` (C, ...) over all dimensions but the first: (C,), without a copy."""
    return torch.bmm(a.flatten(1)[:, None], b.flatten(1)[:, :, None]).flatten()


class FoldedPair:
    """Folded forward methods of a convolution and its frozen normalization.

    It folds while the convolution is in training mode and the normalization is
    not; otherwise both layers compute as usual. It stores ``parent`` and the
    names, so that it notices a normalization that is replaced later.
    """

    function: ClassVar[type[torch.autograd.Function]] = _FoldedConvolution

    def __init__(self, parent: nn.Module, pair: Pair) -> None:
        self.parent = parent
        self.conv_name, self.norm_name = pair
        self.conv = cast(Convolution, parent.get_submodule(pair.conv))
        self.norm = cast(BatchNorm, parent.get_submodule(pair.norm))
        self.output: Tensor | None = None  # normalized, for ``normalize``
        self.is_used = [False]  # whether ``normalize`` has received that output

    def install(self) -> None:
        """Replace both forward methods."""
        self.conv.__dict__['forward'] = self.convolve
        self.norm.__dict__['forward'] = self.normalize

    def remove(self) -> None:
        """Restore the forward methods of both layers."""
        del self.conv.__dict__['forward'], self.norm.__dict__['forward']

    def convolve(self, x: Tensor) -> Tensor:
        """Forward of the convolution: its output, already normalized if the pair is folded now."""
        conv, norm = self.conv, self.norm
        self.output = None  # left by a forward that failed before the normalization
        if not conv.training or norm.training or self.parent._modules[self.norm_name] is not norm:
            return self.convolve_alone(x)
        self.output = self.apply(cast_like_autocast(x), conv.weight, conv.bias, norm.weight,
                                 norm.bias, norm.running_mean, norm.running_var, norm.eps,
                                 geometry_of(conv))
        self.is_used = [False]
        if self.output.requires_grad and not torch.compiler.is_compiling():
            self.output.register_hook(partial(self.check_used, self.is_used))
        return self.output

    def check_used(self, is_used: list[bool], gradient: Tensor) -> None:
        """Check in the backward pass that the output has gone through the normalization.

        Raises:
            SBPError: another layer has used it, which expects it without normalization.
        """
        if not is_used[0]:
            raise SBPError(f'the output of {self.conv_name!r} is used without '
                           f'{self.norm_name!r}, so the two cannot be folded; remove the pair '
                           'from the rules, or do not fold (fold_bn=False).')

    def convolve_alone(self, x: Tensor) -> Tensor:
        """Compute the convolution alone."""
        return type(self.conv).forward(self.conv, x)

    def apply(self, *inputs: Any) -> Tensor:
        """Compute the convolution with the normalization folded in."""
        return self.function.apply(*inputs)

    def normalize(self, x: Tensor) -> Tensor:
        """Forward of the normalization: return the output of :meth:`convolve` unchanged.

        Raises:
            SBPError: another operation changed the output in between.
        """
        if self.output is None or not self.conv.training or self.norm.training:
            return type(self.norm).forward(self.norm, x)
        expected, self.output, self.is_used[0] = self.output, None, True
        if x is not expected:
            raise SBPError(f'the input of {self.norm_name!r} is not the output of '
                           f'{self.conv_name!r}, so the two cannot be folded; remove the pair '
                           'from the rules, or do not fold (fold_bn=False).')
        return x

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, 'output': None}


def folded_pair(module: nn.Module) -> FoldedPair | None:
    """Return the folded pair of a convolution or normalization, or None."""
    owner = getattr(module.__dict__.get('forward'), '__self__', None)
    return owner if isinstance(owner, FoldedPair) else None


def can_fold(conv: nn.Module, norm: nn.Module, conv_types: Sequence[type]) -> bool:
    """Tell whether two layers are a plain convolution and its batch normalization."""
    return type(conv) in conv_types and type(norm) in NORM_TYPES \
        and norm.num_features == conv.out_channels and norm.running_mean is not None \
        and conv.padding_mode == 'zeros' and not isinstance(conv.padding, str) \
        and 'forward' not in conv.__dict__ and 'forward' not in norm.__dict__


def shared_layers(module: nn.Module) -> set[int]:
    """Return the ids of layers that several modules contain, which may use them differently."""
    places = Counter(id(child) for parent in module.modules()
                     for child in parent._modules.values())
    return {layer for layer, count in places.items() if count > 1}


def find_pairs(module: nn.Module, rules: Sequence[PairRule] = DEFAULT_RULES,
               conv_types: Sequence[type] = CONV_TYPES) -> list[tuple[nn.Module, Pair]]:
    """Find all pairs that can be folded, with the parent of each.

    A layer that several modules contain is not folded.

    Args:
        module: searched with all of its submodules.
        rules: each yields pairs of consecutive layers of one module.
        conv_types: exact types that compute a plain convolution.
    """
    found: list[tuple[nn.Module, Pair]] = []
    taken = shared_layers(module)
    for parent in module.modules():
        for pair in (pair for rule in rules for pair in rule(parent)):
            conv, norm = (parent.get_submodule(name) for name in pair)
            if can_fold(conv, norm, conv_types) and not taken & {id(conv), id(norm)}:
                taken |= {id(conv), id(norm)}
                found.append((parent, pair))
    return found


def fold_frozen_norm(module: nn.Module, rules: Sequence[PairRule] = DEFAULT_RULES,
                     conv_types: Sequence[type] = CONV_TYPES) -> int:
    """Fold frozen batch normalization into the preceding convolutions, in place.

    A pair is folded while its convolution is in training mode and its
    normalization in evaluation mode; each forward decides anew. Hooks on such
    a convolution see normalized outputs. Second-order gradients are not
    supported.

    Args:
        module, rules, conv_types: see :func:`find_pairs`.

    Returns:
        The number of pairs.

    Raises:
        SBPError: the module is already folded, or has no pair.
    """
    if any(folded_pair(layer) for layer in module.modules()):
        raise SBPError('batch normalization is already folded; call unfold_frozen_norm before '
                       'you fold by other rules.')
    pairs = find_pairs(module, rules, conv_types)
    if not pairs:
        raise SBPError(f'{type(module).__name__} has no convolution followed by batch '
                       'normalization that the rules find; add a rule that yields the names of '
                       'such pairs, or do not fold (fold_bn=False).')
    for parent, pair in pairs:
        FoldedPair(parent, pair).install()
    return len(pairs)


def unfold_frozen_norm(module: nn.Module) -> int:
    """Undo :func:`fold_frozen_norm` and return the number of pairs.

    Raises:
        SBPError: nothing is folded.
    """
    pairs = {id(pair): pair for pair in map(folded_pair, module.modules()) if pair}
    if not pairs:
        raise SBPError('no batch normalization is folded, so there is nothing to undo; call '
                       'fold_frozen_norm first.')
    for pair in pairs.values():
        pair.remove()
    return len(pairs)
