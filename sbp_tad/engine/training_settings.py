"""Settings on which the weights of a training depend, and their comparison."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

PARTS = ('model', 'data_preprocessor', 'train_dataloader', 'train_cfg', 'optim_wrapper',
         'param_scheduler', 'randomness', 'sync_bn')
# Keys that do not change the weights. Paths of data are compared by content: see resume_check.
HARMLESS_KEYS = (
    'model.test_cfg*', 'model.*init_cfg*', 'model.*pretrained', 'model.*with_cp',
    'train_dataloader.num_workers', 'train_dataloader.persistent_workers',
    'train_dataloader.prefetch_factor', 'train_dataloader.pin_memory',
    'train_dataloader.timeout', 'train_dataloader.*.num_threads',
    'train_dataloader.*.io_backend', 'train_dataloader.*backend_args*',
    'train_dataloader.*data_root', 'train_dataloader.*data_prefix*', 'train_dataloader.*ann_file',
    'train_dataloader.*lazy_init', 'train_dataloader.*serialize_data',
    'train_cfg.val_interval', 'train_cfg.val_begin', 'train_cfg.dynamic_intervals*',
    'randomness.seed')  # compared with the seed that was drawn: see resume_check
# Hooks that only write, print, check or validate.
HARMLESS_HOOKS = frozenset((
    'AtomicCheckpointHook', 'BadItemsHook', 'CPUTimeHook', 'CheckpointHook',
    'DetectionVisualizationHook', 'DistSamplerSeedHook', 'EarlyStoppingHook', 'EmptyCacheHook',
    'ExactResumeHook', 'FiniteNumbersHook', 'IterTimerHook', 'LoggerHook', 'NPUProfilerHook',
    'ParamSchedulerHook', 'PrepareTTAHook', 'ProfilerHook', 'ProvenanceHook', 'ResumeCheckHook',
    'RuntimeInfoHook', 'SavedMemoryHook', 'StartChecksHook', 'TrainingStateHook',
    'VisualizationHook'))
LENGTHS = ('train_cfg.max_epochs', 'train_cfg.max_iters')
LENGTH_HOOKS = ('KeepRatioSchedule',)
ABSENT = 'not set'


@dataclass(frozen=True)
class Change:
    """Setting with its value in the checkpoint and its value now."""

    key: str
    old: Any
    new: Any
    reason: str = ''

    def __str__(self) -> str:
        """Name the key and both values."""
        return f'{self.key}: {_short(self.old)} in the checkpoint, {_short(self.new)} now' \
            + (f' ({self.reason})' if self.reason else '')


def listed(changes: Sequence[Change], most: int = 6) -> str:
    """Return a line for each of the first changes, and the number of the others."""
    lines = [f'\n  {change}' for change in changes[:most]]
    return ''.join(lines) + (f'\n  and {len(changes) - most} more' if len(changes) > most else '')


def _short(value: Any) -> str:
    text = value if value is ABSENT else repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Compare the settings of two configs on which the weights of a training depend.

    Another length of the training is a change only if something depends on it:
    a scheduler without ``end``, a schedule of the keep ratio, or accumulated
    gradients, whose last update may cover fewer iterations.

    Args:
        old: config of the checkpoint, as plain values.
        new: config of this run, as plain values.
    """
    before, after = dict(_settings(old)), dict(_settings(new))
    found = []
    for key in dict.fromkeys((*before, *after)):
        values = before.get(key, ABSENT), after.get(key, ABSENT)
        if values[0] == values[1] or any(fnmatchcase(key, name) for name in HARMLESS_KEYS):
            continue
        reason = ', '.join(_depend_on_length(new)) if key in LENGTHS else ''
        if reason or key not in LENGTHS:
            found.append(Change(key, *values, f'{reason} depends on it' if reason else ''))
    return found


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for part in PARTS:
        yield from leaves(part, config.get(part))
    scaling = config.get('auto_scale_lr') or {}
    if scaling.get('enable'):
        yield 'auto_scale_lr.base_batch_size', scaling.get('base_batch_size')
    for name, hook in _hooks(config).items():
        if name not in HARMLESS_HOOKS:
            yield from leaves(name, hook)


def _hooks(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hooks of a config by the name of their type."""
    hooks = [hook if hook.get('type') else dict(hook, type=key)
             for key, hook in (config.get('default_hooks') or {}).items() if hook]
    named: dict[str, Any] = {}
    for hook in [*hooks, *(config.get('custom_hooks') or [])]:
        name = str(hook['type']).rpartition('.')[2]
        while name in named:
            name += "'"
        named[name] = hook
    return named


def leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values below a key, with their keys joined by dots."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from leaves(f'{key}.{name}', inner)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, inner in enumerate(value):
            yield from leaves(f'{key}.{number}', inner)
    else:
        yield key, value


def _depend_on_length(config: Mapping[str, Any]) -> Iterator[str]:
    schedulers = config.get('param_scheduler') or []
    for number, scheduler in enumerate(schedulers if isinstance(schedulers, list)
                                       else [schedulers]):
        if scheduler.get('end') is None:
            yield f'param_scheduler.{number} without end'
    yield from (name for name in LENGTH_HOOKS if name in _hooks(config))
    if (config.get('optim_wrapper') or {}).get('accumulative_counts', 1) > 1:
        yield 'optim_wrapper.accumulative_counts'
