"""Check and repair the values of a config before a Runner is built from it."""
from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.runner import FlexibleRunner, Runner

from sbp_tad.errors import ConfigError

ROLES = ('train', 'val', 'test')
# Keys at the top of a config that are read besides the arguments of a Runner.
OTHER_KEYS = ('custom_imports', 'find_unused_parameters', 'model_wrapper_cfg', 'runner_type',
              'sync_bn', 'tta_model', 'tta_pipeline', 'activation_checkpointing',
              'efficient_conv_bn_eval', 'compile')
PATHS = ('data_root', 'ann_file', 'filename_template')  # of a data set, strings
# Options of a loader that need workers -> their values without.
WORKER_OPTIONS: dict[str, Any] = dict(persistent_workers=False, prefetch_factor=None, timeout=0,
                                      multiprocessing_context=None)


def prepare_values(cfg: Config) -> None:
    """Check loaders and paths; remove the options that ``num_workers=0`` does not accept.

    Raises:
        ConfigError: see :func:`check_loader` and :func:`check_paths`.
    """
    for role in ROLES:
        loader = cfg.get(f'{role}_dataloader')
        for key, each in _loaders(f'{role}_dataloader', loader):
            check_loader(key, each)
            for dataset_key, dataset in data_sets(f'{key}.dataset', each.get('dataset')):
                check_paths(dataset_key, dataset)
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
    """Check batch size and number of workers.

    Raises:
        ConfigError: not whole numbers of at least 1 and 0.
    """
    for name, least in (('batch_size', 1), ('num_workers', 0)):
        value = loader.get(name)
        if value is None and name == 'batch_size' and 'batch_sampler' in loader:
            continue
        if value is not None and (type(value) is not int or value < least):
            raise ConfigError(f'{key}.{name} must be a whole number of at least {least}, '
                              f'got {value!r}.')


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
