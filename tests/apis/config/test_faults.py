"""Errors of other packages that a mistake in a config causes become one sentence."""
from __future__ import annotations

from unittest.mock import Mock
from urllib.error import URLError

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

import sbp_tad.models  # noqa: F401, registers all components
from sbp_tad.apis.config.faults import config_faults
from sbp_tad.errors import ConfigError, UserError
from sbp_tad.registry import MODELS, TRANSFORMS

PREPROCESSOR = dict(type='mmaction.ActionDataPreprocessor')
REGISTRY = ('{} is not in the mmaction::model registry. Please check whether the value of `{}` is '
            'correct')


class DECORDError(RuntimeError):
    """As decord calls its own."""


@pytest.mark.parametrize('error, sentence', [
    (KeyError(REGISTRY.format('Recogniser3D', 'Recogniser3D')),
     'unknown component: Recogniser3D is not in the mmaction::model registry. Check its spelling'),
    (KeyError(REGISTRY.format('FastRCNN', 'FastRCNN')), 'AVA.* needs mmdet'),
    (KeyError(REGISTRY.format('mmcls.ImageNet', 'x')), 'of the package mmcls, which is not inst'),
    (KeyError(REGISTRY.format('DRN', 'DRN')), 'The wheel of mmaction2 1.2.0 lacks'),
    (KeyError(REGISTRY.format('Collect', 'Collect')), 'PackActionInputs in place of Collect'),
    (TypeError("__init__() got an unexpected keyword argument 'x'"), 'wrong options: .*x'),
    (ImportError('Please install mmpretrain'), 'package that is not installed: .*mmpretrain'),
    (FileNotFoundError(2, 'No such file or directory', 'data/a.txt'), 'data/a.txt.*ann_file'),
    (FileNotFoundError('a.pth can not be found.'), 'cannot be read: a.pth can not be found'),
    (DECORDError('cannot find video stream'), 'a video cannot be read: cannot find')])
def test_errors_of_a_mistake_are_one_sentence(error, sentence):
    with pytest.raises(ConfigError, match=sentence), config_faults():
        raise error


@pytest.mark.parametrize('error', [KeyError('imgs'), TypeError('unsupported operand'),
                                   RuntimeError('shapes'), UserError('said'), AssertionError()])
def test_other_errors_keep_their_traceback(error):
    with pytest.raises(type(error)) as caught, config_faults():
        raise error
    assert caught.value is error


def test_weights_that_cannot_be_fetched_name_their_keys():
    cfg = Config(dict(load_from=None, model=dict(backbone=dict(
        pretrained='torchvision://resnet50', init_cfg=[dict(checkpoint='https://a/b.pth')]))))
    with pytest.raises(ConfigError) as caught, config_faults(cfg):
        raise URLError('no route')
    for words in ('no route', 'model.backbone.pretrained (torchvision://resnet50)',
                  'model.backbone.init_cfg.0.checkpoint (https://a/b.pth)'):
        assert words in str(caught.value)


def test_the_advice_to_train_from_scratch_is_right_for_the_network():
    """Swin inflates weights of images unless ``pretrained2d=False``; then None does."""
    swin = dict(type='mmaction.SwinTransformer3D', arch=dict(
        embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1]), pretrained='https://a/b.pth')
    cfg = Config(dict(model=dict(backbone=dict(type='sbp_tad.SBPBackbone', backbone=swin))))
    with pytest.raises(ConfigError) as caught, config_faults(cfg):
        raise URLError('no route')
    assert 'or None (with model.backbone.backbone.pretrained2d=False) to train from scratch: ' \
        'model.backbone.backbone.pretrained (https://a/b.pth)' in str(caught.value)
    network = MODELS.build(ConfigDict(swin, pretrained=None, pretrained2d=False))
    network.init_weights()


def test_an_error_without_words_names_its_condition():
    told = built(dict(model=dict(type='mmaction.ResNet3d', depth=18, pretrained=None,
                                 num_stages=9, norm_cfg=dict(type='BN3d'))))
    assert "model (ResNet3d) cannot be built with depth=18, pretrained=None, num_stages=9, " \
        "norm_cfg={'type': 'BN3d'}: '1 <= num_stages <= 4' does not hold " \
        '(mmaction/models/backbones/resnet3d.py, line ' in told


