"""Random draws per item that depend only on a key, not on the worker or on earlier reads."""
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
    """Index of an item that carries its epoch to the workers."""

    epoch: int

    def __new__(cls, index: int, epoch: int = 0) -> EpochIndex:
        self = super().__new__(cls, index)
        self.epoch = epoch
        return self


class SeededItems:
    """Reader of items whose random draws depend only on (seed, epoch, index).

    Set it as ``dataset.__getitems__``, which PyTorch's loader calls for a
    batch. It works with any data set and with any transform that draws from
    the global state of Python, numpy or torch. The index is that of the
    outermost data set, so each repetition of an item has its own draws.

    Args:
        dataset: data set of the loader.
        seed: seed of the run.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __call__(self, indices: Sequence[EpochIndex]) -> list[Any]:
        """Read the items of a batch."""
        return [self._item(index) for index in indices]

    def _item(self, index: EpochIndex) -> Any:
        with seeded_draws(self.seed, index.epoch, int(index)):
            return self.dataset[int(index)]


@contextmanager
def seeded_draws(*key: int) -> Iterator[None]:
    """Seed random draws on the CPU with ``key`` in this context; restore the states after it."""
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
    """Seed Python, numpy and torch on the CPU with whole numbers of at least 0."""
    seeds = np.random.SeedSequence(key).generate_state(3).tolist()
    random.seed(seeds[0])
    np.random.seed(seeds[1])
    torch.default_generator.manual_seed(seeds[2])


def item_key() -> tuple[int, ...] | None:
    """Return the key of the item that is being read; None outside :func:`seeded_draws`."""
    return _ITEM_KEY.get()
