"""Training ends, or leaves out an update, where a loss or a gradient is NaN or infinite.

Losses are seen by a forward hook of the model, gradients by a hook that torch
calls before a step of the optimizer, so nothing depends on the optimizer
wrapper: accumulation and mixed precision work as they are. Processes of DDP
share the verdict before anyone acts on it.
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
from mmengine.runner import Runner
from torch import Tensor, nn

from sbp_tad.engine.accumulated_gradients import optim_wrappers
from sbp_tad.engine.errors import HookError, TrainingError
from sbp_tad.registry import HOOKS

ACTIONS = ('stop', 'skip')
NUM_NAMED = 3


@dataclass
class Iteration:
    """What must be known of an iteration to repeat it.

    Args:
        number: from 1.
        epoch: from 1.
        samples: of this process.
        losses: name -> scalar, without gradient.
    """

    number: int
    epoch: int
    samples: list[str]
    losses: dict[str, Tensor] = field(default_factory=dict)

    def fault(self) -> str | None:
        """Which losses are not finite, or None."""
        bad = [f'{name} is {value.item()}' for name, value in self.losses.items()
               if not value.isfinite()]
        return f'{", ".join(bad)} in iteration {self.number}' if bad else None


@HOOKS.register_module()
class FiniteNumbersHook(Hook):
    """Stop before a NaN or an infinity reaches the weights, and say where it came from.

    An infinite gradient under loss scaling is no fault, since the scaler
    leaves out that update and lowers its scale; a loss that is not finite is
    one there too, and so are more overflows in a row than ``max_in_a_row``.

    Args:
        action: ``'stop'`` raises; ``'skip'`` leaves out the update (with all
            iterations that were accumulated for it), logs why and goes on.
        max_in_a_row: updates left out one after the other until it stops all the same.

    Raises:
        TrainingError: naming iteration, losses or parameters, samples and
            seed, of all processes.
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

    def before_train(self, runner: Runner) -> None:
        """Listen to the model and its optimizers."""
        self._handles = [runner.model.register_forward_hook(self._note_losses, with_kwargs=True)]
        for wrapper in optim_wrappers(runner):
            if isinstance(wrapper.optimizer, torch.optim.Optimizer):
                self._handles.append(wrapper.optimizer.register_step_pre_hook(
                    partial(self._before_step, runner)))

    def after_train(self, runner: Runner) -> None:
        """Listen no more."""
        for handle in self._handles:
            handle.remove()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Remember what this iteration reads."""
        self._stepped = False
        self._pending.append(Iteration(runner.iter + 1, runner.epoch + 1,
                                       sample_names(data_batch)))

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Judge an update that a loss scaler left out, which no optimizer has heard of."""
        if not any(wrapper.should_update() for wrapper in optim_wrappers(runner)):
            return
        if not self._stepped:
            if _any_process_has(self._losses(), []):
                self._react(runner, [])
            else:
                self._note_overflow(runner)
        self._pending.clear()

    def _note_losses(self, model: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        if kwargs.get('mode') == 'loss' and isinstance(output, Mapping) and self._pending:
            self._pending[-1].losses = {
                name: sum(part.detach().float().mean() for part in _parts(value))
                for name, value in output.items() if 'loss' in name}  # mmengine's rule

    def _before_step(self, runner: Runner, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self._stepped = True
        parameters = [parameter for group in optimizer.param_groups
                      for parameter in group['params'] if parameter.grad is not None]
        if _any_process_has(self._losses(), [parameter.grad for parameter in parameters]):
            self._react(runner, parameters)
            for parameter in parameters:
                parameter.grad = None  # makes of this step one of no parameter
        else:
            self._in_a_row = 0

    def _losses(self) -> list[Tensor]:
        return [loss for iteration in self._pending for loss in iteration.losses.values()]

    def _react(self, runner: Runner, parameters: Sequence[nn.Parameter]) -> None:
        """Stop or skip; all processes come here together.

        Raises:
            TrainingError: it stops.
        """
        sentence = self._describe(runner, parameters)
        self._in_a_row += 1
        if self.action == 'stop':
            raise TrainingError(
                f'{sentence}\nThe weights are those before this update. Repeat it with --seed '
                '(and --resume from the last checkpoint before it); lower the learning rate, look '
                'at these videos, or leave out such updates by --cfg-options '
                'default_hooks.finite_numbers.action=skip.')
        if self._in_a_row > self.max_in_a_row:
            raise TrainingError(f'{sentence}\n{self._in_a_row} updates in a row were like this '
                                'one. Lower the learning rate, or train without --amp.')
        self._refuse_spoilt_buffers(runner, sentence)
        self._num_skipped += 1
        runner.message_hub.update_scalar('train/skipped_updates', self._num_skipped)
        runner.logger.log(logging.WARNING, f'Update left out: {sentence}')

    def _note_overflow(self, runner: Runner) -> None:
        self._in_a_row += 1
        if self._in_a_row > self.max_in_a_row:
            raise TrainingError(
                f'{self._describe(runner, [])}\nThe gradients overflowed in {self._in_a_row} '
                'updates in a row, whatever the loss scale. Lower the learning rate, or train '
                'without --amp.')

    def _describe(self, runner: Runner, parameters: Sequence[nn.Parameter]) -> str:
        """The fault with everything that names it, of all processes."""
        faults = [fault for fault in (iteration.fault() for iteration in self._pending) if fault]
        last = self._pending[-1]
        own = dict(faults=faults or _gradient_faults(runner.model, parameters),
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
        """Statistics that a forward pass has made NaN cannot be left out any more."""
        spoilt = [name for name, buffer in runner.model.named_buffers()
                  if buffer.is_floating_point() and buffer.isnan().any()]
        if _verdict(bool(spoilt), runner.model):
            raise TrainingError(
                f'{sentence}\nLeaving out the update does not help: the forward pass has spoilt '
                f'{", ".join(spoilt[:NUM_NAMED]) or "buffers of another process"}. Take the last '
                'checkpoint, and freeze these statistics.')


def sample_names(data_batch: Any) -> list[str]:
    """How the samples of a batch are called: a video with its window, or a file."""
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
    """Whether anything is not finite; one number leaves the device, whatever their count."""
    # the largest entry is NaN where one entry is, and does not overflow as a sum may
    peaks = list(losses) + [torch.linalg.vector_norm(gradient.detach(), float('inf'))
                            for gradient in gradients if gradient.numel()]
    if not peaks:
        return _verdict(False, None)
    device = peaks[-1].device
    finite = torch.stack([peak.to(device, torch.float32) for peak in peaks]).isfinite().all()
    return _verdict(~finite, device)


def _verdict(bad: bool | Tensor, where: Any) -> bool:
    """True in every process where it is in one."""
    device = next(where.parameters()).device if isinstance(where, nn.Module) else where
    verdict = torch.as_tensor(bad, device=device).to(torch.uint8)
    all_reduce(verdict, op='max')
    return bool(verdict.item())


def _gradient_faults(model: nn.Module, parameters: Sequence[nn.Parameter]) -> list[str]:
    wanted = {id(parameter) for parameter in parameters}
    module = model.module if is_model_wrapper(model) else model
    bad = [name for name, parameter in module.named_parameters()
           if id(parameter) in wanted and not parameter.grad.isfinite().all()]
    if not bad:
        return []
    more = f' and {len(bad) - NUM_NAMED} more' if len(bad) > NUM_NAMED else ''
    return [f'the gradient of {", ".join(bad[:NUM_NAMED])}{more} is not finite']
