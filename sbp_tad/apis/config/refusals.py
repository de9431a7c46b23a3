"""Configs that cannot run, each refused with a sentence before anything is built."""
from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config
from mmengine.fileio import FileClient
from mmengine.fileio.backends import backends

from sbp_tad.apis.config.weight_files import IMAGE_NETWORKS
from sbp_tad.errors import ConfigError

# Keys of mmaction2 0.x, and what took their place.
OLD_KEYS = dict(
    data='train_dataloader, val_dataloader and test_dataloader',
    optimizer='optim_wrapper.optimizer', optimizer_config='optim_wrapper.clip_grad',
    lr_config='param_scheduler', momentum_config='param_scheduler',
    total_epochs='train_cfg.max_epochs', evaluation='val_evaluator and train_cfg.val_interval',
    checkpoint_config='default_hooks.checkpoint', log_config='default_hooks.logger',
    workflow='train_cfg and val_cfg')
PHASES = dict(train=('train_dataloader', 'train_cfg', 'optim_wrapper'),
              val=('val_dataloader', 'val_cfg', 'val_evaluator'),
              test=('test_dataloader', 'test_cfg', 'test_evaluator'))
# Packages of mmengine's storage backends that nothing else needs.
BACKEND_PACKAGES = dict(petrel='petrel_client', memcached='mc', lmdb='lmdb')
ONE_VIDEO = ('BMN', 'PEM', 'TCANet')  # evaluate one video at a time
HOW_TO = 'docs/howto/mmaction_configs.md'


def check_generation(cfg: Config, path: str) -> None:
    """Refuse what only mmaction2 0.x reads: nothing would say that it has no effect.

    Raises:
        ConfigError: keys of 0.x.
    """
    found = {key: new for key, new in OLD_KEYS.items() if _is_old(cfg, key)}
    if 'average_clips' in (_dict(_dict(cfg.get('model')).get('test_cfg'))):
        found['model.test_cfg.average_clips'] = 'model.cls_head.average_clips'
    if found:
        moved = '; '.join(f'{key} is now {new}' for key, new in found.items())
        raise ConfigError(f'config {path} has keys of mmaction2 0.x, which nothing reads since '
                          f'1.0: {moved}. Write the new keys, or inherit the config of this model '
                          f'in mmaction2 1.x (mmaction::recognition/...), see {HOW_TO}.')


def _is_old(cfg: Config, key: str) -> bool:
    """Return whether the value comes from 0.x, not from a variable of the new keys."""
    value = cfg.get(key)
    if key == 'data':
        return any(isinstance(_dict(value).get(phase), dict) for phase in PHASES)
    if key == 'optimizer':
        return isinstance(value, dict) and value != _dict(cfg.get('optim_wrapper')).get(key)
    if key == 'total_epochs':
        return value is not None and value != _dict(cfg.get('train_cfg')).get('max_epochs')
    return isinstance(value, (dict, list))


def check_model(cfg: Config, path: str) -> None:
    """Refuse a config that describes no model.

    Raises:
        ConfigError: no ``model``.
    """
    if isinstance(cfg.get('model'), dict):
        return
    if 'pgm_proposals_cfg' in cfg:
        raise ConfigError(
            f'config {path} has no model: it describes how BSN makes proposals out of the results '
            'of its first network. Run mmaction2\'s tools/misc/bsn_proposal_generation.py with it, '
            'between the training of bsn_tem and that of bsn_pem.')
    raise ConfigError(f'config {path} defines no model; expected model = dict(type=...).')


def check_phases(cfg: Config, phase: str) -> None:
    """Refuse to train, or to test, with a config that lacks a part of it.

    Args:
        cfg: whole config.
        phase: 'train' or 'test'.

    Raises:
        ConfigError: the name of the parts that are missing.
    """
    for key in (key for keys in PHASES.values() for key in keys if not key.endswith('evaluator')):
        if not isinstance(cfg.get(key), (dict, type(None))):
            raise ConfigError(f'{key} is a {type(cfg[key]).__name__}, expected a dict; a comma '
                              'behind its last parenthesis makes a tuple of it.')
    if missing := [name for name in PHASES[phase] if cfg.get(name) is None]:
        other = ' Such configs of mmaction2 only test published weights: list ' \
            'configs/_base_/recognition/kinetics400_training.py as a second base to train them.' \
            if phase == 'train' and cfg.get('test_dataloader') is not None else ''
        raise ConfigError(f'the config cannot {phase}: it has no {", ".join(missing)}.{other} '
                          f'See {HOW_TO}.')
    for name in PHASES:
        parts = {key: cfg.get(key) is not None for key in PHASES[name]}
        if len(set(parts.values())) > 1:
            raise ConfigError(
                f'the config has {", ".join(key for key, there in parts.items() if there)} but no '
                f'{", ".join(key for key, there in parts.items() if not there)}; write all three, '
                'or set all three to None.')


def check_backends(cfg: Config) -> None:
    """Refuse a storage backend that is unknown, or whose package is not installed.

    Raises:
        ConfigError: the key of the config that names it.
    """
    for root in (*(f'{name}_dataloader' for name in PHASES), 'default_hooks'):
        for path, name in _backends(cfg.get(root), root):
            package = BACKEND_PACKAGES.get(name)
            cure = f'Copy the files to a disk and set --cfg-options {path}='
            default, known = ('disk', FileClient._backends) if path.endswith('io_backend') else \
                ('local', backends)
            if name not in known:
                raise ConfigError(f'{path}: there is no storage backend {name!r}; expected one of '
                                  f'{sorted(known)}.')
            if package and find_spec(package) is None:
                raise ConfigError(f'{path} is {name!r}, which needs the package {package}, which '
                                  f'is not installed. {cure}{default}, or install {package}.')


def _backends(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Keys and names of all storage backends below ``value``."""
    items = value.items() if isinstance(value, dict) else \
        enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, inner in items:
        is_backend = key == 'io_backend' or (key == 'backend' and path.endswith('_args'))
        if is_backend and isinstance(inner, str):
            yield f'{path}.{key}', inner
        else:
            yield from _backends(inner, f'{path}.{key}')


def check_initialization(cfg: Config) -> None:
    """Refuse networks of TSM, TIN and Swin from scratch that ask for weights of images.

    Raises:
        ConfigError: the key to set.
    """
    key, backbone = 'model.backbone', _dict(cfg.model.get('backbone'))
    while 'backbone' in backbone:
        key, backbone = f'{key}.backbone', _dict(backbone['backbone'])
    name = str(backbone.get('type')).rpartition('.')[2]
    if name in IMAGE_NETWORKS and backbone.get('pretrained') is None \
            and backbone.get('pretrained2d', True):
        raise ConfigError(f'{key}.pretrained is None, but {name} loads weights of images unless '
                          f'{key}.pretrained2d=False; set that to train from scratch, or name the '
                          'weights.')


def check_single_videos(cfg: Config) -> None:
    """Refuse batches of several videos where mmaction's ``predict`` looks at the first alone.

    Raises:
        ConfigError: the batch size to set; the recall would be that of a part of the videos.
    """
    name = str(cfg.model.get('type')).rpartition('.')[2]
    for phase in ('val', 'test') if name in ONE_VIDEO else ():
        size = _dict(cfg.get(f'{phase}_dataloader')).get('batch_size', 1)
        if size != 1:
            raise ConfigError(f'{phase}_dataloader.batch_size is {size}, but {name} finds '
                              'proposals for the first video of a batch only; set '
                              f'--cfg-options {phase}_dataloader.batch_size=1.')


def _dict(value: Any) -> dict:
    return value if isinstance(value, dict) else {}
