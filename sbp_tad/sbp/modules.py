"""Token-wise SBP forms of blocks: the same parameters under the same names.

A form is a subclass of the plain block; ``apply_sbp`` changes the class of the
module in place, so nothing is copied, renamed or wrapped.
"""
from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from sbp_tad.sbp.attention import AttentionOptions
from sbp_tad.sbp.config import SBPError
from sbp_tad.sbp.functions import (
    MLPOptions,
    attention_branch,
    linear_branch,
    mask_gradient,
    mlp_branch,
)
from sbp_tad.sbp.masks import Grid, draw_kept_tokens
from sbp_tad.sbp.token_config import TokenSBPConfig
from sbp_tad.sbp.token_math import Parameters, TensorMap


def outside_graph(function: Callable) -> Callable:
    """Keep ``torch.compile`` out of a function that draws tokens, which every step does anew.

    ``torch.compiler.disable`` itself would import the compiler here, a matter of seconds, for
    those too who never compile.
    """
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        compiling = 'torch._dynamo' in sys.modules
        return (torch.compiler.disable(function) if compiling else function)(*args, **kwargs)

    run._torchdynamo_disable = True
    return run


@dataclass
class ModelState:
    """What all blocks of one applied model share; no part of the state dict.

    Args:
        config: the choices.
        seed: first number of every sampling key.
        step: training forwards begun so far; set it when resuming.
        keys: sampling keys of this forward, one a sample, from whoever keeps
            count itself; None: (seed, step, place in the global batch).
        grid: (T, H, W) of the tokens, where a model tells it to blocks that
            see a flat sequence.
    """

    config: TokenSBPConfig
    seed: int = 0
    step: int = 0
    keys: Sequence[tuple[int, ...]] | None = None
    grid: Grid | None = None

    def __call__(self, module: nn.Module, inputs: Any) -> None:
        """Count a training forward; a forward pre-hook of the applied model."""
        # Within a backward pass it is checkpointing that repeats the last forward.
        repeats = torch._C._current_graph_task_id() != -1
        if module.training and torch.is_grad_enabled() and not repeats:
            self.step += 1

    def keys_of(self, batch: int) -> list[tuple[int, ...]]:
        """Sampling keys of ``batch`` items; the clips of one sample share its key and are numbered.

        Raises:
            SBPError: the items are no whole number of clips a sample.
        """
        if self.keys is None:
            ranked = dist.is_available() and dist.is_initialized()
            rank, world = (dist.get_rank(), dist.get_world_size()) if ranked else (0, 1)
            return [(self.seed, self.step, sample * world + rank) for sample in range(batch)]
        num_clips, rest = divmod(batch, len(self.keys))
        if rest:
            raise SBPError(f'a block sees {batch} items at once, but there are {len(self.keys)} '
                           'sampling keys; give one key a sample, each of equally many items.')
        return [(*key, clip) for key in self.keys for clip in range(num_clips)]


@dataclass(frozen=True)
class TokenMask:
    """The tokens of a batch that one block keeps.

    Args:
        kept: (B, N) bool on the CPU.
        scale: of the gradient of a kept token's branch.
        drops_shortcut: whether the residual connection is cut as well.
    """

    kept: Tensor
    scale: float
    drops_shortcut: bool

    @outside_graph
    def rows(self, device: torch.device) -> Tensor:
        """Kept rows of the flattened tokens: (k,) int64."""
        return self.kept.flatten().nonzero().flatten().to(device, non_blocking=True)

    def transpose(self) -> TokenMask:
        """The mask of tokens in the order (N, B)."""
        return replace(self, kept=self.kept.t().contiguous())

    def cut_branch(self, branch: Tensor) -> Tensor:
        """A branch (B, ..., C) whose gradient is that of the kept tokens; saves what it saved."""
        return mask_gradient(branch, self._like(branch) * self.scale)

    def cut_shortcut(self, x: Tensor) -> Tensor:
        """A block's output, cut at dropped tokens where the shortcut is."""
        return mask_gradient(x, self._like(x)) if self.drops_shortcut else x

    def _like(self, x: Tensor) -> Tensor:
        return self.kept.to(x).view(*x.shape[:-1], 1)


@dataclass
class BlockState:
    """What one block knows: the model's state, its own number, patch mergings to come."""

    model: ModelState
    number: int
    merges: int = 0


