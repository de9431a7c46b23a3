"""Data sets of online detection against the head, before a batch is read."""
from __future__ import annotations

from types import SimpleNamespace

import pytest
from lstr_folder import write_folder
from torch import nn

from sbp_tad.engine.online_checks import check_online
from sbp_tad.errors import ConfigError
from sbp_tad.registry import DATASETS

HEAD = dict(num_frames=8, memory_frames=5, memory_stride=2, history_from='oldest', slides=True,
            in_channels=10, num_classes=3)


def detector(backbone=None, **head):
    return SimpleNamespace(head=SimpleNamespace(**{**HEAD, **head}),
                           backbone=backbone or nn.Identity())


@pytest.fixture(scope='module')
def features(tmp_path_factory):
    return DATASETS.build(dict(
        type='OnlineFeaturesDataset', data_root=str(write_folder(tmp_path_factory.mktemp('set'))),
        num_frames=8, memory_frames=5, memory_stride=2, test_mode=True))


def frames(**options):
    settings = dict(type='OnlineDetectionDataset', ann_file='none.json', num_frames=8,
                    target_fps=4, memory_frames=5, memory_stride=2, test_mode=True,
                    lazy_init=True, **options)
    return DATASETS.build(settings)


def test_sets_that_fit(features):
    check_online(detector(), 'test', features)
    check_online(detector(), 'test', frames(whole_videos=True))
    check_online(detector(slides=False), 'test', frames(history_from='oldest'))
    check_online(detector(), 'test', object())  # another set is another check's


@pytest.mark.parametrize('changed, message', [
    (dict(num_frames=9), r'^test.num_frames is 8, but model.head.num_frames is 9'),
    (dict(memory_stride=4), r'^test.memory_stride is 2, but model.head.memory_stride is 4'),
    (dict(in_channels=6), 'rgb_kinetics_resnet50 and flow_kinetics_bninception of test have 10 '
                          'channels together, but model.head.in_channels is 6. Set test.streams'),
    (dict(num_classes=20), 'num_classes is 20, but THUMOS of test has 3 classes. Set '),
    (dict(backbone=nn.Linear(1, 1)), 'test gives features, but model.backbone encodes frames'),
])
def test_features_that_do_not_fit(changed, message, features):
    with pytest.raises(ConfigError, match=message):
        check_online(detector(**changed), 'test', features)


def test_tiles_of_another_rule():
    with pytest.raises(ConfigError, match="windows is 'sliding', but test cuts tiles. Set "
                                          'test.whole_videos=True'):
        check_online(detector(), 'test', frames(history_from='oldest'))
    with pytest.raises(ConfigError, match="test.history_from is 'working', but "
                                          "model.head.history_from is 'oldest'"):
        check_online(detector(slides=False), 'test', frames())
