"""Gradients that wait for further iterations, in the checkpoint with the rest of the state."""
from __future__ import annotations

from typing import Any

from mmengine.dist import get_world_size
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import nn

from sbp_tad.datasets.errors import ResumeError

GRADIENTS = 'accumulated_gradients'


def optim_wrappers(runner: Runner) -> list[OptimWrapper]:
    """The optimizer wrappers of a run, however many it has."""
    wrapper = runner.optim_wrapper
    return list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]


def bare_model(runner: Runner) -> nn.Module:
    """The model of a run, out of what wraps it for several processes."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def add_gradients(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """With ``accumulative_counts``, write down the gradients of an update that is not yet made.

    Under DDP each process has its own until the update, and one process
    writes the checkpoint: it says that they are missing.
    """
    if all(wrapper.should_update() for wrapper in optim_wrappers(runner)
           if isinstance(wrapper, OptimWrapper)):  # DeepSpeed accumulates by itself
        return
    if get_world_size() > 1:
        checkpoint[GRADIENTS] = None
        runner.logger.warning('This checkpoint lies between two iterations of one update, whose '
                              'gradients are spread over the processes: --resume will refuse it. '
                              'Write checkpoints at multiples of accumulative_counts.')
        return
    parameters = bare_model(runner).named_parameters()
    checkpoint[GRADIENTS] = {name: parameter.grad.cpu() for name, parameter in parameters
                             if parameter.grad is not None}


def restore_gradients(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Take up the gradients that :func:`add_gradients` has written, if any.

    Raises:
        ResumeError: they were not written.
    """
    if GRADIENTS not in checkpoint:
        return
    gradients = checkpoint[GRADIENTS]
    if gradients is None:
        raise ResumeError(
            'the checkpoint lies between two iterations that accumulate gradients for one update, '
            'and those of its several processes are not in it. Resume from a checkpoint whose '
            'iteration is a multiple of accumulative_counts.')
    runner.logger.info('The gradients that had been accumulated are taken from the checkpoint.')
    for name, parameter in bare_model(runner).named_parameters():
        if name in gradients:
            parameter.grad = gradients[name].to(parameter.device)
