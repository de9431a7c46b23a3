"""Part of a config in which an error arose, found by the frames of its traceback."""
from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

from mmengine.config import Config
from mmengine.runner import BaseLoop, Runner
from torch import nn

# Methods of a Runner that read one field -> that field.
RUNNER_FIELDS = dict(
    setup_env='env_cfg', set_randomness='randomness', build_logger='log_level',
    build_visualizer='visualizer', build_model='model', wrap_model='model_wrapper_cfg',
    build_log_processor='log_processor', build_optim_wrapper='optim_wrapper',
    build_param_scheduler='param_scheduler', scale_lr='auto_scale_lr',
    build_train_loop='train_cfg', build_val_loop='val_cfg', build_test_loop='test_cfg',
    register_default_hooks='default_hooks', register_custom_hooks='custom_hooks')
PLAIN = (str, int, float, bool, type(None))
LONGEST_SHOWN = 60  # characters of a list or dict among the options
# Words of torch, numpy and mmengine about tensors that do not fit together.
SHAPE_WORDS = re.compile(
    r'shape|size|dimension|channels|normalized_shape|must match|out of range|should contain|'
    r'Given groups|stack expects|not enough values to unpack|too many values to unpack')


def frames(error: BaseException) -> Iterator[FrameType]:
    """Yield the frames of an error's traceback, outermost first."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def failed_component(error: BaseException, cfg: Config | None = None) -> tuple[str, str] | None:
    """Return the component that mmengine was building at an error, and its plain options.

    Args:
        error: caught.
        cfg: whole config, to name the key of the component in it.

    Returns:
        For example ``('model.backbone (ResNet)', 'depth=11')``; None if nothing was built.
    """
    built = [frame.f_locals for frame in frames(error) if frame.f_code.co_name == 'build_from_cfg']
    if not built or 'args' not in built[-1] or 'obj_cls' not in built[-1]:
        return None
    options = _plain(built[-1]['args'])
    name = getattr(built[-1]['obj_cls'], '__name__', str(built[-1]['obj_cls']))
    keys = [] if cfg is None else list(_keys(cfg, name, options))
    return (f'{" and ".join(keys[:3])} ({name})' if keys else f'{name} of the config',
            ', '.join(f'{key}={value!r}' for key, value in _shown(built[-1]['args']).items())
            or 'its options')


def _shown(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a sentence names: plain ones, and short lists of settings."""
    return {name: value for name, value in options.items() if name not in ('type', '_scope_')
            and (isinstance(value, PLAIN) or isinstance(value, (dict, list, tuple))
                 and len(repr(value)) <= LONGEST_SHOWN)}


def failed_condition(error: BaseException) -> str | None:
    """Return the assertion that failed, and its place, for an error that says nothing."""
    if not isinstance(error, AssertionError) or error.__traceback__ is None:
        return None
    place = traceback.extract_tb(error.__traceback__)[-1]
    condition = (place.line or '').removeprefix('assert ').rstrip(',')
    return f'{condition!r} does not hold ({place.filename.rpartition("site-packages/")[2]}, ' \
           f'line {place.lineno})' if condition else None


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if isinstance(value, PLAIN)
            and name not in ('type', '_scope_')}


def _keys(value: Any, name: str, options: Mapping[str, Any], key: str = '') -> Iterator[str]:
    """Yield the keys below ``value`` of components of this type with these options."""
    if isinstance(value, (Mapping, Config)):
        own = value.get('type')
        own_name = own.rpartition('.')[2] if isinstance(own, str) else getattr(own, '__name__', '')
        given = _plain(value)  # the component may have had defaults in addition
        if own_name == name and given.items() <= options.items():
            yield key
        for inner in value:
            yield from _keys(value[inner], name, options, f'{key}.{inner}' if key else inner)
    elif isinstance(value, (list, tuple)):
        for place, inner in enumerate(value):
            yield from _keys(inner, name, options, f'{key}.{place}')


def failed_field(error: BaseException) -> str | None:
    """Return the field of the config that a Runner was reading at an error."""
    fields = [RUNNER_FIELDS[name] for frame in frames(error)
              if (name := frame.f_code.co_name) in RUNNER_FIELDS
              and isinstance(frame.f_locals.get('self'), Runner)]
    return fields[-1] if fields else None


def failed_modules(error: BaseException) -> str | None:
    """Return the module whose input did not fit in a first step; None for another error.

    The name is that in the config, for example ``model.cls_head.fc_cls
    (Linear, in model.cls_head, TSNHead)``.
    """
    if not isinstance(error, (RuntimeError, ValueError, IndexError, AssertionError)) \
            or not SHAPE_WORDS.search(str(error)) or not is_first_step(error):
        return None
    modules = list(dict.fromkeys(module for frame in frames(error)
                                 if isinstance(module := frame.f_locals.get('self'), nn.Module)))
    if not modules:
        return None
    names = {module: f'model.{name.removeprefix("module.")}'
             for name, module in modules[0].named_modules() if name not in ('', 'module')}
    inner = [module for module in modules if module in names]
    if not inner:
        return f'model ({type(modules[-1]).__name__})'
    last, owner = inner[-1], inner[0]
    within = '' if last is owner else f', in {names[owner]}, {type(owner).__name__}'
    return f'{names[last]} ({type(last).__name__}{within})'


def is_first_step(error: BaseException) -> bool:
    """Return whether an error arose in the first step of a loop, or outside any loop."""
    steps = [frame.f_locals for frame in frames(error) if frame.f_code.co_name == 'run_iter'
             and isinstance(frame.f_locals.get('self'), BaseLoop)]
    return all(step.get('idx', getattr(step['self'], '_iter', 0)) == 0 for step in steps)
