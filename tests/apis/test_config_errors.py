"""Errors of other packages that a mistake in a config causes become one sentence."""
from __future__ import annotations

from urllib.error import URLError

import pytest
from mmengine.config import Config
from torch.utils.data import DataLoader

from sbp_tad.apis.config_errors import config_faults
from sbp_tad.errors import ConfigError, UserError

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


class MissingFiles(list):
    """A data set whose files are not there."""

    def __getitem__(self, index):
        raise FileNotFoundError(2, 'No such file or directory', f'clip_{index}.mp4')


def test_an_error_of_a_data_worker_is_its_message_alone():
    with pytest.raises(ConfigError) as caught, config_faults():
        next(iter(DataLoader(MissingFiles([0]), num_workers=1)))
    assert "No such file or directory: 'clip_0.mp4'" in str(caught.value)
    assert 'Traceback' not in str(caught.value)
