"""Features: a tensor, or nested tuples and lists of tensors."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union

import torch
from torch import Tensor

from sbp_tad.sbp.config import SBPError

Features = Union[Tensor, 'tuple[Features, ...]', 'list[Features]']
Encoder = Callable[[Tensor], Features]


def map_tensors(function: Callable[..., Tensor], *trees: Any) -> Any:
    """Apply ``function`` to corresponding tensors of equally nested tuples and lists."""
    if isinstance(trees[0], Tensor):
        return function(*trees)
    if isinstance(trees[0], (tuple, list)):
        return type(trees[0])([map_tensors(function, *items) for items in zip(*trees)])
    raise SBPError('an encoder must return a tensor or a tuple or list of tensors, '
                   f'got {type(trees[0]).__name__}.')


def list_tensors(tree: Features) -> list[Tensor]:
    """List all tensors in the order of :func:`map_tensors`."""
    tensors: list[Tensor] = []

    def collect(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    map_tensors(collect, tree)
    return tensors


def encode_in_chunks(encoder: Encoder, clips: Tensor, clips_at_once: int) -> Features:
    """Encode ``clips`` (N, ...), at most ``clips_at_once`` at a time, and join the features."""
    parts = [encoder(chunk) for chunk in clips.split(clips_at_once)]
    return parts[0] if len(parts) == 1 else map_tensors(lambda *items: torch.cat(items), *parts)