class TokenSBP:
    """Mixed into a block: whether SBP acts, and which tokens it keeps now.

    Attributes:
        plain_type: the class without SBP.
        has_shortcut: whether the residual connection is inside of the block.
        token_sbp: set by ``apply_sbp``.
    """

    plain_type: type[nn.Module]
    has_shortcut = True
    token_sbp: BlockState

    @property
    def is_stochastic(self) -> bool:
        """Whether this forward drops part of the backward."""
        return (self.training and torch.is_grad_enabled()
                and self.token_sbp.model.config.keep_ratio < 1)

    @outside_graph
    def draw_mask(self, batch: int, grid: Grid, branch: int = 0) -> TokenMask:
        """The kept tokens of ``batch`` samples, from (key of the sample, block, branch) alone.

        Each branch has a mask of its own: a gradient that passes two branches
        under one mask would be scaled twice where it is kept once.
        """
        state, config = self.token_sbp.model, self.token_sbp.model.config
        dropped = config.shortcut == 'dropped'
        place = (0, 0) if dropped else (self.token_sbp.number, branch)  # one mask for all, or not
        keys = [(*key, *place) for key in state.keys_of(batch)]
        kept = draw_kept_tokens(grid, config.keep_ratio, config.mask, keys,
                                self.token_sbp.merges if dropped else 0)
        kept = kept.reshape(batch, -1)
        scale = kept.numel() / int(kept.sum()) if config.rescaled else 1.0
        return TokenMask(kept, scale, dropped)

    def draw_sequence_mask(self, x: Tensor, branch: int = 0) -> TokenMask:
        """The kept tokens of a sequence (B, N, C), on the model's grid if it has told one."""
        grid = self.token_sbp.model.grid
        if grid is None or math.prod(grid) != x.shape[1]:
            grid = (1, 1, x.shape[1])
        return self.draw_mask(len(x), grid, branch)


class TokenSBPContainer:
    """Mixed into a module that tells its blocks about the grid of their tokens.

    Attributes:
        plain_type: the class without SBP.
        token_sbp: set by ``apply_sbp``.
    """

    plain_type: type[nn.Module]
    token_sbp: BlockState

    def prepare_blocks(self) -> None:
        """Tell the blocks, once every form is in place, what is known beforehand."""


@dataclass(frozen=True)
class Windows:
    """How the tokens of a batch lie in windows.

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
        """Windows of ``slots`` in which every token has exactly one place."""
        flat = slots.flatten()
        places = flat.argsort()[int((flat < 0).sum()):]
        return cls(slots, slots.to(device), places.to(device))


def parameters_of(layer: nn.Module | None) -> Parameters:
    """Weight and bias of a layer, None for what is absent."""
    return (None, None) if layer is None else (layer.weight, layer.bias)


def active_dropout(layer: nn.Module) -> TensorMap | None:
    """The layer where it drops now; None where it does nothing."""
    return layer if isinstance(layer, nn.Dropout) and layer.training and layer.p > 0 else None


def run_mlp(x: Tensor, mask: TokenMask, norm: nn.LayerNorm | None, first: nn.Linear,
            activation: TensorMap, second: nn.Linear, dropouts: tuple[nn.Module, nn.Module],
            gamma: Tensor | None = None) -> Tensor:
    """The branch ``gamma * drop(second(drop(activation(first(norm(x))))))`` of x (..., C)."""
    options = MLPOptions(
        kept=mask.rows(x.device), gradient_scale=mask.scale, eps=None if norm is None else norm.eps,
        activation=activation, dropouts=tuple(active_dropout(layer) for layer in dropouts))
    return mlp_branch(x, parameters_of(norm), parameters_of(first), parameters_of(second), gamma,
                      options)


def run_linear(x: Tensor, mask: TokenMask, layer: nn.Linear) -> Tensor:
    """``layer(x)`` of x (..., C) as the end of a branch, backpropagated at the kept tokens."""
    return linear_branch(x, *parameters_of(layer), mask.rows(x.device), mask.scale)


@outside_graph
def kept_in_windows(kept: Tensor, slots: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Where the kept tokens (n,) bool lie in windows of ``slots`` (W, L).

    Returns:
        positions (W, m) in the windows, token rows (W * m,), and (W * m, 1)
        bool, False where a window keeps fewer than m, or None if none does.
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
    """The attention branch of x (..., C); ``bias`` is a table (R, h) and its index (L, L).

    The others are those of :class:`AttentionOptions` and :func:`attention_branch`.
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
        fused_mask=fused_mask,
        bias_index=index, dropouts=tuple(active_dropout(layer) for layer in dropouts))
    return attention_branch(x, parameters_of(norm), packed, parameters_of(projection), table,
                            gamma, options)
