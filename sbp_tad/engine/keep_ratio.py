"""Schedules of the keep ratio over the training."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mmengine.hooks import Hook
from mmengine.runner import Runner

from sbp_tad.engine.errors import HookError
from sbp_tad.registry import HOOKS

# Fraction of the step from start to end, as a function of the progress in the stage.
FORMS: dict[str, Callable[[float], float]] = {
    'constant': lambda passed: 0.0,
    'linear': lambda passed: passed,
    'cosine': lambda passed: (1 - math.cos(math.pi * passed)) / 2,
}


@dataclass(frozen=True)
class Stage:
    """One stage of a schedule.

    Args:
        start: keep ratio at the start of the stage, in (0, 1].
        end: keep ratio at its end; None = ``start``.
        form: ``'constant'``, ``'linear'`` or ``'cosine'``.
        until: progress of the training at its end, in (0, 1].

    Raises:
        HookError: a value outside its range.
    """

    start: float
    end: float | None = None
    form: str = 'constant'
    until: float = 1.0

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise HookError(f'form must be one of {sorted(FORMS)}, got {self.form!r}.')
        if (self.form == 'constant') != (self.end is None):
            raise HookError(f'a {self.form} stage takes {"no" if self.end else "an"} end; use '
                            'form="linear" or "cosine" with start and end, or "constant" with '
                            'start alone.')
        for name in ('start', 'end', 'until'):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and 0 < value <= 1):
                raise HookError(f'{name} must be a number in (0, 1], got {value!r}.')


def check_stages(stages: Sequence[Stage]) -> None:
    """Check that stages end one after the other and the last at the end of the training.

    Raises:
        HookError: other ends.
    """
    ends = [stage.until for stage in stages]
    if not ends or ends[-1] != 1 or any(a >= b for a, b in zip(ends, ends[1:])):
        raise HookError('until must increase from stage to stage and end at 1.0, got until = '
                        f'{ends}.')


def keep_ratio_at(progress: float, stages: Sequence[Stage]) -> float:
    """Return the keep ratio at ``progress`` in [0, 1], the finished share of the training."""
    begin = 0.0
    for stage in stages:
        if progress < stage.until or stage is stages[-1]:
            break
        begin = stage.until
    passed = min((progress - begin) / (stage.until - begin), 1.0)
    end = stage.start if stage.end is None else stage.end
    return stage.start + (end - stage.start) * FORMS[stage.form](passed)


@HOOKS.register_module()
class KeepRatioSchedule(Hook):
    """Set the keep ratio of SBP before each training iteration.

    It depends only on the progress of the training, so a resumed run
    continues exactly. ``TrainingStateHook`` logs it.

    Example::

        custom_hooks = [dict(type='KeepRatioSchedule', form='cosine', start=1.0, end=0.25)]
        custom_hooks = [dict(type='KeepRatioSchedule', stages=[
            dict(start=1.0, until=0.2), dict(start=1.0, end=0.25, form='linear', until=0.8),
            dict(start=0.25)])]

    Args:
        start, end, form: options of a schedule with one stage, see :class:`Stage`.
        stages: options of several stages, instead of these.

    Raises:
        HookError: invalid options; before training, a model without SBP.
    """

    def __init__(self, start: float | None = None, end: float | None = None,
                 form: str = 'constant', stages: Sequence[dict] | None = None) -> None:
        if (start is None) == (stages is None):
            raise HookError('give either start (with end and form) or stages, '
                            f'got start={start!r} and stages={stages!r}.')
        self.stages = [Stage(start, end, form)] if stages is None \
            else [Stage(**stage) for stage in stages]
        check_stages(self.stages)

    def before_train(self, runner: Runner) -> None:
        """Find the modules with a keep ratio.

        Raises:
            HookError: no module has one.
        """
        self._targets = [module for module in runner.model.modules()
                         if hasattr(module, 'set_keep_ratio')]
        if not self._targets:
            raise HookError('the model has no module with a keep ratio; use SBPBackbone, or '
                            'leave KeepRatioSchedule out.')

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch: dict | None = None) -> None:
        """Set the keep ratio of this iteration."""
        keep_ratio = keep_ratio_at(runner.iter / runner.max_iters, self.stages)
        for target in self._targets:
            target.set_keep_ratio(keep_ratio)
