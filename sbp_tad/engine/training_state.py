"""Hook that logs keep ratio and peak memory."""
from __future__ import annotations

import resource
import sys

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from sbp_tad.registry import HOOKS

# Linux counts the peak in KiB, macOS in bytes.
_PEAK_UNIT_BYTES = 1 if sys.platform == 'darwin' else 1024


def peak_memory_bytes(who: int = resource.RUSAGE_SELF) -> int:
    """Return the peak resident memory of this process or, with ``RUSAGE_CHILDREN``, of a child."""
    return resource.getrusage(who).ru_maxrss * _PEAK_UNIT_BYTES


@HOOKS.register_module()
class TrainingStateHook(Hook):
    """Log ``keep_ratio`` of an SBP backbone and ``peak_memory_mib`` of the process.

    mmengine's ``memory`` is that of CUDA alone. ``peak_memory_mib`` is the
    resident memory of the main process, also without a GPU.
    """

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Add both values to the scalars of this iteration."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        config = getattr(getattr(model, 'backbone', None), 'config', None)
        hub = runner.message_hub
        if hasattr(config, 'keep_ratio'):
            hub.update_scalar('train/keep_ratio', float(config.keep_ratio))
        hub.update_scalar('train/peak_memory_mib', peak_memory_bytes() / 2**20)
