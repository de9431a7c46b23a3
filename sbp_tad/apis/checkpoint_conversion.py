"""Published checkpoints as checkpoints of a config, and back."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

import sbp_tad.models  # noqa: F401, registers what a config names
from sbp_tad.apis.checkpoints import read_checkpoint
from sbp_tad.apis.launch import load_config
from sbp_tad.apis.named_files import find_config
from sbp_tad.converters import lstr
from sbp_tad.converters.conversion import (
    Conversion,
    check_fit,
    convert,
    convert_back,
    find_weights,
)
from sbp_tad.converters.errors import ConversionError
from sbp_tad.converters.layer_scale import fold_scales
from sbp_tad.engine.published_weights import model_weights
from sbp_tad.registry import MODELS
from sbp_tad.wording import count_of

# Recipe of the network that a code base publishes, for the first weight that is found.
RECIPES = (
    ('actionformer', 'neck.embed.0.conv.weight', 'actionformer_i3d-features_thumos14'),
    ('opentad', 'backbone.pos_embed', 'actionformer_videomae-s_adapters_768x4_thumos14'),
    ('opentad', 'neck.embed.0.conv.weight', 'actionformer_opentad_i3d-features_thumos14'),
    ('vedatad', 'backbone.conv1.conv.weight', 'daotad_i3d-r50_frozen-stage1_768x25fps_thumos14'),
    ('lstr', 'head.classifier.weight', lstr.RECIPES[22]),
)
NOT_PUBLISHED = ('head.normalizer', )  # a running mean that ActionFormer's code does not save
CLASS_COMMENT = """
# The checkpoint does not hold the names of its {number} classes. Write their names in place of
# these, in the order of the labels of the published code, and set ann_file to their annotation.
"""
PRETRAINING_NORM = 'backbone.norm.'  # of a VideoMAE that is pre-trained and not fine-tuned
# Weights of a backbone, with which the training of a detector begins.
PRETRAINED = ('videomae', 'sbp', 'mmaction')


@dataclass(frozen=True)
class ConvertedCheckpoint:
    """A published checkpoint for a config.

    Args:
        conversion: its weights and what became of every name.
        weights: those weights, with first values of what the code base does not save.
        config: path of the config.
        changes: ``model`` settings of the config that the shapes of the weights ask for.
    """

    conversion: Conversion
    weights: dict[str, Tensor]
    config: str
    changes: dict[str, Any]


def convert_checkpoint(path: str | Path, source: str | None = None, config: str | None = None
                       ) -> ConvertedCheckpoint:
    """Read a published checkpoint and convert it, completely or not at all.

    Args:
        path: local file; no code in it is run.
        source: code base, one of :data:`sbp_tad.converters.conversion.SOURCES`;
            found by the names if not given.
        config: path or name of the config to fill; that of the published
            network if not given.

    Raises:
        ConversionError: names that are not known, or weights that do not fill the config.
    """
    found = convert(read_checkpoint(path), source)
    if found.unmapped:
        raise ConversionError(
            f"{path}: {found.source} does not use the names of "
            f"{count_of(len(found.unmapped), 'weight')}, such as {found.unmapped[0]}. Nothing was "
            'converted: it is another network, of that code or of another.')
    check_finite(found.weights, path)
    chosen = find_config(config or _recipe(found))
    cfg = load_config(chosen)
    changes = model_changes(found.weights, cfg.model.get('head') or {})
    cfg.merge_from_dict(dict(model=changes))
    init_default_scope('sbp_tad')
    model = MODELS.build(cfg.model)
    expected = model.state_dict()
    if found.source in PRETRAINED:
        weights = check_backbone(found.weights, model)
    else:
        folded = fold_scales(found.weights, expected)
        check_fit(folded, expected, NOT_PUBLISHED)
        weights = {name: expected[name] for name in NOT_PUBLISHED if name in expected} | folded
    return ConvertedCheckpoint(found, weights, chosen, changes)


def check_finite(weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Check that all weights are finite.

    Raises:
        ConversionError: one holds NaN or infinity.
    """
    bad = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if bad:
        raise ConversionError(
            f'{path}: {len(bad)} of {len(weights)} weights hold NaN or infinity, the first is '
            f'{bad[0]} (our name). Its training has diverged, or the file is damaged; give '
            'another checkpoint.')


