"""Mixed precision without CUDA."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from sbp_tad.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(OptimWrapper):
    """Runs the forward pass under autocast to bfloat16 on the CPU.

    The counterpart of mmengine's ``AmpOptimWrapper``, which asserts that
    there is an accelerator. bfloat16 has the exponent range of float32, so
    gradients do not underflow and no loss scaling is needed.
    Takes the arguments of ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast around the forward pass, within mmengine's own context.

        Args:
            model: the model that is trained, wrapped for DDP or not.
        """
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield
