"""The order in which training reads its items, from any place in the run on."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, islice, repeat
from typing import Any

from mmengine.dataset import InfiniteSampler
from torch.utils.data import BatchSampler, DataLoader, Sampler

from sbp_tad.datasets.errors import ResumeError
from sbp_tad.datasets.item_draws import EpochIndex

WITHOUT_THE_HOOK = 'To train all the same, leave exact_resume out of default_hooks.'


class ResumableSampler(Sampler):
    """Hands on the indices of a sampler with their epoch, and can leave out what was read before.

    An ``InfiniteSampler`` passes through the data set again and again; an
    epoch is such a pass, whatever process reads it.

    Args:
        sampler: an ``InfiniteSampler``, or one that is told its epoch, as
            mmengine's and PyTorch's distributed ones are.
        seed: of its order; None leaves the sampler's own.

    Attributes:
        skip: indices that the next iteration leaves out.

    Raises:
        ResumeError: a sampler whose order does not follow from seed and epoch.
    """

    def __init__(self, sampler: Any, seed: int | None = None) -> None:
        self.is_infinite = isinstance(sampler, InfiniteSampler)
        if not hasattr(sampler, 'set_epoch'):
            raise ResumeError(
                f'the order of {type(sampler).__name__} does not follow from seed and epoch, as it '
                'has no set_epoch(epoch); use DefaultSampler, or InfiniteSampler with '
                f'IterBasedTrainLoop. {WITHOUT_THE_HOOK}')
        if seed is not None:
            sampler.seed = seed
        self.sampler, self.epoch, self.skip = sampler, 0, 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins, before the loader reads from it."""
        self.epoch = epoch
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[EpochIndex]:
        skip, self.skip = self.skip, 0
        for place, index in islice(enumerate(self._from_the_start()), skip, None):
            yield EpochIndex(index, self._epoch_at(place))

    def _from_the_start(self) -> Iterable[int]:
        """An ``InfiniteSampler`` can be read once only, and mmengine's loop has begun to."""
        given = self.sampler
        return type(given)(given.dataset, given.shuffle, given.seed) if self.is_infinite else given

    def _epoch_at(self, place: int) -> int:
        if not self.is_infinite:
            return self.epoch
        return (place * self.sampler.world_size + self.sampler.rank) // self.sampler.size


def make_resumable(loader: DataLoader, seed: int | None = None) -> ResumableSampler:
    """Put a :class:`ResumableSampler` around the sampler of a loader.

    Raises:
        ResumeError: no sampler there, one without a law, or no batch at all.
    """
    batches: Any = loader.batch_sampler
    sampler = getattr(batches, 'sampler', None)
    if sampler is None:
        raise ResumeError(f'{type(batches).__name__} has no sampler whose order could '
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
    """Let the next pass over a resumable loader begin behind that many batches, which nobody reads.

    Raises:
        ResumeError: batches of a kind whose size is not known before they are read.
    """
    if not number:
        return
    batches: Any = loader.batch_sampler
    if type(batches) is not BatchSampler:
        raise ResumeError(f'{type(batches).__name__} cannot be resumed within an epoch, since how '
                          'many items its batches hold is not known; resume from the checkpoint '
                          f'of the end of an epoch. {WITHOUT_THE_HOOK}')
    resumable: Any = batches.sampler
    resumable.skip = number * batches.batch_size


def batches_from(loader: DataLoader, iteration: int) -> Iterator[Any]:
    """Batches of a resumable loader for mmengine's ``IterBasedTrainLoop``, epoch after epoch.

    That loop first takes the batches of all iterations before the one that it
    resumes from, and throws them away. Here they are None: nothing is decoded.
    """
    batches: Any = loader.batch_sampler
    sampler = batches.sampler
    loader._iterator = None  # persistent workers that have begun with another order
    first, done = (0, iteration) if sampler.is_infinite else divmod(iteration, len(loader))
    yield from repeat(None, iteration)
    for epoch in count(first):
        sampler.set_epoch(epoch)
        skip_batches(loader, done)
        done = 0
        yield from loader
