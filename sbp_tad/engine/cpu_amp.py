"""Mixed precision on the CPU."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from sbp_tad.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(OptimWrapper):
    """Optimizer wrapper with autocast to bfloat16 on the CPU.

    mmengine's ``AmpOptimWrapper`` needs an accelerator. bfloat16 has the
    exponent range of float32, so gradients do not underflow and no loss
    scaling is needed. It takes the arguments of ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enable autocast for the forward pass, within mmengine's own context.

        Args:
            model: the trained model, with or without a DDP wrapper.
        """
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield
