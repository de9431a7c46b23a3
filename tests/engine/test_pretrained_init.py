"""init_cfg of type Pretrained takes a backbone's published weights, or refuses the file."""
from __future__ import annotations

import pytest
import torch
from mmengine.model import initialize
from mmengine.registry import DefaultScope
from torch import nn

from sbp_tad.checkpoint_safety import CheckpointError


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(2)
        self.norm2 = nn.LayerNorm(2)


class Network(nn.Module):
    """A network with the names of mmaction's VisionTransformer."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict(dict(projection=nn.Linear(2, 2)))
        self.blocks = nn.ModuleList([Block()])


def weights(names, prefix: str = '') -> dict[str, torch.Tensor]:
    return {prefix + name: torch.full(shape, 3.0) for name, shape in names.items()}


OURS = {name: tuple(value.shape) for name, value in Network().state_dict().items()}
VIDEOMAE = {name.replace('projection', 'proj'): shape for name, shape in OURS.items()} | {
    'blocks.0.mlp.fc1.weight': (2, 2), 'head.weight': (3, 2)}


def start(content, path) -> Network:
    torch.save(content, path)
    network = Network()
    with DefaultScope.overwrite_default_scope('sbp_tad'):
        initialize(network, dict(type='Pretrained', checkpoint=str(path)))
    return network


@pytest.mark.parametrize('content', [
    weights(OURS), dict(state_dict=weights(OURS)), dict(state_dict=weights(OURS, 'module.')),
    dict(module=weights(VIDEOMAE)), dict(model=weights(VIDEOMAE)),
    dict(model=weights(VIDEOMAE, 'encoder.')), dict(state_dict=weights(OURS, 'backbone.'))],
    ids=['plain', 'state_dict', 'module.', 'videomae', 'model', 'encoder', 'recognizer'])
def test_the_weights_arrive(content, tmp_path):
    network = start(content, tmp_path / 'x.pth')
    assert all(value.eq(3).all() for value in network.state_dict().values())


def test_a_file_that_fits_nowhere_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match='x.pth fills no weight of Network. Give a checkpoint '
                                              'of such a network. If another code wrote it'):
        start(dict(state_dict={'a': torch.ones(1)}), tmp_path / 'x.pth')
