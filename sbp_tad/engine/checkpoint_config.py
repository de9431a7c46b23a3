"""Settings that give weights their meaning, compared between a checkpoint and a run.

Another number of frames per clip, another frame rate or other strides change no
shape: the weights load, and the scores are those of another network.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from sbp_tad.engine.config_text import read_config_text
from sbp_tad.engine.training_settings import ABSENT, Change, leaves, listed

# Names of options, at any depth of the model, on which the outputs of trained weights depend.
MODEL_OPTIONS = frozenset((
    'anchor_scales', 'bgr_to_rgb', 'block', 'clip_len', 'context_frames', 'dilations',
    'empty_history', 'history_from', 'input_format', 'mean', 'memory_frames', 'memory_stride',
    'norm_eps', 'num_frames', 'num_heads', 'num_segments', 'num_steps', 'pad_to', 'padding',
    'positions_from', 'prior_offset', 'regression_ranges', 'shift_div', 'std', 'stride', 'strides',
    'to_rgb', 'window', 'windows'))
DATA_OPTIONS = frozenset((
    'num_frames', 'stride_frames', 'target_fps', 'memory_frames', 'memory_stride',
    'source.stride_frames', 'source.window_frames', 'source.cover'))
PIPELINE_OPTIONS = frozenset(('clip_len', 'frame_interval', 'scale', 'crop_size', 'mean', 'std',
                              'to_bgr', 'input_format'))
TEST_TIME = ('model.test_cfg', )


def changed_meaning(meta: Any, cfg: Config, part: str = '') -> list[Change]:
    """Compare the config in a checkpoint with that of a run.

    Args:
        meta: ``meta`` of the checkpoint; one without a config gives no change.
        cfg: config of the run.
        part: prefix of the weights that are used, for example ``backbone.``; data
            are compared only for the whole model.
    """
    text = meta.get('cfg') if isinstance(meta, Mapping) else None
    if not isinstance(text, str):
        return []
    try:
        old, new = read_config_text(text), read_config_text(cfg.pretty_text)
    except (SyntaxError, ValueError, AttributeError):  # not written by mmengine
        return []
    pairs = [(dict(_model_options(old)), dict(_model_options(new)))]
    if part:
        keys = f'model.{part}', 'model.data_preprocessor.'
        pairs = [tuple({key: value for key, value in options.items() if key.startswith(keys)}
                       for options in pairs[0])]
    elif old.get('test_dataloader') and new.get('test_dataloader'):
        pairs.append((dict(_data_options(old)), dict(_data_options(new))))
    return [Change(key, before.get(key, ABSENT), after.get(key, ABSENT))
            for before, after in pairs for key in dict.fromkeys((*before, *after))
            if before.get(key, ABSENT) != after.get(key, ABSENT)]


def _model_options(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in leaves('model', config.get('model')):
        if key.rpartition('.')[2] in MODEL_OPTIONS and not key.startswith(TEST_TIME):
            yield key, value


def _data_options(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the options of the test set and of the transforms that make its frames."""
    key, dataset = 'test_dataloader.dataset', config['test_dataloader'].get('dataset') or {}
    while isinstance(dataset.get('dataset'), Mapping):
        key, dataset = f'{key}.dataset', dataset['dataset']
    for name, value in leaves('', {**dataset, 'pipeline': None}):
        if name[1:] in DATA_OPTIONS:
            yield f'{key}{name}', value
    for transform in dataset.get('pipeline') or ():
        kind = str(transform.get('type')).rpartition('.')[2]
        for option in PIPELINE_OPTIONS & set(transform):
            yield f'{key}.pipeline.{kind}.{option}', transform[option]


def changed_classes(meta: Any, classes: Any) -> list[Change]:
    """Compare the names of classes in a checkpoint with those of a data set, in their order."""
    known = (meta.get('dataset_meta') or {}) if isinstance(meta, Mapping) else {}
    before, after = list(known.get('classes') or ()), list(classes or ())
    differ = before and after and before != after
    return [Change('dataset.metainfo.classes', before, after)] if differ else []


def meaning_warning(path: Any, changes: list[Change]) -> str:
    """Return the warning that names each setting with both values."""
    return (f'{path} was trained with other settings than this config, and its weights have '
            f'another meaning with them:{listed(changes)}\nThe results may be wrong. Take the '
            'values of the checkpoint, unless the difference is meant.')
