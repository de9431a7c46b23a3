"""A run that was killed and resumed goes on as if nothing had happened."""
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
    """Make every random draw of training a function of the seed and the place in the run.

    Items draw from (seed, epoch, index), an iteration of the model from
    (seed, iteration); so no random state need be saved, and the number of
    workers does not matter. A checkpoint may be of any iteration, also of one
    between two that accumulate gradients: what a killed run did after it is
    done again, exactly, and what it read before is not decoded again. A
    validation that was due at the checkpoint and not finished is made up for,
    because the best score and schedulers may depend on it.

    For mmengine's loops, by epochs and by iterations, and what is built upon them.

    Raises:
        ResumeError: before training, a loop, a sampler or a checkpoint with
            which a run could not be resumed exactly.
    """

    # after CheckpointHook, which must know the best score before a validation is made up for
    priority = 'LOWEST'
    _sampler: ResumableSampler | None = None

    def __init__(self) -> None:
        self._resumed: dict[str, Any] = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep what only this hook restores."""
        if runner._resume and GRADIENTS in checkpoint:
            self._resumed = {GRADIENTS: checkpoint[GRADIENTS]}

    def before_train(self, runner: Runner) -> None:
        """Take up the place in the data and gradients, and make up for a missed validation."""
        loop = runner.train_loop
        if not isinstance(loop, (EpochBasedTrainLoop, IterBasedTrainLoop)):
            raise ResumeError(
                f'{type(loop).__name__} reads its data in a way of its own, so a run with it could '
                'not be resumed exactly; use EpochBasedTrainLoop or IterBasedTrainLoop. '
                f'{WITHOUT_THE_HOOK}')
        loader, seed = loop.dataloader, runner.seed
        loader.dataset.__getitems__ = SeededItems(loader.dataset, seed)
        randomness = runner.cfg.get('randomness') or {}
        # A seed that none has chosen is that of the checkpoint; the sampler was built before.
        is_drawn = randomness.get('seed') is None and not randomness.get('diff_rank_seed')
        self._sampler = make_resumable(loader, seed if is_drawn else None)
        if isinstance(loop, IterBasedTrainLoop):
            loop.dataloader_iterator = batches_from(loader, loop.iter)
        else:
            skip_batches(loader, loop.iter - loop.epoch * len(loader))
        restore_gradients(runner, self._resumed)
        self._resumed = {}
        if _validation_is_due(runner, loop):
            runner.logger.info('Validating what the killed run had trained and not validated.')
            runner.val_loop.run()

    def before_train_epoch(self, runner: Runner) -> None:
        """Tell the readers of items, in other processes too, which epoch it is."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._sampler.set_epoch(runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch: dict | None = None) -> None:
        """Seed what the model draws in this iteration, dropout for example."""
        seed_global_draws(runner.seed, runner.iter)
        torch.cuda.manual_seed_all(torch.initial_seed())

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add gradients that wait for their update."""
        add_gradients(runner, checkpoint)

    def before_val(self, runner: Runner) -> None:
        """Let the checkpoint of a new best score say that this validation is done."""
        runner.message_hub.update_info('last_validated', _progress(runner.train_loop))


def _progress(loop: EpochBasedTrainLoop | IterBasedTrainLoop) -> int:
    """What a loop counts: its epochs or its iterations."""
    return loop.epoch if isinstance(loop, EpochBasedTrainLoop) else loop.iter


def _validation_is_due(runner: Runner, loop: EpochBasedTrainLoop | IterBasedTrainLoop) -> bool:
    """Whether the loop would have validated at the place that it resumes from."""
    done = _progress(loop)
    by_epochs = isinstance(loop, EpochBasedTrainLoop)
    within_epoch = by_epochs and loop.iter != done * len(loop.dataloader)
    if runner.val_loop is None or done < max(1, loop.val_begin) or within_epoch:
        return False
    loop._decide_current_val_interval()
    ends = done % loop.val_interval == 0 or done == (loop.max_epochs if by_epochs
                                                     else loop.max_iters)
    return ends and runner.message_hub.get_info('last_validated', 0) < done
