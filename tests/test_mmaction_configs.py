"""mmaction's own recognition configs with the README's two lines: they train, with less memory."""
import logging
import re
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from families import rest_nightly
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint
from recognition_cases import NUM_FRAMES, saved_bytes, shrink, write_clips

from sbp_tad.apis import launch
from sbp_tad.registry import MODELS

ROOT = Path(__file__).parents[1]
TRAINING = str(ROOT / 'configs/_base_/recognition/kinetics400_training.py')
STEPS = 10


@dataclass(frozen=True)
class Recipe:
    """A config of mmaction.

    Args:
        path: below ``mmaction::recognition/``.
        most_saved: bound of the saved bytes at a keep ratio of 1/4, as a share of all.
        mode: of SBP.
        clip_len: frames of a detector's clip.
        trains: False where the config only tests.
        rate: learning rate at which the small network, its normalization
            frozen as it is drawn, learns the toy clips in a few steps.
    """

    path: str
    most_saved: float
    mode: str = 'token'
    clip_len: int = NUM_FRAMES
    trains: bool = True
    rate: float = 2e-3


RECIPES = {
    'tsn': Recipe('tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb.py', 0.3,
                  'direct', clip_len=1, rate=2e-4),
    'tsm': Recipe('tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb.py', 0.3,
                  'direct', rate=2e-4),
    'slowonly': Recipe('slowonly/slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb.py', 0.3,
                       'direct'),
    'i3d': Recipe('i3d/i3d_imagenet-pretrained-r50_8xb8-32x2x1-100e_kinetics400-rgb.py', 0.3,
                  'direct', rate=2e-4),
    'swin-t': Recipe('swin/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb.py',
                     0.3),
    'videomae-s': Recipe('videomaev2/vit-small-p16_videomaev2-vit-g-dist-k710-pre_16x4x1_'
                         'kinetics-400.py', 0.5, trains=False),
    'mvit-s': Recipe('mvit/mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb.py', 0.85),
    'uniformer-s': Recipe('uniformer/uniformer-small_imagenet1k-pre_16x4x1_kinetics400-rgb.py',
                          0.85, trains=False),
}


def wrapped(recipe: Recipe, folder: Path) -> Config:
    """The recipe with the lines that the README shows."""
    block, = re.findall(r"_base_ = 'mmaction::.*?\n(custom_imports.*?)```",
                        (ROOT / 'README.md').read_text(), flags=re.DOTALL)
    bases = [f'mmaction::recognition/{recipe.path}', *([] if recipe.trains else [TRAINING])]
    path = folder / f'{Path(recipe.path).stem}.py'
    path.write_text(f'_base_ = {bases}\n' + block.replace(
        'keep_ratio=', f'mode={recipe.mode!r}, keep_ratio='))
    return launch.load_config(str(path))


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp('clips'))


@pytest.fixture(scope='module', params=rest_nightly(RECIPES, ('videomae-s',)))
def trained(request, clips, tmp_path_factory):
    """Recipe, its Runner after a few steps and validation, and the config before shrinking."""
    folder = tmp_path_factory.mktemp(request.param)
    cfg = wrapped(RECIPES[request.param], folder)
    original = deepcopy(cfg)
    runner = launch.build_runner(shrink(cfg, clips, folder, STEPS, RECIPES[request.param].rate))
    runner.train()
    return RECIPES[request.param], runner, original


def test_the_two_lines_keep_the_inherited_backbone(trained, tmp_path):
    recipe, _, cfg = trained
    (tmp_path / 'theirs.py').write_text(f"_base_ = 'mmaction::recognition/{recipe.path}'\n")
    theirs = Config.fromfile(tmp_path / 'theirs.py')
    ours = cfg.model.backbone
    assert (ours.type, ours.keep_ratio, ours.mode) == ('sbp_tad.SBPBackbone', 0.25, recipe.mode)
    assert without_scope(ours.backbone) == without_scope(theirs.model.backbone)
    for name in ('cls_head', 'data_preprocessor'):
        assert without_scope(cfg.model[name]) == without_scope(theirs.model[name])


def without_scope(cfg):
    """A config without the mark of the package that it came from."""
    return {key: without_scope(value) if isinstance(value, dict) else value
            for key, value in cfg.items() if key != '_scope_'}


def test_loss_falls_and_the_metric_runs(trained):
    _, runner, _ = trained
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert len(losses) == STEPS and losses[-3:].mean() < 0.9 * losses[:3].mean(), losses
    accuracy, _ = runner.message_hub.get_scalar('val/acc/top1').data
    assert len(accuracy) == 1 and 0 <= accuracy[0] <= 1


def test_memory_falls(trained):
    recipe, runner, _ = trained
    full, kept = saved_bytes(runner, 1), saved_bytes(runner, 0.25)
    assert kept < recipe.most_saved * full


def test_a_trained_recognizer_becomes_the_backbone_of_a_detector(trained):
    recipe, runner, _ = trained
    checkpoint, = Path(runner.work_dir).glob('epoch_*.pth')
    source = torch.load(checkpoint, weights_only=True)['state_dict']
    assert any(not torch.equal(source[name].to(p), p)  # not the weights it began with
               for name, p in fresh_recognizer(runner).state_dict().items())
    for way in ('load_from', 'init_cfg'):
        detector = build_detector(runner.cfg.model, recipe, way, str(checkpoint))
        if way == 'load_from':
            load_checkpoint(detector, str(checkpoint), logger=logging.getLogger('detector'))
        else:
            detector.backbone.init_weights()
        found = detector.backbone.state_dict()
        expected = {name[len('backbone.'):]: value for name, value in source.items()
                    if name.startswith('backbone.')}
        assert found.keys() == expected.keys() and len(found) > 10
        assert all(torch.equal(found[name], expected[name]) for name in found)


def fresh_recognizer(runner):
    torch.manual_seed(9)
    with DefaultScope.overwrite_default_scope('mmaction'):
        model = MODELS.build(runner.cfg.model)
        model.init_weights()
    return model


def build_detector(recognizer, recipe, way, checkpoint):
    pretrained = dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')
    return MODELS.build(dict(
        type='TemporalDetector',
        backbone=dict(type='SBPBackbone', clip_len=recipe.clip_len, mode=recipe.mode,
                      init_cfg=pretrained if way == 'init_cfg' else None,
                      backbone=recognizer.backbone.backbone),
        head=dict(type='AnchorFreeHead', num_classes=2, strides=(1, ),
                  in_channels=recognizer.cls_head.in_channels, regression_ranges=((0, 100), ))))
