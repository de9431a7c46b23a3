"""Draws of items follow from (seed, epoch, index), and leave the global state alone."""
import pickle
import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from sbp_tad.datasets.item_draws import EpochIndex, SeededItems, item_key, seeded_draws
from sbp_tad.datasets.transforms import window_generator


def draws() -> list[float]:
    return [random.random(), np.random.rand(), torch.rand(1).item(), window_generator().random()]


class Draws(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.tensor([index, *draws()], dtype=torch.float64)


def epochs(seed: int, num_workers: int, shuffle_seed: int = 0, first: int = 0) -> list[dict]:
    """Return the draws of each item in epochs ``first`` to 2, by its index."""
    dataset = Draws()
    dataset.__getitems__ = SeededItems(dataset, seed)
    order = random.Random(shuffle_seed)
    found = []
    for epoch in range(first, 3):
        indices = [EpochIndex(index, epoch) for index in order.sample(range(6), 6)]
        loader = DataLoader(dataset, batch_size=2, sampler=indices, num_workers=num_workers)
        found.append({int(row[0]): tuple(row[1:].tolist()) for batch in loader for row in batch})
    return found


@pytest.mark.parametrize('num_workers', [0, 2])
def test_neither_workers_nor_order_nor_a_resume_matter(num_workers):
    whole = epochs(5, num_workers)
    assert whole == epochs(5, 0, shuffle_seed=1)
    assert whole[2:] == epochs(5, num_workers, first=2)


def test_seed_epoch_and_index_do():
    drawn = [numbers for seed in (1, 2) for epoch in epochs(seed, 0) for numbers in epoch.values()]
    for column in zip(*drawn):
        assert len(set(column)) == len(drawn) == 36


def test_an_index_takes_its_epoch_to_another_process():
    index = pickle.loads(pickle.dumps(EpochIndex(7, 3)))
    assert (index, index.epoch, [*range(9)][index]) == (7, 3, 7)


def test_the_global_state_goes_on_as_if_nothing_had_been_drawn():
    results = []
    for number in (0, 3):
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        for item in range(number):
            with pytest.raises(KeyError), seeded_draws(1, 2, item):
                assert item_key() == (1, 2, item)
                raise KeyError(draws())
        assert item_key() is None
        results.append(draws())
    assert results[0] == results[1]
