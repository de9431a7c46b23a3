"""CPU time of an iteration in the training log, which other processes do not stretch."""
from __future__ import annotations

import time

from mmengine.hooks import Hook
from mmengine.runner import Runner

from sbp_tad.registry import HOOKS


@HOOKS.register_module()
class CPUTimeHook(Hook):
    """Log ``cpu_time``: seconds that the main process computed in an iteration.

    mmengine's ``time`` is wall time and counts the wait for data. This one
    leaves out what data workers do, and is without meaning where a GPU computes.
    """

    priority = 'VERY_LOW'
    _start = 0.0

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch: dict | None = None) -> None:
        """Begin to count."""
        self._start = time.process_time()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Add the figure to the scalars of this iteration."""
        runner.message_hub.update_scalar('train/cpu_time', time.process_time() - self._start)
