"""Hook that logs the memory of saved activations."""
from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from sbp_tad.planning.saved_memory import meter_saved_memory
from sbp_tad.registry import HOOKS


@HOOKS.register_module()
class SavedMemoryHook(Hook):
    """Log ``saved_mib``: peak memory that autograd saved for backward in an iteration.

    Parameters and buffers do not count. A measurement slows its iteration
    slightly, so only every ``interval``-th iteration is measured.

    Args:
        interval: number of iterations between two measurements.
        depth: also log the modules with the largest saved memory, summed up
            to this depth of module names; None logs no modules.
        num_modules: number of modules in that line.
    """

    def __init__(self, interval: int = 50, depth: int | None = None, num_modules: int = 8) -> None:
        self.interval = interval
        self.depth = depth
        self.num_modules = num_modules
        self._meter = None

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch: dict | None = None) -> None:
        """Start a measurement, if one is due."""
        if runner.iter % self.interval == 0:
            self._meter = meter_saved_memory(runner.model, self.depth is not None)
            self._meter.__enter__()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Add the value to the scalars of this iteration."""
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
