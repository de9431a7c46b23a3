"""Published checkpoints are recognized while they are loaded, converted, or refused by name."""
from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import nn

from sbp_tad.apis.checkpoint_conversion import check_backbone
from sbp_tad.apis.checkpoints import load_weights
from sbp_tad.checkpoint_safety import CheckpointError
from sbp_tad.converters.conversion import convert
from sbp_tad.converters.errors import ConversionError
from sbp_tad.engine.complete_weights import CompleteWeightsHook, StartingWeightsHook
from sbp_tad.engine.published_weights import adopt_published, filled_part

VIDEOMAE = {'encoder.patch_embed.proj.weight': torch.ones(2),
            'encoder.blocks.0.mlp.fc1.weight': torch.ones(3), 'decoder.norm.weight': torch.ones(1),
            'encoder.blocks.0.attn.q_bias': torch.ones(4)}
BACKBONE = {'backbone.patch_embed.projection.weight': 2,
            'backbone.blocks.0.mlp.layers.0.0.weight': 3, 'backbone.blocks.0.attn.q_bias': 4}
HEAD = {'head.weight': 5, 'head.bias': 1}


def network(shapes) -> nn.Module:
    """Return a module whose parameters have these dotted names and are zero."""
    root = nn.Module()
    for name, size in shapes.items():
        *places, last = name.split('.')
        owner = root
        for place in places:
            if not hasattr(owner, place):
                owner.add_module(place, nn.Module())
            owner = getattr(owner, place)
        owner.register_parameter(last, nn.Parameter(torch.zeros(size)))
    return root


def runner(model) -> SimpleNamespace:
    return SimpleNamespace(model=model, _resume=False, _load_from='file.pth', _test_loop=None,
                           cfg=Config({}))


@pytest.mark.parametrize('key', ['module', 'model', 'state_dict_ema', 'state_dict', ''])
def test_a_backbone_is_converted_from_wherever_it_is_kept(key):
    weights = {f'module.{name}': value for name, value in VIDEOMAE.items()}
    checkpoint = {key: weights, 'epoch': 3} if key else weights
    origin = adopt_published(checkpoint, network(BACKBONE | HEAD), 'file.pth')
    place = f' ({key})' if key else ''
    assert origin.report == (
        f'file.pth: converted from videomae{place}: 3 weights mapped, 0 unmapped, 2 missing, 1 '
        'left out, which no detector uses')
    assert {name: value.numel() for name, value in checkpoint['state_dict'].items()} == BACKBONE


def test_unknown_names_and_names_without_a_place_are_counted():
    weights = dict(VIDEOMAE, surprise=torch.ones(1), **{'encoder.norm.weight': torch.ones(1)})
    report = adopt_published(weights, network(BACKBONE), 'x').report
    assert '3 weights mapped, 2 unmapped, 0 missing' in report


def test_averaged_weights_alone_are_found_and_lose_their_prefix():
    checkpoint = {'state_dict_ema': {f'module.{name}': torch.ones(size)
                                     for name, size in HEAD.items()}}
    origin = adopt_published(checkpoint, network(HEAD), 'file.pth')
    assert (origin.source, origin.report) == (
        None, 'file.pth: the weights are those of state_dict_ema')
    assert checkpoint['state_dict'].keys() == HEAD.keys()


@pytest.mark.parametrize('prefix', ['', 'module.'])
@pytest.mark.parametrize('nested', [True, False])
def test_weights_of_our_own_stay_and_are_where_averages_begin(prefix, nested):
    weights = OrderedDict({prefix + name: torch.ones(size) for name, size in HEAD.items()})
    weights._metadata = {'head': {'version': 1}}
    checkpoint = dict(state_dict=weights) if nested else weights
    assert adopt_published(checkpoint, network(HEAD), 'x').report == ''
    assert checkpoint['state_dict'].keys() == HEAD.keys()
    if not prefix:
        assert checkpoint['state_dict']._metadata == {'head': {'version': 1}}


@pytest.mark.parametrize('content', [3, {'epoch': 3}])
def test_what_holds_no_weights_is_left_to_the_check(content):
    assert adopt_published(content, network(HEAD), 'x').report == ''


