"""Models of a comparison, built without the weights that their configs would download."""
from __future__ import annotations

import copy

from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from sbp_tad.apis import launch
from sbp_tad.registry import MODELS


def build_model(cfg: Config) -> nn.Module:
    """Build the model of a config, in the default scope of the config.

    Raises:
        ConfigError: the model cannot be built.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmaction')), \
            launch.config_faults():
        return MODELS.build(without_pretrained(cfg.model))


def without_pretrained(model: Config) -> Config:
    """Return a copy of a model's config that downloads no weights."""
    model = copy.deepcopy(model)
    backbone = model.get('backbone') or {}
    for part in (backbone, backbone.get('backbone') or {}):
        if part.get('pretrained'):
            part.update(pretrained=None)
            if part.get('type') == 'SwinTransformer3D':
                part.update(pretrained2d=False)
    return model
