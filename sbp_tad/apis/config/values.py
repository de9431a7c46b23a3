"""Check and repair the values of a config before a Runner is built from it."""
from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from multiprocessing import get_all_start_methods
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import OPTIMIZERS
from mmengine.runner import FlexibleRunner, Runner

from sbp_tad.errors import ConfigError

ROLES = ('train', 'val', 'test')
# Keys at the top of a config that are read besides the arguments of a Runner.
OTHER_KEYS = ('custom_imports', 'find_unused_parameters', 'model_wrapper_cfg', 'runner_type',
              'sync_bn', 'tta_model', 'tta_pipeline', 'activation_checkpointing',
              'efficient_conv_bn_eval', 'compile')
# Number -> the least whole number; None for any number.
DATASET_NUMBERS: dict[str, int | None] = dict(
    num_frames=1, windows_per_video=1, memory_frames=0, memory_stride=1, stride_frames=None,
    target_fps=None, overlap=None, tolerance_seconds=None)
SOURCE_NUMBERS: dict[str, int | None] = dict(
    stride_frames=None, window_frames=None, num_channels=1, length_tolerance=None)
LOOP_NUMBERS: dict[str, int | None] = dict(max_epochs=1, max_iters=1, val_interval=1, val_begin=0)
HOOK_NUMBERS: dict[str, int | None] = dict(interval=None, max_keep_ckpts=None)
SCHEDULE_NUMBERS: dict[str, int | None] = dict.fromkeys(
    ('begin', 'end', 'T_max', 'eta_min', 'gamma', 'power', 'start_factor', 'end_factor'))
LOG_LEVELS = ('DEBUG', 'INFO', 'WARNING', 'WARN', 'ERROR', 'CRITICAL', 'FATAL', 'NOTSET')
PATHS = ('data_root', 'ann_file', 'filename_template')  # of a data set, strings
# Options of a loader that need workers -> their values without.
WORKER_OPTIONS: dict[str, Any] = dict(persistent_workers=False, prefetch_factor=None, timeout=0,
                                      multiprocessing_context=None)


def prepare_values(cfg: Config) -> None:
    """Check loaders and paths; remove the options that ``num_workers=0`` does not accept.

    Raises:
        ConfigError: see :func:`check_loader` and :func:`check_paths`.
    """
    check_loops(cfg)
    check_processes(cfg)
    check_hooks(cfg)
    check_optimizer(cfg.get('optim_wrapper'))
    for role in ROLES:
        loader = cfg.get(f'{role}_dataloader')
        for key, each in _loaders(f'{role}_dataloader', loader):
            check_loader(key, each)
            for dataset_key, dataset in data_sets(f'{key}.dataset', each.get('dataset')):
                check_paths(dataset_key, dataset)
                check_numbers(dataset_key, dataset, DATASET_NUMBERS)
                source = dataset.get('source')
                check_numbers(f'{dataset_key}.source', source or {}, SOURCE_NUMBERS)
            if each.get('num_workers', 0) == 0:
                for name, value in WORKER_OPTIONS.items():
                    if name in each:
                        each[name] = value


def _loaders(key: str, loader: Any) -> Iterator[tuple[str, Any]]:
    """Yield the loaders of a role: one, or several of a multi-loader loop, not built ones."""
    if isinstance(loader, Mapping):
        yield key, loader
    elif isinstance(loader, (list, tuple)):
        for place, each in enumerate(loader):
            yield from _loaders(f'{key}.{place}', each)


def data_sets(key: str, dataset: Any) -> Iterator[tuple[str, Mapping]]:
    """Yield the configs inside wrappers, for example RepeatDataset, with their keys."""
    if not isinstance(dataset, Mapping):
        return
    if 'dataset' in dataset:
        yield from data_sets(f'{key}.dataset', dataset['dataset'])
    elif 'datasets' in dataset:
        for place, each in enumerate(dataset['datasets']):
            yield from data_sets(f'{key}.datasets.{place}', each)
    else:
        yield key, dataset


def check_loader(key: str, loader: Mapping[str, Any]) -> None:
    """Check batch size, number of workers and switches.

    Raises:
        ConfigError: a value of another type, or too small.
    """
    check_numbers(key, loader, dict(batch_size=1, num_workers=0))
    for name in ('drop_last', 'persistent_workers', 'pin_memory'):
        value = loader.get(name)
        if value is not None and not isinstance(value, bool):
            raise ConfigError(f'{key}.{name} must be True or False, got {value!r}.')


def check_numbers(key: str, options: Mapping[str, Any], known: Mapping[str, int | None]) -> None:
    """Check that options are numbers; None stands for a default.

    Args:
        key: key of the options in the config.
        options: options to check.
        known: least whole number of each option, None for any number.

    Raises:
        ConfigError: one is not; the message names its key.
    """
    for name, least in known.items():
        value = options.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f'{key}.{name} must be a number, got {value!r}.')
        if least is not None and (value != int(value) or value < least):
            raise ConfigError(f'{key}.{name} must be a whole number of at least {least}, '
                              f'got {value!r}.')


def check_loops(cfg: Config) -> None:
    """Check the numbers of the training loop and the seed.

    Raises:
        ConfigError: a value of another type, or too small.
    """
    check_numbers('train_cfg', cfg.get('train_cfg') or {}, LOOP_NUMBERS)
    check_numbers('randomness', cfg.get('randomness') or {}, dict(seed=0))
    for name in ('work_dir', 'load_from'):
        value = cfg.get(name)
        if value is not None and not isinstance(value, str):
            raise ConfigError(f'{name} must be a path as text, got {value!r}.')


