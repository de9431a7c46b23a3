"""Sentences for the errors of other packages that a mistake in a config causes."""
from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from urllib.error import URLError

import torch
from mmengine.config import Config

from sbp_tad.apis.command_line import has_lost_process
from sbp_tad.apis.config.failed_parts import (
    failed_component,
    failed_condition,
    failed_field,
    failed_modules,
)
from sbp_tad.apis.config.weight_files import IMAGE_NETWORKS
from sbp_tad.errors import ConfigError, UserError

AVA = ('spatio-temporal detection (AVA, MultiSports) needs mmdet and the compiled operators of '
       'the full mmcv, which mmcv-lite leaves out. Train it with an installation of mmaction2 '
       'that has both; the other tasks of mmaction2 run here.')
# Components that are missing for a reason.
MISSING = dict(
    FastRCNN=AVA, AVARoIHead=AVA,
    DRN='The wheel of mmaction2 1.2.0 lacks the module of DRN; install mmaction2 from its '
        'repository to train it.',
    MobileOneTSM='It needs mmpretrain, which is not installed.',
    Collect='It is of mmaction2 0.x; use PackActionInputs in place of Collect and ToTensor.',
    ToTensor='It is of mmaction2 0.x; use PackActionInputs in place of Collect and ToTensor.')
SPELLING = 'Check its spelling, and name the module that registers it in custom_imports.'
ARGUMENTS = re.compile(r'\barguments?\b(?! converted)')
# Raised while a component is built, they are of a wrong option.
VALUE_ERRORS = (TypeError, ValueError, AssertionError, AttributeError, LookupError,
                ArithmeticError, RuntimeError)
PATH_ERRORS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)


@contextmanager
def config_faults(cfg: Config | None = None) -> Iterator[None]:
    """Turn an error that a mistake in a config causes into one sentence.

    Args:
        cfg: of the run, to name the weights that it loads.

    Raises:
        ConfigError: an unknown type, options that a type does not take, a package or a file
            that is not there, weights that cannot be downloaded, a video that cannot be read.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        sentence = explain(error, cfg)
        if sentence is None:
            raise
        raise ConfigError(sentence) from error


def explain(error: Exception, cfg: Config | None = None) -> str | None:
    """Return the sentence for an error, None for one that no mistake in a config causes."""
    text = last_line(error)
    if isinstance(error, KeyError) and 'is not in the' in text:
        return f'the config names an unknown component: {explain_component(text)}'
    if isinstance(error, KeyError) and 'must contain the key "type"' in text:
        found = text.partition('but got ')[2].partition('\n')[0]
        return f'a component of the config has no type, got {found}. Correct the name of its ' \
               'key, or add type=...'
    if isinstance(error, torch.OutOfMemoryError) or \
            isinstance(error, RuntimeError) and has_lost_process(error):
        return None
    component, options = failed_component(error, cfg) or (None, '')
    if isinstance(error, TypeError) and ARGUMENTS.search(text):
        return f'{component or "a component of the config"} has wrong options: {text}'
    is_wrong_value = isinstance(error, VALUE_ERRORS)
    said = f'{type(error).__name__} {text}'.strip() if len(text.split()) < 2 else text
    if not text and (condition := failed_condition(error)):
        said = condition
    if component and text.startswith(('Install ', 'Please install ')):
        return f'{component} needs a package that is not installed: {text}.'
    if is_wrong_value and component:
        return f'{component} cannot be built with {options}: {said}. Correct the option of the ' \
               'wrong type or value.'
    if isinstance(error, ImportError):
        return f'the config needs a package that is not installed: {text}'
    if isinstance(error, URLError):
        return f'weights cannot be downloaded ({text}). {advise_weights(cfg)}'
    if isinstance(error, PATH_ERRORS):
        return f'a file that the config names cannot be read: {text}. Check the paths of the ' \
               'config: ann_file, data_prefix, load_from and those of the pipelines.'
    if type(error).__name__ == 'DECORDError':
        return f'a video cannot be read: {text}'
    if modules := failed_modules(error):
        return f'{modules} cannot process its input in the first step: {said}. Compare the ' \
               'channels and sizes that it is built for with what the part before it gives.'
    if is_wrong_value and 'CUDA' not in text and (field := failed_field(error)):
        return f'{field} of the config cannot be used: {said}. Correct its value.'
    return None


def explain_component(text: str) -> str:
    """Return why a registry does not know a component."""
    message = text.partition('. Please check')[0].strip('\'"')
    scope, _, name = message.partition(' is not in the')[0].rpartition('.')
    if name not in MISSING and scope.isidentifier() and find_spec(scope) is None:
        return f'{message}: it is of the package {scope}, which is not installed.'
    return f'{message}. {MISSING.get(name, SPELLING)}'


def last_line(error: Exception) -> str:
    """Return the message alone: a data worker sends its errors with the traceback in the text."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if 'Original Traceback' in text:
        text = text.rstrip().rpartition('\n')[2].partition(': ')[2]
    return text.strip().rstrip('.')


def advise_weights(cfg: Config | None) -> str:
    """Return which keys of a config name weights on the network, and what to do."""
    roots = () if cfg is None else ('model', 'load_from')
    found = [f'{key} ({value})' for root in roots
             for key, value in _addresses(cfg.get(root), root)]
    switches = [f'{key}.pretrained2d=False' for root in roots
                for key in _image_networks(cfg.get(root), root)]
    also = f' (with {" and ".join(switches)})' if switches else ''
    return f'Download the file elsewhere and set its path in place of the address, or None{also} ' \
           f'to train from scratch{": " if found else ""}{", ".join(found)}.'


def _image_networks(value: Any, key: str) -> Iterator[str]:
    """Keys of networks below ``value`` that load weights of images even from None."""
    if isinstance(value, dict):
        if str(value.get('type')).rpartition('.')[2] in IMAGE_NETWORKS \
                and value.get('pretrained2d', True):
            yield key
        for name, inner in value.items():
            yield from _image_networks(inner, f'{key}.{name}')


def _addresses(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Keys and addresses of weights below ``value``."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _addresses(inner, f'{key}.{name}')
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _addresses(inner, f'{key}.{number}')
    elif isinstance(value, str) and '://' in value:
        yield key, value
