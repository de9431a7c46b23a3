"""Bytes saved for backward beside the losses in the training log."""
from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from sbp_tad.planning.saved_memory import meter_saved_memory
from sbp_tad.registry import HOOKS


@HOOKS.register_module()
class SavedMemoryHook(Hook):
    """Log ``saved_mib``: the most that autograd held for backward in an iteration.

    Parameters and buffers do not count. Measuring slows an iteration a
    little, so it is done for one in ``interval``.

    Args:
        interval: iterations from one measurement to the next.
        depth: also write a line with the modules that hold most, summed below
            so many levels of names; None writes none.
        num_modules: modules in that line.
    """

    def __init__(self, interval: int = 50, depth: int | None = None, num_modules: int = 8) -> None:
        self.interval = interval
        self.depth = depth
        self.num_modules = num_modules
        self._meter = None

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch: dict | None = None) -> None:
        """Begin to count, if this iteration is one to measure."""
        if runner.iter % self.interval == 0:
            self._meter = meter_saved_memory(runner.model, self.depth is not None)
            self._meter.__enter__()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Add the figure to the scalars of this iteration."""
        if self._meter is None:
            return
        meter, self._meter = self._meter, None
        meter.__exit__(None, None, None)
        runner.message_hub.update_scalar('train/saved_mib', meter.bytes / 2**20)
        if self.depth is not None:
            sums = sorted(meter.by_module(self.depth).items(), key=lambda item: -item[1])
            line = ', '.join(f'{name or "(model)"} {held / 2**20:.1f}'
                             for name, held in sums[:self.num_modules])
            runner.logger.info(f'saved for backward, MiB: {line}')
