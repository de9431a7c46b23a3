"""Random draws that follow from a key, whoever reads the item and whatever was read before."""
from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

_ITEM_KEY: ContextVar[tuple[int, ...] | None] = ContextVar('item_key', default=None)


class EpochIndex(int):
    """The index of an item with the epoch that reads it, which travels to the workers with it."""

    epoch: int

    def __new__(cls, index: int, epoch: int = 0) -> EpochIndex:
        self = super().__new__(cls, index)
        self.epoch = epoch
        return self


class SeededItems:
    """Reads items of a data set with draws that follow from (seed, epoch, index) alone.

    Set as ``dataset.__getitems__``, which PyTorch's loader calls for a batch,
    it serves any data set and any transform that draws from the global state
    of Python, numpy or torch. The index is that of the outermost data set, so
    a repeated item is drawn anew each time.

    Args:
        dataset: what the loader reads.
        seed: of the run.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __call__(self, indices: Sequence[EpochIndex]) -> list[Any]:
        """The items of a batch."""
        return [self._item(index) for index in indices]

    def _item(self, index: EpochIndex) -> Any:
        with seeded_draws(self.seed, index.epoch, int(index)):
            return self.dataset[int(index)]


@contextmanager
def seeded_draws(*key: int) -> Iterator[None]:
    """Within, random draws on the CPU follow from ``key``; what was before goes on after."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    token = _ITEM_KEY.set(key)
    seed_global_draws(*key)
    try:
        yield
    finally:
        _ITEM_KEY.reset(token)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def seed_global_draws(*key: int) -> None:
    """Seed Python, numpy and torch on the CPU with whole numbers, none negative."""
    seeds = np.random.SeedSequence(key).generate_state(3).tolist()
    random.seed(seeds[0])
    np.random.seed(seeds[1])
    torch.default_generator.manual_seed(seeds[2])


def item_key() -> tuple[int, ...] | None:
    """The key of the item that is being read; None outside :func:`seeded_draws`."""
    return _ITEM_KEY.get()