def test_a_package_to_install_is_the_only_cure(monkeypatch, absent):
    absent('pytorchvideo')
    with pytest.raises(ConfigError) as caught, config_faults():
        TRANSFORMS.build(dict(type='mmaction.PytorchVideoWrapper', op='RandAugment'))
    assert 'PytorchVideoWrapper of the config needs a package that is not installed: Install ' \
        'pytorchvideo' in str(caught.value) and 'Correct' not in str(caught.value)


def built(config):
    with pytest.raises(ConfigError) as caught, config_faults(Config(config)):
        MODELS.build(ConfigDict(config['model']))
    return str(caught.value)


@pytest.mark.parametrize('options, told', [
    (dict(depth=11), 'model.backbone.backbone (ResNet) cannot be built with depth=11, '
     'pretrained=None: invalid depth 11 for resnet. Correct the option'),
    (dict(depth='big'), "depth='big', pretrained=None: invalid depth big for resnet"),
    (dict(depth=18, num_stages='x'), "model.backbone.backbone (ResNet) cannot be built with depth="
     "18, pretrained=None, num_stages='x': "),
    (dict(depth=18, in_channels=-3), 'negative'),
    (dict(depth=18, widths=3), 'model.backbone.backbone (ResNet) has wrong options: ')])
def test_an_option_that_a_constructor_refuses_names_its_key(options, told):
    network = dict(type='mmaction.ResNet', depth=options.pop('depth'), pretrained=None, **options)
    assert told in built(dict(model=dict(
        type='mmaction.Recognizer2D', data_preprocessor=PREPROCESSOR, backbone=dict(
            type='sbp_tad.SBPBackbone', backbone=network, keep_ratio=0.5))))


@pytest.mark.parametrize('error, told', [
    (RuntimeError('Only one of `type` or `by_epoch` can exist'),
     'train_cfg of the config cannot be used: Only one of `type` or `by_epoch` can exist'),
    (KeyError('x'), 'train_cfg of the config cannot be used: KeyError x. Correct its value.')])
def test_an_error_of_the_runner_names_the_field(error, told, monkeypatch):
    monkeypatch.setattr(LOOPS, 'build', Mock(side_effect=error))
    runner = Runner.__new__(Runner)
    runner._train_dataloader = None
    with pytest.raises(ConfigError) as caught, config_faults():
        runner.build_train_loop(dict(type='EpochBasedTrainLoop'))
    assert told in str(caught.value)
    monkeypatch.setattr(LOOPS, 'build', Mock(side_effect=RuntimeError('CUDA error: no kernel')))
    with pytest.raises(RuntimeError), config_faults():
        runner.build_train_loop(dict(type='EpochBasedTrainLoop'))


class Heads(nn.Module):
    """A part whose layer is built for more channels than it gets."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 2)

    def forward(self, features):
        return self.fc(features)


class Model(nn.Module):
    """A model with such a part."""

    def __init__(self):
        super().__init__()
        self.head = Heads()

    def forward(self, features):
        return self.head(features)


class Loop(BaseLoop):
    """A loop of two steps, of which one gives features that do not fit."""

    def __init__(self, model, wrong):
        self.model, self.wrong = model, wrong

    def run(self):
        for idx in range(2):
            self.run_iter(idx)

    def run_iter(self, idx):
        self.model(torch.zeros(1, 4 if idx == self.wrong else 8))


def test_features_that_do_not_fit_in_the_first_step_name_the_module():
    with pytest.raises(ConfigError) as caught, config_faults():
        Loop(Model(), wrong=0).run()
    assert str(caught.value).startswith(
        'model.head.fc (Linear, in model.head, Heads) cannot process its input in the first step: '
        'mat1 and mat2 shapes cannot be multiplied (1x4 and 8x2). Compare the channels')
    with pytest.raises(RuntimeError), config_faults():
        Loop(Model(), wrong=1).run()


class MissingFiles(list):
    """A data set whose files are not there."""

    def __getitem__(self, index):
        raise FileNotFoundError(2, 'No such file or directory', f'clip_{index}.mp4')


def test_an_error_of_a_data_worker_is_its_message_alone():
    with pytest.raises(ConfigError) as caught, config_faults():
        next(iter(DataLoader(MissingFiles([0]), num_workers=1)))
    assert "No such file or directory: 'clip_0.mp4'" in str(caught.value)
    assert 'Traceback' not in str(caught.value)