def check_backbone(found: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return pre-trained weights, of which those of the backbone must fill that of a detector.

    Its adapters start new, and so does a last norm, which pre-training has under
    another name. A table of positions that is computed may be missing.

    Raises:
        ConversionError: see :func:`sbp_tad.converters.conversion.check_fit`.
    """
    expected = {name: value for name, value in model.state_dict().items()
                if name.startswith('backbone.')}
    learned = {name for name, _ in model_weights(model)}
    new = [name for name in expected if name not in learned or '.adapter.' in name
           or '.fc_norm.' in name]
    weights = {name: value for name, value in found.items()
               if name in expected or not name.startswith(PRETRAINING_NORM)}
    check_fit({name: value for name, value in weights.items() if name.startswith('backbone.')},
              expected, new)
    return weights


def _recipe(found: Conversion) -> str:
    columns = len(found.weights.get('head.classifier.weight', ()))
    if found.source == 'lstr' and columns in lstr.RECIPES:
        return lstr.RECIPES[columns]
    for source, weight, recipe in RECIPES:
        if found.source == source and weight in found.weights:
            return recipe
    raise ConversionError(f'no recipe here has the network of this checkpoint of {found.source}; '
                          'name the config to fill with --config')


def model_changes(weights: Mapping[str, Tensor], head: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sizes of neck and head that the shapes of the weights show.

    Args:
        weights: under our names.
        head: of the config to fill.
    """
    changes: dict[str, Any] = {}
    if head.get('type') == 'LSTRHead' and 'head.queries.0' in weights:
        return dict(head=lstr.head_sizes(weights, bool(head.get('has_ambiguous_class'))))
    embedding = weights.get('neck.embed.0.conv.weight')
    if embedding is not None:
        channels, in_channels = embedding.shape[:2]
        scores = weights['head.cls_tower.predictor.weight']
        changes.update(neck=dict(in_channels=in_channels, embed_channels=channels),
                       head=dict(num_classes=scores.shape[0], in_channels=channels))
    return changes


def write_checkpoint(converted: ConvertedCheckpoint, out: Path) -> Path:
    """Write the weights, and the config that they fill beside them; return its path."""
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=converted.weights), out)
    config = out.with_suffix('.py')
    base = Path(converted.config).resolve()
    name = f'sbp_tad::{base.parent.name}/{base.name}' if 'configs' in base.parts else str(base)
    config.write_text(f'_base_ = {name!r}\n\nmodel = {pformat(converted.changes)}\n'
                      f'load_from = {str(out)!r}\n{_data_settings(converted)}', encoding='utf-8')
    Config.fromfile(config)
    return config


def unknown_classes(converted: ConvertedCheckpoint) -> int:
    """Return the number of classes whose names nothing tells; 0 for those of the recipe."""
    number = converted.changes.get('head', {}).get('num_classes', 0)
    if _test_set(converted).get('type') == 'OnlineFeaturesDataset':
        return 0  # data_info.json names them
    head = load_config(converted.config).model.get('head') or {}
    return 0 if number == head.get('num_classes') else number


def _test_set(converted: ConvertedCheckpoint) -> dict[str, Any]:
    """Return the test set of the recipe; {} without one."""
    loader = load_config(converted.config).get('test_dataloader') or {}
    return loader.get('dataset') or {}


def _data_settings(converted: ConvertedCheckpoint) -> str:
    """Return the lines that make the recipe's data fit the width of the features and the classes.
    """
    source, neck = _test_set(converted).get('source'), converted.changes.get('neck')
    changes: dict[str, Any] = {}
    if streams := _test_set(converted).get('type') == 'OnlineFeaturesDataset' and \
            lstr.STREAMS.get(converted.changes['head']['in_channels']):
        changes['streams'] = streams
    if neck and 'num_channels' in (source or {}):
        changes['source'] = dict(num_channels=neck['in_channels'])
    comment = ''
    if number := unknown_classes(converted):
        changes['metainfo'] = dict(classes=[f'class_{label}' for label in range(number)])
        comment = CLASS_COMMENT.format(number=number)
    if not changes:
        return ''
    return f'{comment}_dataset = {pformat(changes, compact=True)}\n' + ''.join(
        f'{phase}_dataloader = dict(dataset=_dataset)\n' for phase in ('train', 'val', 'test'))


def write_back(path: str | Path, template: str | Path, out: Path) -> None:
    """Write a checkpoint of ours under the names of a published one.

    Args:
        path: checkpoint of ours.
        template: published checkpoint of the same network.
        out: written as ``dict(state_dict=..., state_dict_ema=...)``, or for LSTR
            as ``dict(model_state_dict=...)``.
    """
    weights, published = read_checkpoint(path), read_checkpoint(template)
    ours = convert_back(weights.get('state_dict', weights), published)
    if (container := find_weights(published)[1]) == 'model_state_dict':
        out.parent.mkdir(parents=True, exist_ok=True)
        torch.save({container: ours}, out)
        return
    named = {f'module.{name}': value for name, value in ours.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=named, state_dict_ema=named), out)