def test_inference_converts_and_says_so_on_stderr(capsys):
    model = network(BACKBONE)
    load_weights(model, {'module': VIDEOMAE}, 'file.pth')
    assert all(value.eq(1).all() for value in model.parameters())
    captured = capsys.readouterr()
    assert captured.err.startswith('file.pth: converted from videomae (module): 3 weights mapped')
    assert captured.out == ''


def test_inference_names_the_source_and_the_command():
    with pytest.raises(CheckpointError, match=(
            r'file.pth lacks 2 weights of the model.* The file holds weights of videomae, under '
            r'module: tools/convert_checkpoint.py videomae file.pth OUT checks them and writes')):
        load_weights(network(BACKBONE | HEAD), {'module': VIDEOMAE}, 'file.pth')
    with pytest.raises(CheckpointError, match=(
            r'other.pth lacks 2 weights.* If another code wrote it, tools/convert_checkpoint.py '
            r'auto other.pth OUT names the sources')):
        load_weights(network(HEAD), {'state_dict': {'a': torch.ones(1)}}, 'other.pth')


def test_testing_takes_a_published_file_and_refuses_half_of_one():
    checkpoint = {'model': dict(VIDEOMAE)}
    CompleteWeightsHook('file.pth').after_load_checkpoint(runner(network(BACKBONE)), checkpoint)
    assert checkpoint['state_dict'].keys() == BACKBONE.keys()
    with pytest.raises(CheckpointError, match='lacks 2 weights.*holds weights of videomae'):
        CompleteWeightsHook('file.pth').after_load_checkpoint(
            runner(network(BACKBONE | HEAD)), {'model': dict(VIDEOMAE)})


def test_training_starts_from_a_published_backbone(caplog):
    MMLogger.get_current_instance().addHandler(caplog.handler)
    checkpoint = {'module': VIDEOMAE}
    StartingWeightsHook().after_load_checkpoint(runner(network(BACKBONE | HEAD)), checkpoint)
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    assert checkpoint['state_dict'].keys() == BACKBONE.keys()
    assert 'file.pth: converted from videomae (module): 3 weights mapped' in caplog.text
    assert 'file.pth fills 3 of 5 weights of the model' in caplog.text


def test_a_pretrained_videomae_fills_a_backbone_with_computed_positions():
    """Its last norm belongs to the autoencoder, and the table of positions is not saved."""
    model = network(BACKBONE | HEAD | {'backbone.fc_norm.weight': 1})
    model.backbone.register_buffer('pos_embed', torch.zeros(4))
    found = convert(dict(VIDEOMAE, **{'encoder.norm.weight': torch.ones(1)})).weights
    assert check_backbone(found, model).keys() == BACKBONE.keys()
    checkpoint = dict(VIDEOMAE)
    assert '0 unmapped, 3 missing' in adopt_published(checkpoint, model, 'x').report
    assert torch.equal(checkpoint['state_dict']['backbone.pos_embed'], torch.zeros(4))
    del found['backbone.blocks.0.attn.q_bias']
    with pytest.raises(ConversionError, match='1 missing, such as backbone.blocks.0.attn.q_bias'):
        check_backbone(found, model)


def test_training_refuses_a_file_of_which_few_weights_fit():
    few = {'backbone.blocks.0.attn.q_bias': torch.ones(4), 'head.other': torch.ones(1)}
    with pytest.raises(CheckpointError, match=(
            'file.pth fills 1 of 5 weights of the model. Its first weight is '
            'backbone.blocks.0.attn.q_bias, .* or remove load_from. If another code wrote it')):
        StartingWeightsHook().after_load_checkpoint(runner(network(BACKBONE | HEAD)), few)
    with pytest.raises(CheckpointError, match='fills no weight.*holds weights of videomae, under '
                                              'module: tools/convert_checkpoint.py videomae file'):
        StartingWeightsHook().after_load_checkpoint(runner(network(HEAD)), {'module': VIDEOMAE})


@pytest.mark.parametrize('found, part', [
    ({'a.x': 1, 'b.x': 1}, 'a'), ({'b.x': 1, 'b.y': 2}, 'b'), ({'a.x': 1}, None), ({}, None)])
def test_a_part_counts_when_half_of_it_is_filled(found, part):
    expected = {'a.x': 1, 'a.y': 1, 'a.z': 1, 'b.x': 1, 'b.y': 2}
    if part == 'a':
        found = {**found, 'a.y': 1}
    assert filled_part(found, expected) == part