def check_processes(cfg: Config) -> None:
    """Check the settings of ``env_cfg.mp_cfg``, and ``log_level``.

    Raises:
        ConfigError: an unknown start method or level, or a value of another type.
    """
    level = cfg.get('log_level')
    if level is not None and not isinstance(level, int) and level not in LOG_LEVELS:
        raise ConfigError(f'log_level must be one of {LOG_LEVELS}, got {level!r}.')
    key, settings = 'env_cfg.mp_cfg', (cfg.get('env_cfg') or {}).get('mp_cfg') or {}
    method, known = settings.get('mp_start_method'), get_all_start_methods()
    if method is not None and method not in known:
        raise ConfigError(f'{key}.mp_start_method must be one of {known}, got {method!r}.')
    check_numbers(key, settings, dict(opencv_num_threads=None))


def check_hooks(cfg: Config) -> None:
    """Check the numbers of hooks and schedules, which are used only while the training runs.

    Raises:
        ConfigError: a value of another type.
    """
    hooks = {f'default_hooks.{name}': hook
             for name, hook in (cfg.get('default_hooks') or {}).items()}
    schedules = cfg.get('param_scheduler') or []
    if isinstance(schedules, (list, tuple)):
        schedules = {f'param_scheduler.{place}': each for place, each in enumerate(schedules)}
    else:
        schedules = {'param_scheduler': schedules}
    for known, parts in ((HOOK_NUMBERS, hooks), (SCHEDULE_NUMBERS, schedules)):
        for key, part in parts.items():
            if isinstance(part, Mapping):
                check_numbers(key, part, known)


def check_optimizer(wrapper: Mapping[str, Any] | None) -> None:
    """Check the numbers and the type of an optimizer.

    Raises:
        ConfigError: a value of another type, or an unknown optimizer.
    """
    optimizer = (wrapper or {}).get('optimizer')
    if not isinstance(optimizer, Mapping):
        return
    key, kind = 'optim_wrapper.optimizer', optimizer.get('type')
    check_numbers(key, optimizer, dict(lr=None, weight_decay=None, momentum=None))
    check_numbers('optim_wrapper.clip_grad', wrapper.get('clip_grad') or {}, dict(max_norm=None))
    if optimizer.get('lr') is not None and optimizer['lr'] < 0:
        raise ConfigError(f'{key}.lr must be at least 0, got {optimizer["lr"]!r}.')
    names = {name for registry in (OPTIMIZERS, *OPTIMIZERS.children.values())
             for name in registry.module_dict}
    if isinstance(kind, str) and kind.rpartition('.')[2] not in names:
        near = difflib.get_close_matches(kind, names, 1)
        raise ConfigError(f'{key}.type {kind!r} is not a known optimizer.'
                          + (f' Did you mean {near[0]!r}?' if near else ''))


def check_paths(key: str, dataset: Mapping[str, Any]) -> None:
    """Check that the paths of a data set are strings.

    Raises:
        ConfigError: one is a number or another value.
    """
    prefix = dataset.get('data_prefix')
    paths = {name: dataset.get(name) for name in PATHS}
    if isinstance(prefix, Mapping):
        paths.update({f'data_prefix.{name}': value for name, value in prefix.items()})
    for name, value in paths.items():
        if value is not None and not isinstance(value, str):
            raise ConfigError(f'{key}.{name} must be a path as text, got {value!r} '
                              f'({type(value).__name__}). Write it in quotes in the config: '
                              f"{name.rpartition('.')[2]}='{value}'.")


@cache
def top_keys() -> frozenset[str]:
    """Return the keys at the top of a config that have an effect."""
    arguments = {name for runner in (Runner, FlexibleRunner)
                 for name in inspect.signature(runner).parameters}
    return frozenset(arguments - {'cfg'} | set(OTHER_KEYS))


def check_overrides(cfg: Config, options: Mapping[str, Any]) -> None:
    """Check that the overrides of a command line have an effect.

    A config file may define variables, for example ``data_root``, and use them
    in several places. They are used when the file is read, so a later override
    of the variable changes nothing.

    Args:
        cfg: the config before the overrides.
        options: overrides by dotted key.

    Raises:
        ConfigError: an override without an effect; the message names the keys
            to override instead.
    """
    for key in options:
        top = key.partition('.')[0]
        if top in top_keys():
            continue
        if top not in cfg:
            near = difflib.get_close_matches(top, top_keys(), 1)
            raise ConfigError(f'--cfg-options {key}: the config has no {top!r}, and nothing reads '
                              'it.' + (f' Did you mean {near[0]!r}?' if near else ''))
        places = list(_places(cfg, cfg[top], top))
        where = ' Override ' + ' and '.join(f'{place}=...' for place in places[:6]) \
            + ' instead.' if places else ''
        raise ConfigError(f'--cfg-options {key} has no effect: {top!r} is a variable of the config '
                          f'file, which is used while the file is read.{where}')


def _places(cfg: Config, value: Any, name: str) -> Iterator[str]:
    """Yield the keys under which the value of a variable occurs."""
    is_telling = isinstance(value, (dict, list, tuple, str))  # numbers occur by chance

    def search(node: Any, key: str) -> Iterator[str]:
        if (is_telling or key.rpartition('.')[2] == name) and node == value:
            yield key
        elif isinstance(node, (dict, ConfigDict)):
            for each in node:
                yield from search(node[each], f'{key}.{each}')

    for top in cfg:
        if top in top_keys():
            yield from search(cfg[top], top)
