"""Workarounds for the software stack, one function each.

OpenMMLab's last releases are older than current torch, numpy and setuptools.
Each function quotes the error that occurs without it, and does nothing where
the error cannot occur. :func:`prepare_stack` applies the functions that every
process needs; ``import sbp_tad`` applies the two that must precede the import
of mmengine and mmaction2. The tools call :func:`use_plain_collate` and
:mod:`sbp_tad.process_groups`, which holds the workarounds for several
processes. Those within components of mmaction2 are in
:mod:`sbp_tad.mmaction_repairs`.

At module level only the standard library is imported, so that the torch-only
layer ``sbp_tad.sbp`` stays light.
"""
from __future__ import annotations

import argparse
import functools
import importlib.metadata
import importlib.util
import os
import sys
import types
import warnings
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

from sbp_tad.checkpoint_safety import guard_checkpoint_loading
from sbp_tad.import_hooks import DRNFinder, after_import
from sbp_tad.mmaction_repairs import (
    repair_bfloat16_scores,
    repair_negative_hue,
    repair_old_numpy_names,
    repair_tcanet_scores,
)
from sbp_tad.versions import check_versions, require_packages, require_pkg_resources


@functools.cache
def prepare_stack() -> None:
    """Make mmengine, mmcv and mmaction2 work together; once per process.

    Called by ``sbp_tad.registry`` before anything of mmaction is imported.
    Imports mmaction's components (about four seconds), because a child
    registry finds its parent's types only when they are already imported.

    Raises:
        VersionError: a package is missing or has an unsupported version.
    """
    check_versions()
    require_packages()
    require_pkg_resources()
    provide_importlib_metadata()
    provide_missing_drn()
    allow_mmengine_checkpoints()
    guard_checkpoint_loading()
    repair_config_inheritance()
    format_configs_once()
    register_parent_types()
    provide_torchvision_names()
    repair_old_numpy_names()
    repair_tcanet_scores()
    repair_negative_hue()
    repair_bfloat16_scores()


def provide_importlib_metadata() -> None:
    """Cure for ``No module named 'importlib_metadata'``.

    mmaction2 1.2.0 imports the backport without declaring it. The module of
    the standard library has the same names.
    """
    if importlib.util.find_spec('importlib_metadata') is None:
        sys.modules['importlib_metadata'] = importlib.metadata


def provide_missing_drn() -> None:
    """Cure for ``No module named 'mmaction.models.localizers.drn'``.

    The wheel of mmaction2 1.2.0 lacks a subpackage that ``mmaction.models``
    imports. The finder comes last, so an existing subpackage is found first.
    """
    if not any(isinstance(finder, DRNFinder) for finder in sys.meta_path):
        sys.meta_path.append(DRNFinder())


def offer_configs() -> None:
    """Cure for ``mmengine does not support to load sbp_tad config``.

    mmengine resolves ``package::path`` in ``_base_`` for a fixed list of
    packages, and looks in the wrong folder for one that is installed in
    editable form.
    """
    after_import('mmengine.config.config', _add_own_configs)


def prepare_runners() -> None:
    """Apply the cures in programs of others, as mmaction2's own ``tools/train.py``.

    Such a program imports ``sbp_tad`` because a config names it in
    ``custom_imports``, and nothing else of this package where no type of the
    config belongs to it. So each Runner prepares the stack before it begins.
    """
    after_import('mmengine.runner.runner', _prepare_first)


def allow_mmengine_checkpoints() -> None:
    """Cure for ``Weights only load failed ... HistoryBuffer``.

    From version 2.6 on ``torch.load`` refuses what mmengine saves beside the
    weights: the message hub with its ``HistoryBuffer`` objects (numpy arrays
    and references to their statistics methods, pickled as ``getattr``) and
    numpy scalars; VideoMAE's code saves its options, a ``Namespace``. Exactly
    these become loadable, the first through the functions of
    :mod:`sbp_tad.checkpoint_arrays`. ``weights_only`` stays on, and
    :mod:`sbp_tad.checkpoint_safety` refuses every other object.
    """
    from mmengine.logging import HistoryBuffer
    from torch import serialization

    from sbp_tad import checkpoint_arrays

    if not hasattr(serialization, 'add_safe_globals'):  # torch < 2.4 has no such list
        return
    HistoryBuffer()  # the first instance fills the table of statistics methods
    safe = [HistoryBuffer, argparse.Namespace, checkpoint_arrays.NAMED_ARRAY,
            checkpoint_arrays.NAMED_DTYPE, _renamed(_statistics_method, 'builtins', 'getattr')]
    for core in ('core', '_core'):  # before and since numpy 2
        place = f'numpy.{core}.multiarray'
        safe.append(_renamed(checkpoint_arrays.rebuild_array, place, '_reconstruct'))
        safe.append(_renamed(checkpoint_arrays.rebuild_scalar, place, 'scalar'))
    serialization.add_safe_globals(safe)


