"""A published checkpoint becomes one that the tools take, by command, and goes back."""
from __future__ import annotations

import json

import pytest
import torch
from mmengine.config import Config

from sbp_tad.converters.conversion import SOURCES

WIDTH, CHANNELS, CLASSES = 16, 12, 4


@pytest.fixture
def published(tmp_path, shared_data):
    """A small ActionFormer checkpoint, drawn, as its code saves it."""
    shapes = json.loads((shared_data / 'parity' / 'tiny_shapes.json').read_text())['actionformer']
    torch.manual_seed(0)
    weights = {f'module.{name}': torch.randn(shape) for name, shape in shapes.items()}
    path = tmp_path / 'epoch_034.pth.tar'
    torch.save(dict(epoch=34, state_dict={name: value * 0 for name, value in weights.items()},
                    state_dict_ema=weights, optimizer={}), path)
    return path


def test_a_checkpoint_and_its_config_are_written_and_go_back(published, tmp_path, call_tool):
    out = tmp_path / 'converted.pth'
    status, printed, notes = call_tool('convert_checkpoint', 'auto', published, out)
    assert not status, printed
    assert f'the names of its {CLASSES} classes are unknown' in notes
    assert '229 weights of actionformer (state_dict_ema), none unknown, none missing' in printed
    model = Config.fromfile(out.with_suffix('.py')).model
    assert model.head.num_classes == CLASSES and model.neck.in_channels == CHANNELS
    assert model.neck.embed_channels == model.head.in_channels == WIDTH
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = Config.fromfile(out.with_suffix('.py'))[loader].dataset
        assert dataset.source.num_channels == CHANNELS
        assert dataset.metainfo.classes == ['class_0', 'class_1', 'class_2', 'class_3']
    assert f'names of its {CLASSES} classes' in out.with_suffix('.py').read_text()
    weights = torch.load(out)['state_dict']
    theirs = torch.load(published)['state_dict_ema']
    assert torch.equal(weights['head.reg_tower.predictor.weight'],
                       theirs['module.reg_head.offset_head.conv.weight'])

    back = tmp_path / 'back.pth'
    status, _, _ = call_tool('convert_checkpoint', 'actionformer', out, back, '--back', published)
    assert not status
    found = torch.load(back)['state_dict']
    assert found.keys() == theirs.keys()
    assert all(torch.equal(found[name], theirs[name]) for name in theirs)

    other = {name: torch.cat([value, value]) if value.ndim else value
             for name, value in theirs.items()}
    torch.save(dict(state_dict=other), published)
    status, _, errors = call_tool('convert_checkpoint', 'actionformer', out, back, '--back',
                                  published)
    assert status and 'give a published checkpoint of the same network' in errors


def test_nothing_is_written_where_a_weight_is_unknown_or_missing(published, tmp_path, call_tool):
    out, checkpoint = tmp_path / 'converted.pth', torch.load(published)
    checkpoint['state_dict_ema']['module.cls_head.extra'] = torch.ones(1)
    torch.save(checkpoint, published)
    status, _, errors = call_tool('convert_checkpoint', 'auto', published, out)
    assert status and 'actionformer does not use the names of 1 weight, such as ' \
                      'cls_head.extra' in errors
    del checkpoint['state_dict_ema']['module.cls_head.extra']
    del checkpoint['state_dict_ema']['module.neck.fpn_norms.3.bias']
    torch.save(checkpoint, published)
    status, _, errors = call_tool('convert_checkpoint', 'auto', published, out)
    assert status and 'do not fit the model of the config: 1 missing, such as ' \
                      'neck.norms.3.bias' in errors
    assert not out.exists()


def test_weights_that_are_not_finite_are_refused(published, tmp_path, call_tool):
    checkpoint = torch.load(published)
    checkpoint['state_dict_ema']['module.neck.fpn_norms.3.bias'][0] = float('nan')
    torch.save(checkpoint, published)
    status, _, errors = call_tool('convert_checkpoint', 'auto', published, tmp_path / 'out.pth')
    assert status and '1 of 229 weights hold NaN or infinity, the first is neck.norms.3' in errors
    assert not (tmp_path / 'out.pth').exists()


def test_a_network_without_recipe_needs_a_config(tmp_path, call_tool):
    path = tmp_path / 'swin.pth'
    torch.save({'layers.0.blocks.0.mlp.norm.weight': torch.ones(2)}, path)
    status, _, errors = call_tool('convert_checkpoint', 'auto', path, tmp_path / 'out.pth')
    assert status and 'no recipe here has the network of this checkpoint of sbp' in errors


def test_the_tool_offers_every_code_base(load_tool):
    assert set(load_tool('convert_checkpoint').SOURCES) == {'auto', *SOURCES}
