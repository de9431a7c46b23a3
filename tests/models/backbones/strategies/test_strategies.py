"""Invariants of every strategy. To add one, add a row."""
import copy
import pickle

import pytest
import torch
from small_backbones import R3D, VIT

from sbp_tad.models import SBPBackbone
from sbp_tad.models.backbones.strategies import STRATEGIES, Strategy
from sbp_tad.models.backbones.strategies.modes import FIXED_MODES, PLANNED_MODES, STOCHASTIC_MODES
from sbp_tad.sbp import SBPError
from sbp_tad.structures import Window

# mode -> backbone and choices; whether evaluation is that of the plain backbone.
CASES = {
    'direct': (R3D, dict(clip_len=4)),
    'deferred': (R3D, dict(clip_len=4)),
    'token': (VIT, dict(clip_len=4)),
    'full': (R3D, dict(clip_len=4)),
    'frozen': (R3D, dict(clip_len=4)),
    'checkpointing': (R3D, dict(clip_len=4)),
    'frame_dropout': (R3D, dict(clip_len=4)),
    'early_pooling': (R3D, dict(clip_len=4)),
    'dropit': (R3D, dict(clip_len=4)),
    'memory_bank': (R3D, dict(clip_len=4)),
    'sideways': (dict(type='FrameCNN', channels=32), dict(clip_len=1)),
    'adapters': (VIT, dict(clip_len=4)),
}
OTHER_IN_EVALUATION = {'early_pooling', 'adapters'}  # they say so
NEED_VIDEOS = ('frame_dropout', 'early_pooling', 'memory_bank')
every_mode = pytest.mark.parametrize('mode', list(STRATEGIES))


def build(mode, **more):
    backbone, choices = CASES[mode]
    torch.manual_seed(0)
    model = SBPBackbone(backbone, mode=mode, seed=0, **choices, **more)
    model.init_weights()
    return model


def video():
    return torch.randn(2, 3, 8, 16, 16, generator=torch.Generator().manual_seed(1))


def encode(model):
    return model(video(), windows=[Window(name, 0, 8, 1, 10, 8) for name in 'ab'])


def plain_twin(mode):
    backbone, choices = CASES[mode]
    torch.manual_seed(0)
    model = SBPBackbone(backbone, mode='full', **choices)
    model.init_weights()
    return model


def test_every_mode_has_a_row():
    assert set(CASES) == set(STRATEGIES)
    assert all(STRATEGIES[mode].mode == mode for mode in STRATEGIES)


@pytest.mark.parametrize('mode', [mode for mode in STRATEGIES if mode not in OTHER_IN_EVALUATION])
def test_evaluation_is_that_of_the_plain_backbone(mode):
    model = build(mode).eval()
    torch.testing.assert_close(model(video()), plain_twin(mode).eval()(video()))


@every_mode
def test_state_dict_goes_into_the_plain_backbone_and_back(mode):
    model, plain = build(mode), plain_twin(mode)
    keys = plain.state_dict().keys()
    state = model.state_dict()
    assert keys <= state.keys()
    plain.backbone.load_state_dict({key: state[key] for key in keys})
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected


@every_mode
def test_copies_are_of_their_own(mode):
    model = build(mode)
    twins = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    features = [encode(twin) for twin in twins]
    torch.testing.assert_close(*features, rtol=0, atol=0)
    torch.testing.assert_close(encode(model), features[0])
    for one in features:
        if one.requires_grad:
            one.sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert len({id(one.strategy) for one in (model, *twins)}) == 3


@every_mode
def test_no_window_no_gradient_no_change(mode):
    model = build(mode)
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        model(video())
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


@pytest.mark.parametrize('mode', [m for m in STRATEGIES if STRATEGIES[m].has_keep_ratio])
def test_keep_ratio_is_checked(mode):
    for ratio in (0, 1.5, True, float('nan'), 'half'):
        with pytest.raises(SBPError, match=r'keep_ratio must be a number in \(0, 1\]'):
            build(mode, keep_ratio=ratio)
    model = build(mode, keep_ratio=0.5)
    model.set_keep_ratio(0.25)
    assert model.config.keep_ratio == 0.25


@pytest.mark.parametrize('mode', [m for m in STRATEGIES if not STRATEGIES[m].has_keep_ratio])
def test_where_nothing_is_thinned_out(mode):
    model = build(mode, keep_ratio=0.25)  # of a config whose mode alone was changed
    assert model.config.keep_ratio == 1
    with pytest.raises(SBPError, match=f"mode '{mode}' has no keep ratio that could be set to 0.5"):
        model.set_keep_ratio(0.5)


@pytest.mark.parametrize('options, message', [
    (dict(mode='fill'), r"mode must be one of \['direct', .*got 'fill'"),
    (dict(mode='full', sampler='random'), "mode 'full' does not have sampler; it has keep_ratio"),
    (dict(mode='full', options=dict(blocks=[])), "mode 'full' does not have blocks"),
    (dict(options=['blocks']), r"options must be a dict, got \['blocks'\]"),
    (dict(mode='full', keep_ratio='auto', memory_budget='1GiB'),
     r"memory_budget is planned for the modes \['direct', 'deferred', 'token'\], got 'full'")])
def test_wrong_choices(options, message):
    with pytest.raises(SBPError, match=message):
        SBPBackbone(R3D, clip_len=4, **options)


@pytest.mark.parametrize('mode', NEED_VIDEOS)
def test_clips_of_a_video_are_needed(mode):
    backbone, _ = CASES[mode]
    with pytest.raises(SBPError, match=f"mode '{mode}' needs the clips of a video .*set clip_len"):
        SBPBackbone(backbone, mode=mode)


def test_a_strategy_must_encode():
    class Nothing(Strategy):
        mode = 'nothing'

    with pytest.raises(NotImplementedError):
        Nothing().encode(None, None, [])


def test_modes_that_other_code_names_are_strategies():
    assert set(PLANNED_MODES) == {*STOCHASTIC_MODES, *FIXED_MODES} <= set(STRATEGIES)
    assert all(STRATEGIES[mode].has_keep_ratio for mode in STOCHASTIC_MODES)
    assert not any(STRATEGIES[mode].has_keep_ratio for mode in FIXED_MODES)