def repair_config_inheritance() -> None:
    """Cure for ``'list' object has no attribute 'partition'``, and for wrong paths.

    Two model files of mmaction2 1.1.0 list several configs in one entry, and
    mmengine's lookup of ``mmaction::...`` in ``_base_`` fails there. Those of
    1.2.0 list a C2D config without ``.py`` (``file ... does not exist``). If the
    lookup reports that the config is not in its index, mmengine takes the
    same file from ``.mim/configs`` by its path.
    """
    from mmengine.config import utils

    if hasattr(utils._get_cfg_metainfo, '__wrapped__'):
        return
    look_up = utils._get_cfg_metainfo

    @functools.wraps(look_up)
    def look_up_or_refuse(package_path: str, cfg_path: str) -> dict:
        try:
            found = look_up(package_path, cfg_path)
        except AttributeError as error:
            raise ValueError(f'{cfg_path} is not in the index of {package_path}') from error
        if not os.path.isfile(os.path.join(package_path, found['Config'])):
            raise ValueError(f'the index of {package_path} has a wrong path for {cfg_path}')
        return found

    utils._get_cfg_metainfo = look_up_or_refuse


def format_configs_once() -> None:
    """Cure for seconds lost at each start and half a second at each checkpoint.

    mmengine formats the text of a config with yapf for its log, its dump and
    each checkpoint: the same text again, up to nine times per run.
    """
    from mmengine.config import config

    if hasattr(config.FormatCode, '__wrapped__'):
        return
    format_code = config.FormatCode
    formatted: dict[str, Any] = {}  # the last text alone

    @functools.wraps(format_code)
    def format_once(text: str, **options: Any) -> Any:
        if text not in formatted:
            result = format_code(text, **options)
            formatted.clear()
            formatted[text] = result
        return formatted[text]

    config.FormatCode = format_once


def register_parent_types() -> None:
    """Cure for ``X is not in the sbp_tad::model registry``.

    ``Registry.get`` of mmengine imports the locations of its own registry
    only, then searches the components that its parents already hold.
    """
    with warnings.catch_warnings():
        # mmcv-lite warns on every import about a module that is not used here.
        warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``')
        from mmaction.utils import register_all_modules

        register_all_modules(init_default_scope=False)


def provide_torchvision_names() -> None:
    """Cure for ``No module named 'torchvision'`` of ``pretrained='torchvision://resnet50'``.

    mmengine holds the addresses of these weights itself, and asks torchvision
    only for those of its newer names.
    """
    from mmengine.runner import checkpoint

    if hasattr(checkpoint.get_torchvision_models, '__wrapped__'):
        return
    look_up = checkpoint.get_torchvision_models

    @functools.wraps(look_up)
    def look_up_or_read() -> dict[str, str]:
        try:
            return look_up()
        except (ImportError, RuntimeError):  # not installed, or built for another torch
            import mmengine

            return mmengine.load(os.path.join(mmengine.__path__[0], 'hub/torchvision_0.12.json'))

    checkpoint.get_torchvision_models = look_up_or_read


def use_plain_collate(cfg: Any) -> None:
    """Cure for ``repeat_pseudo_collate() got an unexpected keyword argument '_scope_'``.

    A config that inherits from ``mmaction::`` marks every type with its
    package, and the Runner passes that mark to the collate function.
    """
    for phase in ('train', 'val', 'test'):
        loader = cfg.get(f'{phase}_dataloader')
        collate = loader.get('collate_fn') if isinstance(loader, dict) else None
        if isinstance(collate, dict):
            collate.pop('_scope_', None)


def _add_own_configs(config: types.ModuleType) -> None:
    """Add this package to those whose configs ``mmengine.config.config`` finds."""
    from mmengine.config.utils import MODULE2PACKAGE

    own, find = __package__, config.get_installed_path
    if own not in MODULE2PACKAGE:
        MODULE2PACKAGE[own] = own
        config.get_installed_path = functools.wraps(find)(
            lambda package: os.path.dirname(__file__) if package == own else find(package))


def _prepare_first(runner: types.ModuleType) -> None:
    """Let ``Runner`` of ``mmengine.runner.runner`` prepare the stack before it begins."""
    begin = runner.Runner.__init__
    if hasattr(begin, '__wrapped__'):
        return

    @functools.wraps(begin)
    def prepare_and_begin(self: Any, *args: Any, **kwargs: Any) -> None:
        prepare_stack()
        use_plain_collate(kwargs)
        begin(self, *args, **kwargs)

    runner.Runner.__init__ = prepare_and_begin


@functools.cache
def _renamed(function: Callable, module: str, name: str) -> Callable:
    """Return the function under the name that torch's unpickler looks up."""
    def call(*args: Any) -> Any:
        return function(*args)

    call.__module__, call.__qualname__, call.__name__ = module, name, name
    return call


def _statistics_method(owner: Any, name: str) -> Callable:
    """Restricted ``getattr``: return a statistics method of a history buffer."""
    from mmengine.logging import HistoryBuffer

    if owner is not HistoryBuffer or name not in HistoryBuffer._statistics_methods:
        raise UnpicklingError(f'getattr of {name!r} on {owner!r} is not allowed in a checkpoint')
    return HistoryBuffer._statistics_methods[name]
