"""A run that was killed and resumed goes on as if nothing had happened."""
from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from sbp_tad.datasets.item_draws import SeededItems, seed_global_draws
from sbp_tad.registry import HOOKS


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Make every random draw of training a function of the seed and the place in the run.

    Items draw from (seed, epoch, index), an iteration of the model from
    (seed, iteration); so no random state need be saved, and the number of
    workers does not matter. A checkpoint is of the end of an epoch: what a
    killed run did after it is done again, exactly. A validation that was due
    at that end and not finished is made up for, because the best score and
    schedulers may depend on it.

    For epoch-based loops. mmengine's ``IterBasedTrainLoop`` reads again what
    it had read until the checkpoint, which is exact as well with workers;
    there this hook seeds the iterations alone.
    """

    # after CheckpointHook, which must know the best score before a validation is made up for
    priority = 'LOWEST'
    _items: SeededItems | None = None

    def before_train(self, runner: Runner) -> None:
        """Seed the items, and make up for a validation that a kill has prevented."""
        loop = runner.train_loop
        if not isinstance(loop, EpochBasedTrainLoop):
            return
        dataset, sampler = loop.dataloader.dataset, loop.dataloader.sampler
        self._items = dataset.__getitems__ = SeededItems(dataset, runner.seed)
        randomness = runner.cfg.get('randomness') or {}
        if randomness.get('seed') is None and not randomness.get('diff_rank_seed'):
            sampler.seed = runner.seed  # that of the checkpoint; the sampler was built before
        if _validation_is_due(runner, loop):
            runner.logger.info(f'Validating epoch {loop.epoch}, which the killed run had not.')
            runner.val_loop.run()

    def before_train_epoch(self, runner: Runner) -> None:
        """Tell the readers of items, in other processes too, which epoch it is."""
        if self._items is not None:
            self._items.set_epoch(runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch: dict | None = None) -> None:
        """Seed what the model draws in this iteration, dropout for example."""
        seed_global_draws(runner.seed, runner.iter)
        torch.cuda.manual_seed_all(torch.initial_seed())

    def before_val(self, runner: Runner) -> None:
        """Let the checkpoint of a new best score say that this validation is done."""
        runner.message_hub.update_info('last_validated_epoch', runner.epoch)


def _validation_is_due(runner: Runner, loop: EpochBasedTrainLoop) -> bool:
    """Whether the loop would have validated after the epoch that it resumes from."""
    if runner.val_loop is None or loop.epoch < max(1, loop.val_begin):
        return False
    loop._decide_current_val_interval()
    ends = loop.epoch % loop.val_interval == 0 or loop.epoch == loop.max_epochs
    return ends and runner.message_hub.get_info('last_validated_epoch', 0) < loop.epoch
