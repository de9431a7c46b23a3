"""TransparentWrapper: parameters, buffers and state dict have the names of the network."""
import copy
import functools
import pickle

import pytest
import torch
from mmengine.runner.checkpoint import get_state_dict
from small_backbones import R3D, VIT
from torch import nn
from torch.distributed import checkpoint as distributed_checkpoint
from torch.distributed.checkpoint import state_dict as distributed_state
from torch.func import functional_call

from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.registry import MODELS


@MODELS.register_module()
class NetworkWithBackbone(nn.Module):
    """Network of images with a child called ``backbone`` and tensors of its own."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.neck = nn.Conv2d(4, 2, 1)
        self.token = nn.Parameter(torch.ones(2, 1, 1))
        self.register_buffer('shift', torch.zeros(2, 1, 1))
        nn.init.normal_(self.backbone[1].weight)

    def forward(self, x):
        return self.neck(self.backbone(x)) * self.token + self.shift


NETWORKS = {
    'with_backbone': (dict(type='NetworkWithBackbone'), dict(clip_len=1, input_format='NCHW')),
    'resnet3d': (R3D, dict(clip_len=4)),
    'own_parameters': (VIT, dict(clip_len=4)),
    'token': (VIT, dict(clip_len=4, mode='token')),
    'memory_bank': (R3D, dict(clip_len=4, mode='memory_bank')),
}
every_network = pytest.mark.parametrize('name', sorted(NETWORKS))


def build(name, seed=0):
    """Build a holder of an SBPBackbone, as a detector is one."""
    torch.manual_seed(seed)
    backbone, options = NETWORKS[name]
    model = MODELS.build(dict(type='SBPBackbone', backbone=copy.deepcopy(backbone), seed=0,
                              **options))
    return nn.ModuleDict({'backbone': model})


class Detector(nn.ModuleDict):
    def forward(self, x):
        return self['backbone'](x)


def build_detector(name, seed=0):
    return Detector(build(name, seed)).eval()


def video():
    return torch.randn(1, 3, 8, 16, 16, generator=torch.Generator().manual_seed(0))


def tensors(module):
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@every_network
def test_names_agree_in_the_wrapper_and_in_its_holder(name):
    holder = build(name)
    plain = holder['backbone'].wrapped_network.state_dict(keep_vars=True)
    for module, prefix in ((holder, 'backbone.'), (holder['backbone'], '')):
        state = module.state_dict(keep_vars=True)
        assert list(state) == [prefix + key for key in plain]
        named = tensors(module)
        assert set(named) == {key for key in state if not key.endswith('_extra_state')}
        assert all(named[key] is state[key] for key in named)
        assert list(get_state_dict(module)) == list(state)  # of mmengine
        assert set(state._metadata) >= {f'{prefix}{child}' for child, _ in
                                        holder['backbone'].wrapped_network.named_children()}


@every_network
def test_names_are_paths(name):
    holder = build(name)
    for key, parameter in holder.named_parameters():
        assert holder.get_parameter(key) is parameter
    for key, tensor in tensors(holder).items():
        assert functools.reduce(getattr, key.split('.'), holder) is tensor


@every_network
def test_strict_round_trip(name):
    first, second = build(name), build(name, seed=1)
    second.load_state_dict(first.state_dict(), strict=True)
    for key, tensor in tensors(first).items():
        assert torch.equal(tensor, tensors(second)[key]), key
    second['backbone'].load_state_dict(first['backbone'].state_dict(), strict=True)
    plain = MODELS.build(copy.deepcopy(NETWORKS[name][0]))
    keys = set(plain.state_dict())
    plain.load_state_dict({key: value for key, value in first['backbone'].state_dict().items()
                           if key in keys}, strict=True)


@pytest.mark.parametrize('name', ['resnet3d', 'own_parameters', 'token'])
def test_loads_paths_of_earlier_releases(name):
    first, second = build(name), build(name, seed=1)
    old = {key.replace('backbone.', 'backbone.backbone.', 1): value
           for key, value in first.state_dict().items()}
    second.load_state_dict(old, strict=True)
    for key, tensor in tensors(first).items():
        assert torch.equal(tensor, tensors(second)[key]), key


def test_missing_and_unexpected_keys_have_the_names_of_the_network():
    model = build('with_backbone')['backbone']
    state = model.state_dict()
    del state['backbone.0.weight']
    state['backbone.9.weight'] = torch.zeros(1)
    found = model.load_state_dict(state, strict=False)
    assert (found.missing_keys, found.unexpected_keys) == (['backbone.0.weight'],
                                                           ['backbone.9.weight'])


@every_network
def test_functional_call(name):
    model, other = build_detector(name), build_detector(name, seed=1)
    expected, before = other(video()), copy.deepcopy(tensors(model))
    assert not torch.equal(model(video()), expected)
    for given in (tensors(other), {key: value for key, value in other.state_dict().items()
                                   if torch.is_tensor(value)}):
        assert torch.equal(functional_call(model, given, (video(), )), expected)
        assert torch.equal(functional_call(model['backbone'],
                                           {key.removeprefix('backbone.'): value
                                            for key, value in given.items()}, (video(), )),
                           expected)
    after = tensors(model)
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


@pytest.mark.filterwarnings('ignore:torch.distributed is disabled')
@every_network
def test_distributed_checkpoint(name, tmp_path):
    model, other = build_detector(name), build_detector(name, seed=1)
    state = distributed_state.get_model_state_dict(other)
    assert list(state) == list(other.state_dict())
    distributed_checkpoint.save(state, checkpoint_id=str(tmp_path), no_dist=True)
    read = distributed_state.get_model_state_dict(model)
    distributed_checkpoint.load(read, checkpoint_id=str(tmp_path), no_dist=True)
    distributed_state.set_model_state_dict(model, read)
    assert torch.equal(model(video()), other(video()))


@every_network
def test_copies_and_pickles(name):
    model = build_detector(name)
    expected = model(video())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(video()), expected)
        assert list(twin.state_dict()) == list(model.state_dict())
        with torch.no_grad():
            next(twin.parameters()).zero_()
    assert torch.equal(model(video()), expected)


def test_the_network_is_an_attribute_unless_it_has_one_of_that_name():
    plain = build('resnet3d')['backbone']
    assert plain.backbone is plain.wrapped_network
    both = build('with_backbone')['backbone']
    assert both.backbone is both.wrapped_network.backbone
    with pytest.raises(AttributeError, match='no attribute .absent.'):
        _ = plain.absent


def test_modules_are_listed_once():
    model = build('with_backbone')['backbone']
    assert isinstance(model, SBPBackbone)
    names = [name for name, _ in model.named_modules()]
    assert names == ['', '', 'backbone', 'backbone.0', 'backbone.1', 'neck']
    assert len(list(model.modules())) == len(set(model.modules())) == 6
