from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from online_cases import build_head, draw_features
from reference.lstr import lstr_logits

from sbp_tad.models.errors import ModelError
from sbp_tad.registry import MODELS

CONFIG = Path(__file__).parents[3] / 'configs/_base_/models/lstr.py'


@settings(deadline=None, max_examples=8)
@given(missing=st.integers(0, 3), num_frames=st.integers(1, 4), stages=st.sampled_from([1, 2]),
       origin=st.sampled_from(['history', 'working']),
       empty=st.sampled_from(['first_frame', 'nothing']))
def test_logits_equal_the_reference(missing, num_frames, stages, origin, empty):
    settings_of_stages = dict(num_queries=(2, 3)[:stages], num_encoder_layers=(1, 2)[:stages])
    head = build_head('lstr', positions_from=origin, empty_history=empty, **settings_of_stages)
    history, working = draw_features(3), draw_features(num_frames, seed=1)
    mask = torch.arange(3)[None] >= missing
    found = head(history, mask, working)[0]
    weights = {name: value.detach() for name, value in head.state_dict().items()}
    kept = [feature if real else None for feature, real in zip(history[0].T, mask[0])]
    for i, row in enumerate(found):
        expected = lstr_logits(weights, 2, (1, 2)[:stages], 2, kept, list(working[0].T[:i + 1]),
                               head.memory_frames if origin == 'history' else 0,
                               empty == 'first_frame')
        torch.testing.assert_close(row, expected, rtol=1e-5, atol=1e-6)


def test_published_settings_are_the_default_and_in_the_config():
    """16 heads, width 1024 and 1024, 16 then 32 queries, 1 then 2 layers, 2 layers, 0.2."""
    config = Config.fromfile(CONFIG).model
    with torch.device('meta'):
        head = MODELS.build(config.head)
        plain = MODELS.build(dict(type='LSTRHead', num_classes=20, in_channels=2048))
    shapes = {name: tuple(value.shape) for name, value in head.state_dict().items()}
    assert shapes == {name: tuple(value.shape) for name, value in plain.state_dict().items()}
    assert shapes['queries.0'] == (16, 1024) and shapes['queries.1'] == (32, 1024)
    assert shapes['memory_projection.0.weight'] == (1024, 2048)
    assert shapes['classifier.weight'] == (21, 1024)
    assert shapes['decoder.layers.1.mlp.0.weight'] == (1024, 1024)
    assert [len(stage.layers) for stage in head.stages] == [1, 2] and len(head.decoder.layers) == 2
    layer = head.decoder.layers[0]
    assert layer.self_attention.num_heads == 16
    assert layer.dropout.p == layer.self_attention.dropout == head.position_dropout.p == 0.2
    assert (head.num_frames, head.memory_frames, head.memory_stride) == (32, 128, 4)
    assert config.backbone.keep_ratio == 0.2 and config.backbone.clip_len == 1


@pytest.mark.parametrize('options', [
    dict(num_queries=(), num_encoder_layers=()), dict(num_queries=(2, 3, 4)),
    dict(num_queries=(2, 0)), dict(num_decoder_layers=0)])
def test_stages_that_do_not_pair(options):
    with pytest.raises(ModelError, match='a positive number for each stage'):
        build_head('lstr', **options)


@pytest.mark.parametrize('option', ['positions_from', 'empty_history', 'history_from', 'windows'])
def test_an_unknown_choice(option):
    with pytest.raises(ModelError, match=f"{option} must be one of .*, got 'whole'"):
        build_head('lstr', **{option: 'whole'})


def test_the_column_of_ambiguous_frames_takes_its_share_and_gets_no_loss():
    head = build_head('lstr', has_ambiguous_class=True).eval()
    history, working, mask = draw_features(3), draw_features(2, seed=1), torch.ones(1, 3).bool()
    logits = head(history, mask, working)
    scores = head.predict(history, mask, working)
    torch.testing.assert_close(scores, logits.softmax(dim=2)[..., :-1])
    targets = torch.zeros_like(scores)
    targets[..., 1] = 1
    loss = head.loss(history, mask, working, targets, torch.ones(1, 2).bool())['loss_cls']
    torch.testing.assert_close(loss, -logits[..., :-1].log_softmax(dim=2)[..., 1].mean())
    streamed, _ = head.step(head.init_state(), working[0, :, 0])
    assert len(streamed) == head.num_classes + 1


def test_an_odd_number_of_channels():
    with pytest.raises(ModelError, match='channels must be even.*got 9'):
        build_head('lstr', channels=9, num_heads=3)
