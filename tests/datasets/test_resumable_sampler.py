"""From any iteration on, a resumed training reads the items of the uninterrupted run."""
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from sbp_tad.datasets.errors import ResumeError
from sbp_tad.datasets.item_draws import SeededItems
from sbp_tad.datasets.resumable_sampler import (
    ResumableSampler,
    batches_from,
    make_resumable,
    skip_batches,
)


class Items(Dataset):
    """Items that say their index and draw a number."""

    def __init__(self, size):
        self.size, self.reads = size, 0

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.reads += 1
        return torch.stack([torch.tensor(float(index)), torch.rand(())])


def loader_of(sampler_type, size=7, batch_size=2, num_workers=0, **options):
    """A loader as mmengine builds it, its items seeded."""
    dataset = Items(size)
    dataset.__getitems__ = SeededItems(dataset, 5)
    loader = DataLoader(dataset, batch_size, sampler=sampler_type(dataset, seed=3, **options),
                        num_workers=num_workers, persistent_workers=num_workers > 0)
    make_resumable(loader)
    return loader


def read(loader, iteration, number):
    """The batches from ``iteration`` on, after as many that are none."""
    batches = list(islice(batches_from(loader, iteration), iteration + number))
    assert batches[:iteration] == [None] * iteration
    return [batch.tolist() for batch in batches[iteration:]]


@given(st.sampled_from([DefaultSampler, InfiniteSampler]), st.integers(1, 9), st.integers(1, 4),
       st.integers(0, 20))
@settings(deadline=None, max_examples=40)
def test_batches_from_an_iteration_on_are_those_of_the_whole_run(sampler, size, batch_size,
                                                                 iteration):
    whole = read(loader_of(sampler, size, batch_size), 0, 24)
    loader = loader_of(sampler, size, batch_size)
    assert read(loader, iteration, 24 - iteration) == whole[iteration:]
    assert loader.dataset.reads <= batch_size * (24 - iteration)


@pytest.mark.parametrize('sampler', [DefaultSampler, InfiniteSampler])
def test_persistent_workers_that_have_begun_begin_anew(sampler):
    loader = loader_of(sampler, num_workers=1)
    assert next(iter(loader)) is not None
    assert read(loader, 5, 3) == read(loader_of(sampler), 5, 3)


def test_an_infinite_sampler_counts_its_passes_as_epochs_over_all_processes(monkeypatch):
    infos = dict(rank=1, world_size=2)
    sampler = InfiniteSampler(range(5), seed=1)
    vars(sampler).update(infos)
    monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: tuple(infos.values()))
    indices = list(islice(ResumableSampler(sampler), 10))
    assert [index.epoch for index in indices] == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    assert len({(int(index), index.epoch) for index in indices}) == 10


def test_by_epochs_the_first_pass_alone_begins_late():
    loader, whole = loader_of(DefaultSampler), loader_of(DefaultSampler)
    skip_batches(loader, 3)
    for epoch, missing in ((1, 3), (2, 0)):
        for each in (loader, whole):
            each.batch_sampler.sampler.set_epoch(epoch)
        assert [batch.tolist() for batch in loader] == [
            batch.tolist() for batch in whole][missing:]


def test_a_seed_that_the_checkpoint_brings_decides_the_order():
    for sampler in (DefaultSampler, InfiniteSampler):
        orders = [list(islice(ResumableSampler(sampler(range(50), seed=built), seed), 50))
                  for built, seed in ((1, None), (2, 1), (2, None))]
        assert orders[0] == orders[1] != orders[2]


def test_a_second_training_with_a_loader_takes_the_sampler_within():
    loader = loader_of(DefaultSampler)
    assert isinstance(make_resumable(loader).sampler, DefaultSampler)


class OwnBatches(BatchSampler):
    """Batches that only their class knows."""


def test_what_could_not_be_resumed_exactly_is_refused():
    data = Items(4)
    with pytest.raises(ResumeError, match='RandomSampler does not depend on seed and epoch'):
        make_resumable(DataLoader(data, sampler=RandomSampler(data)))
    with pytest.raises(ResumeError, match='NoneType has no sampler whose order can be resumed'):
        make_resumable(DataLoader(data, batch_size=None, sampler=DefaultSampler(data)))
    with pytest.raises(ResumeError, match='4 items give no batch of 5; lower batch_size'):
        make_resumable(DataLoader(data, 5, sampler=DefaultSampler(data), drop_last=True))
    own = DataLoader(data, batch_sampler=OwnBatches(DefaultSampler(data), 2, False))
    make_resumable(own)
    skip_batches(own, 0)
    with pytest.raises(ResumeError, match='OwnBatches cannot be resumed within an epoch'):
        skip_batches(own, 1)
