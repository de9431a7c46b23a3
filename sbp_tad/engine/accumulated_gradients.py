"""Gradients accumulated for the next update, saved in and restored from checkpoints."""
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
    """Return all optimizer wrappers of a run."""
    wrapper = runner.optim_wrapper
    return list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]


def bare_model(runner: Runner) -> nn.Module:
    """Return the model of a run without its wrapper for several processes."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def add_gradients(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Add the gradients accumulated for an unfinished update (``accumulative_counts``).

    Under DDP each process has its own gradients before the update, but one
    process writes the checkpoint; it records that they are missing.
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
    """Restore the gradients that :func:`add_gradients` has saved, if any.

    Raises:
        ResumeError: the checkpoint records that they are missing, or holds
            gradients of parameters that the model does not have.
    """
    if GRADIENTS not in checkpoint:
        return
    gradients = checkpoint[GRADIENTS]
    if gradients is None:
        raise ResumeError(
            'the checkpoint lies between two iterations that accumulate gradients for one update, '
            'and does not hold the gradients of its processes. Resume from a checkpoint whose '
            'iteration is a multiple of accumulative_counts.')
    parameters = dict(bare_model(runner).named_parameters())
    unknown = sorted(gradients.keys() - parameters.keys())
    if unknown:
        raise ResumeError(
            f'the checkpoint holds accumulated gradients of {len(unknown)} parameters that the '
            f'model does not have, the first is {unknown[0]}: it was written by another model or '
            'release. Resume from a checkpoint whose iteration is a multiple of '
            'accumulative_counts.')
    runner.logger.info('The accumulated gradients are restored from the checkpoint.')
    for name, gradient in gradients.items():
        parameters[name].grad = gradient.to(parameters[name].device)
