"""Order of the training items from any iteration of a run on."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, islice, repeat
from typing import Any

from mmengine.dataset import InfiniteSampler
from torch.utils.data import BatchSampler, DataLoader, Sampler

from sbp_tad.datasets.errors import ResumeError
from sbp_tad.datasets.item_draws import EpochIndex

WITHOUT_THE_HOOK = 'To train all the same, set default_hooks.exact_resume=None.'


class ResumableSampler(Sampler):
    """Sampler that yields indices with their epoch and can skip those already read.

    An ``InfiniteSampler`` passes through the data set without end. Each of its
    passes is one epoch, over all processes together.

    Args:
        sampler: an ``InfiniteSampler``, or one with ``set_epoch``, like the
            distributed samplers of mmengine and PyTorch.
        seed: seed of the order; None keeps the sampler's own.

    Attributes:
        skip: number of indices that the next pass skips.

    Raises:
        ResumeError: the sampler has no ``set_epoch``.
    """

    def __init__(self, sampler: Any, seed: int | None = None) -> None:
        self.is_infinite = isinstance(sampler, InfiniteSampler)
        if not hasattr(sampler, 'set_epoch'):
            raise ResumeError(
                f'the order of {type(sampler).__name__} does not depend on seed and epoch only, '
                'since it has no set_epoch(epoch); use DefaultSampler, or InfiniteSampler with '
                f'IterBasedTrainLoop. {WITHOUT_THE_HOOK}')
        if seed is not None:
            sampler.seed = seed
        self.sampler, self.epoch, self.skip = sampler, 0, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; call it before the loader begins to read."""
        self.epoch = epoch
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[EpochIndex]:
        skip, self.skip = self.skip, 0
        for place, index in islice(enumerate(self._from_the_start()), skip, None):
            yield EpochIndex(index, self._epoch_at(place))

    def _from_the_start(self) -> Iterable[int]:
        """Return a new ``InfiniteSampler``: mmengine's loop has begun to read the old one."""
        given = self.sampler
        return type(given)(given.dataset, given.shuffle, given.seed) if self.is_infinite else given

    def _epoch_at(self, place: int) -> int:
        if not self.is_infinite:
            return self.epoch
        return (place * self.sampler.world_size + self.sampler.rank) // self.sampler.size


def make_resumable(loader: DataLoader, seed: int | None = None) -> ResumableSampler:
    """Put a :class:`ResumableSampler` around the sampler of a loader.

    Raises:
        ResumeError: no sampler, one without ``set_epoch``, or an epoch without a batch.
    """
    batches: Any = loader.batch_sampler
    sampler = getattr(batches, 'sampler', None)
    if sampler is None:
        raise ResumeError(f'{type(batches).__name__} has no sampler whose order can '
                          'be resumed; give the training loader batch_size and sampler. '
                          f'{WITHOUT_THE_HOOK}')
    if isinstance(sampler, ResumableSampler):  # of an earlier training with this loader
        sampler = sampler.sampler
    resumable = batches.sampler = ResumableSampler(sampler, seed)
    if not (resumable.is_infinite or len(loader)):
        raise ResumeError(f'{len(sampler)} items give no batch of {batches.batch_size}; '
                          'lower batch_size, set drop_last=False, or check the training set.')
    return resumable


def skip_batches(loader: DataLoader, number: int) -> None:
    """Skip the first ``number`` batches of the next pass over a resumable loader, unread.

    Raises:
        ResumeError: the batch sampler is not a plain ``BatchSampler``.
    """
    if not number:
        return
    batches: Any = loader.batch_sampler
    if type(batches) is not BatchSampler:
        raise ResumeError(f'{type(batches).__name__} cannot be resumed within an epoch, since the '
                          'size of its batches is unknown; resume from the checkpoint '
                          f'of the end of an epoch. {WITHOUT_THE_HOOK}')
    resumable: Any = batches.sampler
    resumable.skip = number * batches.batch_size


def batches_from(loader: DataLoader, iteration: int) -> Iterator[Any]:
    """Yield the batches of a resumable loader for mmengine's ``IterBasedTrainLoop``.

    A resumed loop first takes and drops the batches of all earlier iterations.
    Here those are None, so nothing is decoded for them.
    """
    batches: Any = loader.batch_sampler
    sampler = batches.sampler
    loader._iterator = None  # drop persistent workers that began with another order
    first, done = (0, iteration) if sampler.is_infinite else divmod(iteration, len(loader))
    yield from repeat(None, iteration)
    for epoch in count(first):
        sampler.set_epoch(epoch)
        skip_batches(loader, done)
        done = 0
        yield from loader
