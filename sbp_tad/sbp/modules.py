"""Base of the token-level SBP forms of blocks.

A form is a subclass of the plain block. ``apply_sbp`` changes the class of the
module in place, so nothing is copied, renamed or wrapped.
"""
from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sbp_tad.sbp.attention import AttentionOptions
from sbp_tad.sbp.config import SBPError
from sbp_tad.sbp.functions import (
    MLPOptions,
    attention_branch,
    linear_branch,
    mask_gradient,
    mlp_branch,
)
from sbp_tad.sbp.inner_layers import InnerLayers
from sbp_tad.sbp.masks import Grid, draw_kept_tokens
from sbp_tad.sbp.sampling import global_positions, in_backward
from sbp_tad.sbp.token_config import TokenSBPConfig
from sbp_tad.sbp.token_math import Parameters, TensorMap


def outside_graph(function: Callable) -> Callable:
    """Exclude a function from ``torch.compile``: every step must draw new tokens.

    ``torch.compiler.disable`` at import time would import the compiler, which takes seconds,
    also for users who never compile.
    """
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        compiling = 'torch._dynamo' in sys.modules
        return (torch.compiler.disable(function) if compiling else function)(*args, **kwargs)

    run.__dict__['_torchdynamo_disable'] = True
    return run


@dataclass
class ModelState:
    """State that all blocks of one model share; not part of the state dict.

    Args:
        config: the settings.
        seed: first number of every sampling key.
        step: number of training forwards begun; set it when resuming.
        keys: sampling keys of this forward, one per sample, set by a caller
            that counts its own steps. None means (seed, step, place in the
            global batch).
        grid: (T, H, W) of the tokens, set by a model whose blocks receive a
            flat sequence.
    """

    config: TokenSBPConfig
    seed: int = 0
    step: int = 0
    keys: Sequence[tuple[int, ...]] | None = None
    grid: Grid | None = None

    def __call__(self, module: nn.Module, inputs: Any) -> None:
        """Count a training forward; this is a forward pre-hook of the model."""
        if module.training and torch.is_grad_enabled() and not in_backward():
            self.step += 1

    def keys_of(self, batch: int) -> list[tuple[int, ...]]:
        """Return sampling keys of ``batch`` items: the key of the sample and the clip number.

        Raises:
            SBPError: no sample, or the samples do not have equally many items.
        """
        if self.keys is None:
            return [(self.seed, self.step, sample) for sample in global_positions(batch)]
        if not len(self.keys):
            raise SBPError('the batch is empty: SBP draws tokens of at least one sample.')
        num_clips, rest = divmod(batch, len(self.keys))
        if rest:
            raise SBPError(f'a block sees {batch} items at once, but there are {len(self.keys)} '
                           'sampling keys; give one key per sample, and the same number of items '
                           'to each sample.')
        return [(*key, clip) for key in self.keys for clip in range(num_clips)]


@dataclass(frozen=True)
class TokenMask:
    """Kept tokens of a batch in one block.

    Args:
        kept: (B, N) bool on the CPU.
        scale: factor of the branch gradient of a kept token.
        drops_shortcut: whether the residual connection is cut too.
    """

    kept: Tensor
    scale: float
    drops_shortcut: bool

    @outside_graph
    def rows(self, device: torch.device) -> Tensor:
        """Return the kept rows of the flattened tokens: (k,) int64."""
        return self.kept.flatten().nonzero().flatten().to(device, non_blocking=True)

    def transpose(self) -> TokenMask:
        """Return the mask for tokens in the order (N, B)."""
        return replace(self, kept=self.kept.t().contiguous())

    def cut_branch(self, branch: Tensor) -> Tensor:
        """Cut the gradient of a branch (B, ..., C) at dropped tokens; saves no memory itself."""
        return mask_gradient(branch, self._like(branch) * self.scale)

    def cut_shortcut(self, x: Tensor) -> Tensor:
        """Cut the gradient of a block's output at dropped tokens if the shortcut is cut."""
        return mask_gradient(x, self._like(x)) if self.drops_shortcut else x

    def _like(self, x: Tensor) -> Tensor:
        return self.kept.to(x).view(*x.shape[:-1], 1)


