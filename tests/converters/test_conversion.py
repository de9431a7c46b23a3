"""Weights are found in what code bases save, converted, refused with a reason, and taken back."""
from __future__ import annotations

import pytest
import torch

from sbp_tad.converters.conversion import SOURCES, convert, convert_back, find_weights
from sbp_tad.converters.errors import ConversionError

SBP_RELEASE = {'layers.0.blocks.0.mlp.norm.weight': torch.ones(2),
               'layers.0.blocks.0.norm1.weight': torch.zeros(2)}
VIDEOMAE = {'encoder.patch_embed.proj.weight': torch.ones(1),
            'encoder.blocks.0.mlp.fc1.weight': torch.ones(1), 'decoder.norm.weight': torch.ones(1),
            'encoder.blocks.0.attn.q_bias': torch.ones(1), 'surprise': torch.ones(1)}

RECOGNIZER = {'backbone.conv1.weight': torch.ones(2), 'cls_head.fc_cls.weight': torch.ones(1)}


@pytest.mark.parametrize('key', ['state_dict_ema', 'model_ema', 'state_dict', 'model_state_dict',
                                 'model', 'module', ''])
def test_weights_are_found_where_code_bases_keep_them(key):
    weights = {'module.a': torch.ones(1), 'epoch': 3}
    assert find_weights({key: weights, 'epoch': 3} if key else weights) == (
        {'a': torch.ones(1)}, key)


def test_averaged_weights_go_first():
    found, key = find_weights({'state_dict': {'a': torch.zeros(1)},
                               'state_dict_ema': {'module.a': torch.ones(1)}})
    assert key == 'state_dict_ema' and found['a'] == 1


def test_a_file_without_weights():
    with pytest.raises(ConversionError, match='holds epoch, optimizer and no weights; expected a '
                                              'state dict, or one under state_dict_ema'):
        find_weights({'epoch': 3, 'optimizer': {}})


def test_the_release_of_sbp_gets_the_name_of_the_network_back():
    found = convert(SBP_RELEASE)
    assert found.source == 'sbp' and found.unmapped == []
    assert sorted(found.weights) == ['layers.0.blocks.0.norm1.weight',
                                     'layers.0.blocks.0.norm2.weight']


def test_the_encoder_of_a_pretrained_videomae_is_taken_and_the_rest_named():
    found = convert({'module': VIDEOMAE})
    assert found.source == 'videomae' and found.unmapped == ['surprise']
    assert found.left_out == ['decoder.norm.weight']
    assert sorted(found.weights) == [
        'backbone.blocks.0.attn.q_bias', 'backbone.blocks.0.mlp.layers.0.0.weight',
        'backbone.patch_embed.projection.weight']


def test_the_backbone_of_a_recognizer_is_taken():
    found = convert({'meta': {}, 'state_dict': RECOGNIZER})
    assert (found.source, found.unmapped, found.left_out) == (
        'mmaction', [], ['cls_head.fc_cls.weight'])
    assert list(found.weights) == ['backbone.conv1.weight']


def test_names_of_no_code_base():
    with pytest.raises(ConversionError, match='such as a, are of no code base among actionformer'):
        convert({'a': torch.ones(1)})


def test_a_checkpoint_of_another_code_base_than_named():
    with pytest.raises(ConversionError, match='not of lstr: they are of sbp'):
        convert(SBP_RELEASE, 'lstr')
    with pytest.raises(ConversionError, match='not of lstr: they have names such as a'):
        convert({'a': torch.ones(1)}, 'lstr')


def test_our_weights_go_back_under_their_names():
    found = convert(SBP_RELEASE)
    back = convert_back(found.weights, SBP_RELEASE)
    assert back.keys() == SBP_RELEASE.keys()
    assert all(torch.equal(back[name], SBP_RELEASE[name]) for name in back)
    with pytest.raises(ConversionError, match='no layers.0.blocks.0.norm2.weight, which '
                                              'layers.0.blocks.0.mlp.norm.weight of sbp needs'):
        convert_back({}, SBP_RELEASE)


def test_sources_tell_each_other_apart():
    examples = dict(sbp=SBP_RELEASE, videomae=VIDEOMAE, mmaction=RECOGNIZER)
    for name, weights in examples.items():
        assert [other for other, source in SOURCES.items() if source.is_source(weights)] == [name]
