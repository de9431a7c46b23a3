"""Hook that logs the CPU time per iteration, which other processes do not affect."""
from __future__ import annotations

import time

from mmengine.hooks import Hook
from mmengine.runner import Runner

from sbp_tad.registry import HOOKS


@HOOKS.register_module()
class CPUTimeHook(Hook):
    """Log ``cpu_time``: CPU seconds of the main process per iteration.

    mmengine's ``time`` is wall time and includes the wait for data.
    ``cpu_time`` excludes data workers. It has no meaning for training on a GPU.
    """

    priority = 'VERY_LOW'
    _start = 0.0

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch: dict | None = None) -> None:
        """Start the measurement."""
        self._start = time.process_time()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Add the value to the scalars of this iteration."""
        runner.message_hub.update_scalar('train/cpu_time', time.process_time() - self._start)