@dataclass
class BlockState:
    """State of one block.

    Args:
        model: state that all blocks share.
        number: of the block in the model.
        name: path of the block in the model.
        merges: patch mergings that follow.
        forward: the forward of the model that ``applications`` counts.
        applications: draws in that forward, by branch.
        repeated: whether a backward pass has repeated draws of that forward.
    """

    model: ModelState
    number: int
    name: str = ''
    merges: int = 0
    forward: tuple[Any, ...] | None = None
    applications: dict[int, int] = field(default_factory=dict)
    repeated: bool = False

    def place(self, branch: int) -> tuple[int, ...]:
        """Return the part of a sampling key for this application of the block.

        A block that is applied several times in one forward draws a mask for
        each application. A forward that activation checkpointing repeats takes
        the mask of the original.

        Raises:
            SBPError: a repeated forward of a block with several applications.
        """
        repeats = in_backward()
        current = (self.model.step, tuple(self.model.keys or ()))
        if not repeats and (current != self.forward or self.repeated):
            self.forward, self.repeated = current, False
            self.applications.clear()
        count = self.applications.get(branch, 0)
        if not repeats:
            self.applications[branch] = count + 1
            return (self.number, branch, count) if count else (self.number, branch)
        self.repeated = True
        if count > 1:
            raise SBPError(
                f'block {self.name!r} is applied {count} times in one forward with token-level SBP '
                'and repeated by activation checkpointing, which does not tell its applications '
                'apart; leave the block out (filter_fn, token_blocks) or do not checkpoint it.')
        return self.number, branch


class TokenSBP(nn.Module):
    """Mixin of a block that draws the kept tokens.

    Attributes:
        plain_type: the class without SBP.
        has_shortcut: whether the residual connection is inside the block.
        inner_layers: the layers inside the block, as the form expects them.
        token_sbp: set by ``apply_sbp``.
    """

    plain_type: type[nn.Module]
    has_shortcut = True
    inner_layers: ClassVar[InnerLayers] = InnerLayers()
    token_sbp: BlockState

    @property
    def is_stochastic(self) -> bool:
        """True if this forward drops part of the backward."""
        return (self.training and torch.is_grad_enabled()
                and self.token_sbp.model.config.keep_ratio < 1)

    @outside_graph
    def draw_mask(self, batch: int, grid: Grid, branch: int = 0) -> TokenMask:
        """Draw the kept tokens of ``batch`` samples from (key of the sample, block, branch).

        Each branch has its own mask. If two branches shared a mask, a gradient
        through both would be kept once but scaled twice.

        Raises:
            SBPError: a layer inside the block is no longer a plain one.
        """
        if branch == 0:
            self.inner_layers.check(self, self.token_sbp.name)
        state, config = self.token_sbp.model, self.token_sbp.model.config
        dropped = config.shortcut == 'dropped'
        place = (0, 0) if dropped else self.token_sbp.place(branch)  # dropped: one mask for all
        keys = [(*key, *place) for key in state.keys_of(batch)]
        kept = draw_kept_tokens(grid, config.keep_ratio, config.mask, keys,
                                self.token_sbp.merges if dropped else 0)
        kept = kept.reshape(batch, -1)
        scale = kept.numel() / int(kept.sum()) if config.rescaled else 1.0
        return TokenMask(kept, scale, dropped)

    def draw_sequence_mask(self, x: Tensor, branch: int = 0) -> TokenMask:
        """Draw the kept tokens of a sequence (B, N, C), on the grid of the model if it is set."""
        grid = self.token_sbp.model.grid
        if grid is None or math.prod(grid) != x.shape[1]:
            grid = (1, 1, x.shape[1])
        return self.draw_mask(len(x), grid, branch)


class TokenSBPContainer(nn.Module):
    """Mixin of a module that tells its blocks the grid of their tokens.

    Attributes:
        plain_type: the class without SBP.
        token_sbp: set by ``apply_sbp``.
    """

    plain_type: type[nn.Module]
    token_sbp: BlockState

    def prepare_blocks(self) -> None:
        """Prepare the blocks once every form is in place; does nothing by default."""


