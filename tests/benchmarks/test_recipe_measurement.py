"""Bytes and time of a recipe's training step, on small networks."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from recognition_cases import shrink_backbone, shrink_pipeline

from benchmarks.recipe_measurement import (
    RecipeSettings,
    build,
    full_twin,
    measure_recipe,
    timed_shape,
    training_loss,
)
from sbp_tad.apis.launch import load_config
from sbp_tad.errors import ConfigError
from sbp_tad.planning.saved_memory import meter_saved_memory
from sbp_tad.sbp import SavedMemory

ROOT = Path(__file__).parents[2]
TOY = 'configs/toy/actionformer_r3d10_sbp-r4_toy.py'
BYTES_ALONE = RecipeSettings(repeats=0)


def load(path: str) -> Config:
    return load_config(str(ROOT / path))


def small_recognizer(name: str) -> Config:
    """A recognition recipe, its network and clips shrunk."""
    cfg = load(f'configs/recognition/{name}.py')
    cfg.model.cls_head.in_channels = shrink_backbone(cfg.model.backbone.backbone)
    dataset = cfg.train_dataloader.dataset
    dataset.pipeline = shrink_pipeline(dataset.pipeline)
    return cfg


def test_a_detector_saves_what_a_whole_step_does():
    cfg = load(TOY)
    measured = measure_recipe(cfg, BYTES_ALONE)
    num_frames = cfg.train_dataloader.dataset.num_frames
    assert measured.saved_shape[:2] == (3, num_frames) and measured.keep_ratio == 0.25
    assert list(measured.saved_bytes) == [1.0, 0.5, 0.25, 0.125]
    assert measured.time_ratio is measured.time_shape is measured.full_saved_bytes is None
    model = build(cfg.model)
    with meter_saved_memory(model) as meter:
        training_loss(model, torch.randn(1, *measured.saved_shape))
    assert measured.saved_bytes[0.25] == pytest.approx(meter.bytes, rel=0.05)


def test_a_smaller_size_saves_less_and_is_told():
    cfg = load(TOY)
    large, small = (measure_recipe(cfg, RecipeSettings(size=size, repeats=0))
                    for size in (None, 24))
    assert small.saved_shape[2:] == (24, 24)
    assert small.saved_bytes[1.0] < 0.6 * large.saved_bytes[1.0]


def test_a_step_is_timed_in_turns_with_full_backpropagation():
    measured = measure_recipe(load(TOY), RecipeSettings(clips=2, size=24, repeats=3))
    assert measured.time_shape[:2] == (1, 3) and measured.time_shape[3:] == (24, 24)
    assert sorted(measured.step_ratios)[1] == measured.time_ratio
    assert len(measured.step_ratios) == 3 and min(measured.step_ratios) > 0


@pytest.mark.parametrize('name, shape', [
    ('swin-t_sbp-r2_32x2-30e_kinetics400', (3, 8, 32, 32)),
    ('vit-t_sbp-r2_300e_imagenet', (3, 32, 32))])
def test_a_recognizer_beside_its_plain_network(name, shape):
    cfg = small_recognizer(name)
    measured = measure_recipe(cfg, RecipeSettings(clips=2, repeats=1))
    assert measured.saved_shape == shape and measured.time_shape == (2, *shape)
    saved = list(measured.saved_bytes.values())
    assert saved == sorted(saved, reverse=True) and saved[-1] < saved[0]
    assert measured.keep_ratio == 0.5 and len(measured.step_ratios) == 1
    plain = full_twin(cfg.model)
    plain.backbone = plain.backbone.backbone
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        network = build(plain)
    with SavedMemory(network) as meter:
        training_loss(network, torch.randn(1, *shape))
    assert measured.full_saved_bytes == pytest.approx(meter.bytes, rel=0.01)


def test_features_need_no_clips():
    cfg = load('configs/actionformer/actionformer_i3d-features_thumos14.py')
    cfg.model.neck.update(in_channels=16, embed_channels=32)
    cfg.model.head.in_channels = 32
    cfg.train_dataloader.dataset.num_frames = 64
    measured = measure_recipe(cfg, BYTES_ALONE)
    assert measured.saved_shape == (16, 64) and list(measured.saved_bytes) == [1.0]
    assert measured.keep_ratio is None
    assert timed_shape(build(cfg.model), measured.saved_shape, clips=4) == (1, 16, 64)


def test_the_full_twin_freezes_nothing_and_leaves_the_config_alone():
    model = ConfigDict(backbone=dict(keep_ratio=0.5, mode='token', token={}, token_blocks=['a'],
                                     backbone=dict(type='X', frozen_stages=2)))
    twin = full_twin(model)
    assert twin.backbone == dict(keep_ratio=1.0, backbone=dict(type='X', frozen_stages=-1))
    assert model.backbone.keep_ratio == 0.5 and model.backbone.backbone.frozen_stages == 2


@pytest.mark.parametrize('options', [dict(clips=0), dict(size=0), dict(repeats=-1)])
def test_settings_that_measure_nothing_are_refused(options):
    with pytest.raises(ConfigError, match='--clips and --size must be at least 1, --repeats at '
                       'least 0, got'):
        RecipeSettings(**options)


def test_other_models_are_refused():
    with pytest.raises(ConfigError, match='or a recognizer.* model is a SegmentationHead'):
        build(ConfigDict(type='sbp_tad.SegmentationHead', num_classes=2, in_channels=8))
