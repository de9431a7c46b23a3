"""Published checkpoints fill the configs of this project: no name too many, none too few."""
from __future__ import annotations

import json

import pytest
import torch

from sbp_tad.apis import launch
from sbp_tad.apis.named_files import find_config
from sbp_tad.converters.conversion import check_fit, convert, convert_back
from sbp_tad.converters.errors import ConversionError
from sbp_tad.converters.lstr import head_sizes
from sbp_tad.registry import MODELS

# checkpoint of keys_full.json, code base, config
CHECKPOINTS = [
    ('actionformer_thumos_i3d', 'actionformer', 'actionformer_i3d-features_thumos14'),
    ('opentad_actionformer_thumos_i3d', 'opentad', 'actionformer_opentad_i3d-features_thumos14'),
    ('opentad_adatad_videomae_s_thumos', 'opentad',
     'actionformer_videomae-s_adapters_768x4_thumos14'),
    ('vedatad_daotad_i3d_r50_thumos14', 'vedatad',
     'daotad_i3d-r50_frozen-stage1_768x25fps_thumos14'),
]
NOT_PUBLISHED = ('head.normalizer', )  # ActionFormer's code does not save its running mean


@pytest.fixture(scope='module')
def published_keys(shared_data):
    """Shapes by name of published checkpoints."""
    text = (shared_data / 'parity' / 'keys_full.json').read_text()
    return {name.split(':')[0]: keys for name, keys in json.loads(text).items()}


def shapes_only(keys) -> dict[str, torch.Tensor]:
    items = keys.items() if isinstance(keys, dict) else keys
    return {name: torch.empty(shape, device='meta') for name, shape in items}


def build_state(config: str) -> dict[str, torch.Tensor]:
    cfg = launch.load_config(find_config(config))
    return MODELS.build(cfg.model).state_dict()


@pytest.mark.parametrize('name, source, config', CHECKPOINTS, ids=[row[0] for row in CHECKPOINTS])
def test_a_published_checkpoint_fills_its_config(name, source, config, published_keys):
    theirs, ours = shapes_only(published_keys[name]), build_state(config)
    found = convert({'state_dict': theirs})
    assert (found.source, found.unmapped, found.left_out) == (source, [], [])
    check_fit(found.weights, ours, NOT_PUBLISHED)
    back = convert_back(ours, {'state_dict': theirs})
    assert {key: value.shape for key, value in back.items()} == {
        key.removeprefix('module.'): value.shape for key, value in theirs.items()}


def test_lstr_goes_back_under_its_names(published_keys):
    theirs = shapes_only(published_keys['lstr_thumos_kinetics'])
    found = convert({'model_state_dict': theirs})
    assert (found.source, found.container) == ('lstr', 'model_state_dict')
    assert (found.unmapped, found.left_out) == ([], ['pos_encoding.pe'])
    with torch.device('meta'):
        ours = build_state('lstr_kinetics-features_512s+32_thumos14')
    check_fit(found.weights, ours)
    back = convert_back(ours, {'model_state_dict': theirs})
    assert {key: value.shape for key, value in back.items()} == {
        key: value.shape for key, value in theirs.items()}


def test_the_sizes_of_lstr_show_in_its_weights(published_keys):
    weights = convert(shapes_only(published_keys['lstr_thumos_kinetics'])).weights
    assert head_sizes(weights, True) == dict(
        num_classes=20, in_channels=3072, channels=1024, feedforward_channels=1024,
        num_queries=(16, 32), num_encoder_layers=(1, 2), num_decoder_layers=2)
    assert head_sizes(weights, False)['num_classes'] == 21


def test_a_checkpoint_of_another_network_is_refused(published_keys):
    found = convert(shapes_only(published_keys['actionformer_thumos_i3d']))
    ours = build_state('daotad_i3d-r50_frozen-stage1_768x25fps_thumos14')
    with pytest.raises(ConversionError, match='missing, such as backbone.*unexpected, such as '
                                              'head.*of another shape.*Give the config'):
        check_fit(found.weights, ours)
