"""Hook that stops training, or skips an update, for NaN or infinite losses and gradients.

A forward hook of the model reads the losses. A hook that torch calls before a
step of the optimizer reads the gradients. So accumulation and mixed precision
work with any optimizer wrapper. Clipping by the norm makes all gradients NaN if
one is, so the gradients are also read before it. The processes of DDP share
the result of the check before they act on it.
"""
from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from sbp_tad.engine.accumulated_gradients import optim_wrappers
from sbp_tad.engine.errors import HookError, TrainingError
from sbp_tad.registry import HOOKS

ACTIONS = ('stop', 'skip')
NUM_NAMED = 3


@dataclass
class Iteration:
    """Record of an iteration, enough to repeat it.

    Args:
        number: iteration, from 1.
        epoch: epoch, from 1.
        samples: names of the samples of this process.
        losses: name -> scalar, without gradient.
    """

    number: int
    epoch: int
    samples: list[str]
    losses: dict[str, Tensor] = field(default_factory=dict)

    def fault(self) -> str | None:
        """Return a description of the losses that are not finite, or None."""
        bad = [f'{name} is {value.item()}' for name, value in self.losses.items()
               if not value.isfinite()]
        return f'{", ".join(bad)} in iteration {self.number}' if bad else None


@HOOKS.register_module()
class FiniteNumbersHook(Hook):
    """Stop before NaN or infinity reaches the weights, and name the cause.

    An infinite gradient under loss scaling is no error, because the scaler
    skips that update and lowers its scale. A loss that is not finite is an
    error there too, and so are more than ``max_in_a_row`` successive
    overflows.

    Args:
        action: ``'stop'`` raises; ``'skip'`` skips the update (with all
            iterations accumulated for it), logs the cause and continues.
        max_in_a_row: largest number of successive skipped updates.

    Raises:
        TrainingError: the message names iteration, losses or parameters,
            samples and seed, of all processes.
    """

    def __init__(self, action: str = 'stop', max_in_a_row: int = 25) -> None:
        if action not in ACTIONS or max_in_a_row < 0:
            raise HookError(
                f'action must be one of {ACTIONS} and max_in_a_row at least 0, got {action!r} and '
                f'{max_in_a_row}.')
        self.action = action
        self.max_in_a_row = max_in_a_row
        self._in_a_row = self._num_skipped = 0
        self._pending: list[Iteration] = []  # since the last update
        self._stepped = False
        self._handles: list[Any] = []
        self._clipped: list[OptimWrapper] = []
        self._peaks: dict[int, Tensor] = {}  # id of a parameter -> largest gradient, unclipped

    def before_train(self, runner: Runner) -> None:
        """Attach hooks to the model and its optimizers."""
        self._handles = [runner.model.register_forward_hook(self._note_losses, with_kwargs=True)]
        for wrapper in optim_wrappers(runner):
            if getattr(wrapper, 'clip_grad_kwargs', None):
                self._read_before_clipping(wrapper)
            if isinstance(wrapper.optimizer, torch.optim.Optimizer):
                self._handles.append(wrapper.optimizer.register_step_pre_hook(
                    partial(self._before_step, runner)))

    def after_train(self, runner: Runner) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        for wrapper in self._clipped:
            del wrapper._clip_grad  # the method of the class is in use again
        self._clipped.clear()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Record the samples of this iteration."""
        self._stepped = False
        self._pending.append(Iteration(runner.iter + 1, runner.epoch + 1,
                                       sample_names(data_batch)))

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Check an update that a loss scaler skipped, so that no optimizer step was called."""
        if not any(wrapper.should_update() for wrapper in optim_wrappers(runner)):
            return
        if not self._stepped:
            if _any_process_has(self._losses(), []):
                self._react(runner, [])
            else:
                self._note_overflow(runner)
        self._pending.clear()

    def _read_before_clipping(self, wrapper: OptimWrapper) -> None:
        """Make a wrapper record the peaks of its gradients before it clips them."""
        clip = wrapper._clip_grad

        def read_and_clip() -> None:
            parameters = parameters_of(wrapper.optimizer)
            self._peaks.update(zip(map(id, parameters), _peaks(
                [parameter.grad for parameter in parameters])))
            clip()

        wrapper._clip_grad = read_and_clip
        self._clipped.append(wrapper)

    def _note_losses(self, model: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        if kwargs.get('mode') == 'loss' and isinstance(output, Mapping) and self._pending:
            self._pending[-1].losses = {
                name: sum(part.detach().float().mean() for part in _parts(value))
                for name, value in output.items() if 'loss' in name}  # mmengine's rule

    def _before_step(self, runner: Runner, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self._stepped = True
        parameters = parameters_of(optimizer)
        if _any_process_has(self._losses(), [parameter.grad for parameter in parameters]):
            self._react(runner, parameters)
            for parameter in parameters:
                parameter.grad = None  # the step then changes no parameter
        else:
            self._in_a_row = 0
        self._peaks.clear()

    def _losses(self) -> list[Tensor]:
        return [loss for iteration in self._pending for loss in iteration.losses.values()]

    def _react(self, runner: Runner, parameters: Sequence[nn.Parameter]) -> None:
        """Stop or skip; all processes call this together.

        Raises:
            TrainingError: the action is ``'stop'``, or too many updates were skipped.
        """
        sentence = self._describe(runner, parameters)
        self._in_a_row += 1
        if self.action == 'stop':
            raise TrainingError(
                f'{sentence}\nThe weights are those before this update. To repeat it, use --seed '
                'and --resume from the last checkpoint before it. Lower the learning rate, check '
                'these videos, or skip such updates with --cfg-options '
                'default_hooks.finite_numbers.action=skip.')
        if self._in_a_row > self.max_in_a_row:
            raise TrainingError(f'{sentence}\n{self._in_a_row} successive updates were '
                                'skipped. Lower the learning rate, or train without --amp.')
        self._refuse_spoilt_buffers(runner, sentence)
        self._num_skipped += 1
        runner.message_hub.update_scalar('train/skipped_updates', self._num_skipped)
        runner.logger.log(logging.WARNING, f'Update skipped: {sentence}')

    def _note_overflow(self, runner: Runner) -> None:
        self._in_a_row += 1
        if self._in_a_row > self.max_in_a_row:
            raise TrainingError(
                f'{self._describe(runner, [])}\nThe gradients overflowed in {self._in_a_row} '
                'successive updates, at every loss scale. Lower the learning rate, or train '
                'without --amp.')

    def _describe(self, runner: Runner, parameters: Sequence[nn.Parameter]) -> str:
        """Return the fault with iteration, samples and seeds of all processes."""
        faults = [fault for fault in (iteration.fault() for iteration in self._pending) if fault]
        last = self._pending[-1]
        own = dict(faults=faults or _gradient_faults(runner.model, parameters, self._peaks),
                   samples=[name for iteration in self._pending for name in iteration.samples
                            if iteration.fault() or not faults],
                   seed=getattr(runner, 'seed', None))
        reports = all_gather_object(own)
        faults, samples = (list(dict.fromkeys(entry for report in reports for entry in report[key]))
                           for key in ('faults', 'samples'))
        seeds = dict.fromkeys(str(report['seed']) for report in reports)
        return (f'Iteration {last.number} (epoch {last.epoch}): '
                f'{"; ".join(faults) or "gradients overflowed"}. '
                f'Samples: {", ".join(samples)}. Seed {", ".join(seeds)}.')

    def _refuse_spoilt_buffers(self, runner: Runner, sentence: str) -> None:
        """Stop if the forward pass has made buffers (statistics) NaN, which no skip undoes."""
        spoilt = [name for name, buffer in runner.model.named_buffers()
                  if buffer.is_floating_point() and buffer.isnan().any()]
        if _verdict(bool(spoilt), runner.model):
            raise TrainingError(
                f'{sentence}\nSkipping the update does not help, because the forward pass has made '
                f'{", ".join(spoilt[:NUM_NAMED]) or "buffers of another process"} NaN. Resume '
                'from the last checkpoint and freeze these statistics.')


def sample_names(data_batch: Any) -> list[str]:
    """Return the names of the samples of a batch: video and window, or file."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, Mapping) else None
    return [_sample_name(sample) for sample in samples or [] if sample is not None]


def _sample_name(sample: Any) -> str:
    window = getattr(sample, 'window', None)
    if window is not None:
        return f'{window.video_id} from {window.start_seconds:.2f} s'
    names = (getattr(sample, key, None) for key in ('video_id', 'filename', 'img_path'))
    return str(next((name for name in names if name), 'a sample without a name'))


def _parts(value: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return [value] if isinstance(value, Tensor) else value


def _any_process_has(losses: Sequence[Tensor], gradients: Sequence[Tensor]) -> bool:
    """Return True if any value of any process is not finite; transfers one number."""
    peaks = [*losses, *_peaks(gradients)]
    if not peaks:
        return _verdict(False, None)
    device = peaks[-1].device
    finite = torch.stack([peak.to(device, torch.float32) for peak in peaks]).isfinite().all()
    return _verdict(~finite, device)


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Return the parameters of an optimizer that have a gradient."""
    return [parameter for group in optimizer.param_groups for parameter in group['params']
            if parameter.grad is not None]


def _peaks(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Return the largest entry of each gradient: NaN if any is; a sum could overflow."""
    return [torch.linalg.vector_norm(gradient.detach(), float('inf')) if gradient.numel()
            else gradient.new_zeros(()) for gradient in gradients]


def _verdict(bad: bool | Tensor, where: Any) -> bool:
    """Return True in every process if it is True in one."""
    device = next(where.parameters()).device if isinstance(where, nn.Module) else where
    verdict = torch.as_tensor(bad, device=device).to(torch.uint8)
    all_reduce(verdict, op='max')
    return bool(verdict.item())


def _gradient_faults(model: nn.Module, parameters: Sequence[nn.Parameter],
                     peaks: Mapping[int, Tensor]) -> list[str]:
    """Name the parameters whose gradient is not finite, before clipping if ``peaks`` has it."""
    wanted = {id(parameter) for parameter in parameters}
    module = model.module if is_model_wrapper(model) else model
    bad = [name for name, parameter in module.named_parameters()
           if id(parameter) in wanted
           and not peaks.get(id(parameter), parameter.grad).isfinite().all()]
    if not bad:
        return []
    more = f' and {len(bad) - NUM_NAMED} more' if len(bad) > NUM_NAMED else ''
    return [f'the gradient of {", ".join(bad[:NUM_NAMED])}{more} is not finite']
