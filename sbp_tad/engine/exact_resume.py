"""Exact resume: a killed and resumed run equals an uninterrupted one."""
from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from sbp_tad.datasets.errors import ResumeError
from sbp_tad.datasets.item_draws import SeededItems, seed_global_draws
from sbp_tad.datasets.resumable_sampler import (
    WITHOUT_THE_HOOK,
    ResumableSampler,
    batches_from,
    make_resumable,
    skip_batches,
)
from sbp_tad.engine.accumulated_gradients import GRADIENTS, add_gradients, restore_gradients
from sbp_tad.registry import HOOKS


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Make every random draw of training a function of the seed and the iteration.

    Items are seeded by (seed, epoch, index), the model by (seed, iteration).
    So no random state is saved, and the number of workers does not matter. A
    checkpoint may be of any iteration, even between two iterations that
    accumulate gradients. The iterations after the checkpoint are repeated
    exactly; the data before it is not decoded again. A validation that was
    due at the checkpoint but not finished is run first, because the best
    score and the schedulers may depend on it.

    The hook works with mmengine's loops by epochs and by iterations, and
    their subclasses.

    Raises:
        ResumeError: before training, for a loop, sampler or checkpoint that
            does not allow an exact resume.
    """

    # after CheckpointHook, which must know the best score before a missed validation is run
    priority = 'LOWEST'
    _sampler: ResumableSampler | None = None

    def __init__(self) -> None:
        self._resumed: dict[str, Any] = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the gradients, which only this hook restores."""
        if runner._resume and GRADIENTS in checkpoint:
            self._resumed = {GRADIENTS: checkpoint[GRADIENTS]}

    def before_train(self, runner: Runner) -> None:
        """Restore the position in the data and the gradients; run a missed validation."""
        loop = runner.train_loop
        if not isinstance(loop, (EpochBasedTrainLoop, IterBasedTrainLoop)):
            raise ResumeError(
                f'{type(loop).__name__} is not one of the loops that can be resumed exactly; use '
                'EpochBasedTrainLoop or IterBasedTrainLoop. '
                f'{WITHOUT_THE_HOOK}')
        loader, seed = loop.dataloader, runner.seed
        loader.dataset.__getitems__ = SeededItems(loader.dataset, seed)
        randomness = runner.cfg.get('randomness') or {}
        # Without a chosen seed, that of the checkpoint holds; the sampler was built before.
        is_drawn = randomness.get('seed') is None and not randomness.get('diff_rank_seed')
        self._sampler = make_resumable(loader, seed if is_drawn else None)
        if isinstance(loop, IterBasedTrainLoop):
            loop.dataloader_iterator = batches_from(loader, loop.iter)
        else:
            skip_batches(loader, loop.iter - loop.epoch * len(loader))
        restore_gradients(runner, self._resumed)
        self._resumed = {}
        if _validation_is_due(runner, loop):
            runner.logger.info('Running the validation that the killed run did not finish.')
            runner.val_loop.run()

    def before_train_epoch(self, runner: Runner) -> None:
        """Set the epoch of the sampler, and so of the readers in other processes."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._sampler.set_epoch(runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch: dict | None = None) -> None:
        """Seed the draws of the model in this iteration (dropout, for example)."""
        seed_global_draws(runner.seed, runner.iter)
        torch.cuda.manual_seed_all(torch.initial_seed())

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add gradients accumulated for the next update."""
        add_gradients(runner, checkpoint)

    def before_val(self, runner: Runner) -> None:
        """Record in the checkpoint of a new best score that this validation is done."""
        runner.message_hub.update_info('last_validated', _progress(runner.train_loop))


def _progress(loop: EpochBasedTrainLoop | IterBasedTrainLoop) -> int:
    """Return the number of finished epochs or iterations of a loop."""
    return loop.epoch if isinstance(loop, EpochBasedTrainLoop) else loop.iter


def _validation_is_due(runner: Runner, loop: EpochBasedTrainLoop | IterBasedTrainLoop) -> bool:
    """Return True if the loop would have validated at the iteration of the checkpoint."""
    done = _progress(loop)
    by_epochs = isinstance(loop, EpochBasedTrainLoop)
    within_epoch = by_epochs and loop.iter != done * len(loop.dataloader)
    if runner.val_loop is None or done < max(1, loop.val_begin) or within_epoch:
        return False
    loop._decide_current_val_interval()
    ends = done % loop.val_interval == 0 or done == (loop.max_epochs if by_epochs
                                                     else loop.max_iters)
    return ends and runner.message_hub.get_info('last_validated', 0) < done
