"""Networks of other libraries, by mmaction's names; small stand-ins replace the libraries."""
import copy
import pickle
import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.models.backbones.wrapped_network import build_network, fold_network
from sbp_tad.models.errors import ModelError
from sbp_tad.registry import MODELS
from sbp_tad.sbp import SBPError


class TimmNet(nn.Module):
    """Stand-in for a model of timm: a method for features, pretrained when built."""

    def __init__(self, num_classes, layout='NCHW', width=4):
        super().__init__()
        assert num_classes == 0
        self.stem = nn.Sequential(nn.Conv2d(3, width, 4, 4), nn.BatchNorm2d(width))
        self.layout = layout

    def init_weights(self, mode=''):
        raise AssertionError('would draw pretrained weights anew')

    def forward_features(self, frames):
        features = self.stem(frames)
        return {'NCHW': features, 'NHWC': features.permute(0, 2, 3, 1),
                'NLC': features.flatten(2).transpose(1, 2)}[self.layout]


class DenseNet(nn.Module):
    """Stand-in for a model of torchvision with ``features`` and ``classifier``."""

    def __init__(self, width=4):
        super().__init__()
        self.features = nn.Conv2d(3, width, 4, 4)
        self.classifier = nn.Linear(width, 1000)


class VisionNet(nn.Module):
    """Stand-in for a model of torchvision that pools and ends with ``fc``."""

    def __init__(self):
        super().__init__()
        self.stem, self.fc = nn.Conv2d(3, 4, 4, 4), nn.Linear(4, 1000)

    def forward(self, frames):
        return self.fc(self.stem(frames).mean(dim=(2, 3)))


@pytest.fixture
def libraries(monkeypatch):
    """Replace timm and torchvision by stand-ins with one or two models each."""
    timm, torchvision = ModuleType('timm'), ModuleType('torchvision')
    timm.create_model = lambda name, **options: {'tiny': TimmNet}[name](**options)
    torchvision.models = ModuleType('torchvision.models')
    torchvision.models.dense, torchvision.models.net = DenseNet, VisionNet
    for module in (timm, torchvision, torchvision.models):
        monkeypatch.setitem(sys.modules, module.__name__, module)


IMAGE_NETWORKS = {
    'maps': dict(type='timm.tiny'), 'tokens': dict(type='timm.tiny', layout='NLC'),
    'channels last': dict(type='timm.tiny', layout='NHWC', feature_shape='NHWC'),
    'features': dict(type='torchvision.dense', width=4), 'pooled': dict(type='torchvision.net')}


@pytest.mark.parametrize('name', IMAGE_NETWORKS)
def test_image_networks_give_pooled_frames(libraries, name):
    torch.manual_seed(0)
    config = IMAGE_NETWORKS[name]
    model = SBPBackbone(config, clip_len=1, keep_ratio=0.5, seed=0)
    model.init_weights()
    stem = getattr(model.backbone, 'stem', getattr(model.backbone, 'features', None))
    video = torch.randn(2, 3, 6, 8, 8)
    frames = video.transpose(1, 2).flatten(0, 1)
    expected = stem(frames).mean(dim=(2, 3))  # (12, 4)
    features = model(video)
    torch.testing.assert_close(features, expected.unflatten(0, (2, 6)).transpose(1, 2))
    features.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    batch = SBPBackbone(config, keep_ratio=0.5)
    assert batch(frames).shape == (12, 4, 1, 1)  # as in mmaction's recognizers
    assert set(model.state_dict()) == set(batch.backbone.state_dict())
    assert not any('fc' in key or 'classifier' in key for key in model.state_dict())


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_image_networks_can_be_copied(libraries, copied):
    model = SBPBackbone(dict(type='timm.tiny'), clip_len=1).eval()
    video = torch.randn(1, 3, 2, 8, 8)
    assert torch.equal(copied(model)(video), model(video))


def test_a_function_of_torchvision(libraries, monkeypatch):
    monkeypatch.setattr(DenseNet, '__module__', 'torchvision.models.densenet')
    network, run, takes_frames = build_network(dict(type=DenseNet, width=2))
    assert takes_frames and run(network, torch.zeros(3, 3, 8, 8)).shape == (3, 2, 1, 1)


@pytest.mark.parametrize('library', ['timm', 'torchvision', 'mmpretrain', 'mmcls'])
def test_a_missing_library_is_named(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setitem(sys.modules, f'{library}.models', None)
    with pytest.raises(ModelError, match=f'needs {library}, .*install {library} for this'):
        SBPBackbone(dict(type=f'{library}.resnet50'))


def test_networks_of_mmpretrain_come_by_their_registry(monkeypatch):
    """Stand-in for mmpretrain: networks are registered on import and return a tuple of one map."""
    class ImageNet(nn.Conv2d):
        def forward(self, frames):
            return (super().forward(frames), )

    monkeypatch.setitem(sys.modules, 'mmpretrain', ModuleType('mmpretrain'))
    monkeypatch.setitem(sys.modules, 'mmpretrain.models', ModuleType('mmpretrain.models'))
    monkeypatch.setattr(MODELS, 'build', lambda config: ImageNet(3, 4, 4, 4))
    network, run, takes_frames = build_network(dict(type='mmpretrain.ImageNet'))
    assert takes_frames and run(network, torch.zeros(2, 3, 8, 8)).shape == (2, 4, 2, 2)


def test_unknown_layouts_are_refused(libraries):
    with pytest.raises(SBPError, match=r"feature_shape must be one of \['NC'.*got 'CHW'"):
        build_network(dict(type='timm.tiny', feature_shape='CHW'))


def test_configs_are_left_as_they_were(libraries):
    config = dict(type='timm.tiny', feature_shape='NCHW')
    before = copy.deepcopy(config)
    build_network(config)
    assert config == before


def test_types_with_a_scope_are_found_in_the_registries():
    network, *_ = build_network(dict(type='mmaction.ResNet', depth=18, pretrained=None))
    assert fold_network(network) == 20
    with pytest.raises(KeyError, match='NoNet is not in the'):
        build_network(dict(type='NoNet'))


@pytest.mark.parametrize('kind, options, expected', [
    ('ResNet', dict(depth=18), True), ('C2D', dict(depth=50), False),
    ('ResNet3d', dict(depth=18), False)])
def test_networks_of_images_take_frames(kind, options, expected):
    """Whatever the clip length: C2D is a ResNet that takes clips."""
    network = build_network(dict(type=kind, pretrained=None, **options))
    assert network.takes_frames == expected
    model = SBPBackbone(dict(type=kind, pretrained=None, **options), clip_len=4)
    assert model.input_format == ('NCHW' if expected else 'NCTHW')


def test_nothing_to_fold_is_no_error():
    assert fold_network(nn.Conv2d(3, 4, 1)) == 0
