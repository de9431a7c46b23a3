"""Checkpoints: read without running code, and whole or not at all."""
import pickle

import pytest
import torch
from torch import nn

from sbp_tad.apis.checkpoints import CheckpointError, load_weights, read_checkpoint
from sbp_tad.errors import ConfigError


class Surprise:
    def __reduce__(self):
        return exec, ('raise AssertionError("code was run")',)


def test_a_checkpoint_runs_no_code(tmp_path):
    torch.save(dict(state_dict={}, meta=Surprise()), tmp_path / 'evil.pth')
    with pytest.raises(CheckpointError, match='evil.pth: .*more than weights.*could run code'):
        read_checkpoint(tmp_path / 'evil.pth')


@pytest.mark.parametrize('content', [b'', b'no checkpoint', pickle.dumps(3, protocol=2)])
def test_what_is_no_checkpoint(tmp_path, content):
    (tmp_path / 'x.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match='x.pth: not a .*checkpoint.* tools/train.py'):
        read_checkpoint(tmp_path / 'x.pth')


def test_a_tensor_and_an_absent_file(tmp_path):
    torch.save(torch.zeros(1), tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='expected a checkpoint with a state_dict, got Tens'):
        read_checkpoint(tmp_path / 'x.pth')
    with pytest.raises(ConfigError, match='checkpoint .*absent.pth does not exist. Give a local'):
        read_checkpoint(tmp_path / 'absent.pth')


def model():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


@pytest.mark.parametrize('prefix', ['', 'module.'])
@pytest.mark.parametrize('nested', [True, False])
def test_weights_arrive(prefix, nested):
    source, target = model(), model()
    state = {f'{prefix}{name}': value for name, value in source.state_dict().items()}
    load_weights(target, dict(state_dict=state) if nested else state, 'x.pth')
    for name, value in source.state_dict().items():
        assert torch.equal(value, target.state_dict()[name])


def test_no_weight_stays_as_it_was_drawn():
    state = model().state_dict()
    del state['0.bias']
    with pytest.raises(CheckpointError, match='x.pth lacks 1 weight of the model, the first is '
                                              '0.bias. Give a checkpoint of this config'):
        load_weights(model(), state, 'x.pth')
    load_weights(model(), state, 'x.pth', part='1.')
    state = model().state_dict() | {'0.bias': torch.zeros(4)}
    with pytest.raises(CheckpointError, match=r'1 weight of the model in another shape, the first '
                                              r'is 0.bias: \(4,\) and not \(3,\)'):
        load_weights(model(), state, 'x.pth')