@dataclass(frozen=True)
class Windows:
    """Positions of the tokens of a batch in windows.

    Args:
        slots: (W, L) int64 on the CPU, token row of every place, -1 for padding.
        device_slots: the same on the device.
        places: (n,) int64 on the device, flat place of every token.
    """

    slots: Tensor
    device_slots: Tensor
    places: Tensor

    @classmethod
    def from_slots(cls, slots: Tensor, device: torch.device) -> Windows:
        """Make windows of ``slots``, in which every token has exactly one place."""
        flat = slots.flatten()
        places = flat.argsort()[int((flat < 0).sum()):]
        return cls(slots, slots.to(device), places.to(device))


def parameters_of(layer: nn.LayerNorm | nn.Linear | None) -> Parameters:
    """Return weight and bias of a layer, None for an absent one."""
    return (None, None) if layer is None else (layer.weight, layer.bias)


def active_dropout(layer: nn.Module) -> nn.Dropout | None:
    """Return a dropout layer that is active, otherwise None."""
    return layer if isinstance(layer, nn.Dropout) and layer.training and layer.p > 0 else None


def run_mlp(x: Tensor, mask: TokenMask, norm: nn.LayerNorm | None, first: nn.Linear,
            activation: TensorMap, second: nn.Linear, dropouts: tuple[nn.Module, nn.Module],
            gamma: Tensor | None = None) -> Tensor:
    """Compute ``gamma * drop(second(drop(activation(first(norm(x))))))`` of x (..., C)."""
    options = MLPOptions(
        kept=mask.rows(x.device), gradient_scale=mask.scale, eps=None if norm is None else norm.eps,
        activation=activation,
        dropouts=(active_dropout(dropouts[0]), active_dropout(dropouts[1])))
    return mlp_branch(x, parameters_of(norm), parameters_of(first), parameters_of(second), gamma,
                      options)


def run_linear(x: Tensor, mask: TokenMask, layer: nn.Linear) -> Tensor:
    """Apply the last layer of a branch to x (..., C); backpropagate the kept tokens."""
    return linear_branch(x, layer.weight, layer.bias, mask.rows(x.device), mask.scale)


@outside_graph
def kept_in_windows(kept: Tensor, slots: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Find the kept tokens (n,) bool in windows of ``slots`` (W, L).

    Returns:
        Positions (W, m) in the windows, token rows (W * m,), and (W * m, 1)
        bool, False where a window keeps fewer than m tokens; None instead if
        every window keeps m.
    """
    inside = kept[slots.clamp(min=0)] & (slots >= 0)  # (W, L)
    counts = inside.sum(1, keepdim=True)
    most = int(counts.max())
    positions = inside.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
    valid = torch.arange(most) < counts  # (W, m)
    rows = slots.gather(1, positions).where(valid, 0)
    return positions, rows.flatten(), None if valid.all() else valid.view(-1, 1)


def run_attention(x: Tensor, mask: TokenMask, norm: nn.LayerNorm | None, packed: Parameters,
                  projection: nn.Linear, *, num_heads: int, scale: float, form: str, kv: str,
                  sequence_first: bool = False, windows: Windows | None = None,
                  score_mask: Tensor | None = None, fused_mask: Tensor | None = None,
                  bias: tuple[Tensor, Tensor] | None = None,
                  dropouts: tuple[nn.Module, nn.Module], gamma: Tensor | None = None) -> Tensor:
    """Compute the attention branch of x (..., C).

    ``bias`` is a table (R, h) and its index (L, L). For the other arguments see
    :class:`AttentionOptions` and :func:`attention_branch`.
    """
    slots = torch.arange(mask.kept.numel()).view_as(mask.kept) if windows is None \
        else windows.slots
    positions, rows, valid = kept_in_windows(mask.kept.flatten(), slots)
    table, index = (None, None) if bias is None else bias
    options = AttentionOptions(
        kept=rows.to(x.device), positions=positions.to(x.device),
        valid=None if valid is None else valid.to(x.device),
        slots=None if windows is None else windows.device_slots,
        places=None if windows is None else windows.places, length=slots.shape[1],
        num_heads=num_heads, scale=scale, form=form, kv=kv, gradient_scale=mask.scale,
        eps=None if norm is None else norm.eps, sequence_first=sequence_first, mask=score_mask,
        fused_mask=fused_mask, bias_index=index,
        dropouts=(active_dropout(dropouts[0]), active_dropout(dropouts[1])))
    return attention_branch(x, parameters_of(norm), packed, parameters_of(projection), table,
                            gamma, options)
