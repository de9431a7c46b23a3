"""SBPBackbone with mode='token': one table of backbones, every invariant on each."""
import copy
import pickle
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from token_cases import record_masks
from token_settings import check_distributed
from torch import nn

from sbp_tad.engine.keep_ratio import KeepRatioSchedule
from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.registry import MODELS
from sbp_tad.sbp import SavedMemory, SBPError, blocks_named
from sbp_tad.sbp.masks import draw_kept_tokens
from sbp_tad.sbp.modules import ModelState, TokenSBP

SWIN = dict(type='SwinTransformer3D', pretrained=None, pretrained2d=False, drop_path_rate=0.0,
            arch=dict(embed_dims=12, depths=[2, 2, 6, 2], num_heads=[2, 2, 2, 2]),
            patch_size=(2, 4, 4), window_size=(2, 4, 4))
VIDEOMAE = dict(type='VisionTransformer', img_size=32, patch_size=8, embed_dims=24, depth=2,
                num_heads=2, num_frames=4, return_feat_map=True)
# The stages of the paper's Kinetics recipe: 1 and 2 whole, 4 of the 6 blocks of the third.
RECIPE = ['layers.[01]', r'layers.2.blocks.[0-3]']

# name: (backbone, clip_len, other options)
CASES = {
    'swin': (SWIN, 4, {}),
    'swin-recipe': (SWIN, 4, dict(token_blocks=RECIPE)),
    'swin-recognizer': (SWIN, None, {}),
    'videomae': (VIDEOMAE, 4, dict(token=dict(mask='tube', kv='kept'))),
    'videomae-dropped': (VIDEOMAE, 4, dict(token=dict(shortcut='dropped'))),
    'videomae-recognizer': (VIDEOMAE, None, dict(rescale=False)),
}
every_case = pytest.mark.parametrize('case', CASES)


@pytest.fixture(autouse=True)
def first_iteration():
    MessageHub.get_current_instance().update_info('iter', 0)


def build(case, **options):
    torch.manual_seed(0)
    backbone, clip_len, chosen = CASES[case]
    options = dict(mode='token', clip_len=clip_len, seed=0) | chosen | options
    model = MODELS.build(dict(type='SBPBackbone', backbone=copy.deepcopy(backbone), **options))
    model.init_weights()
    return model.train(), torch.randn(2, 3, 8 if clip_len else 4, 32, 32)


def build_plain(case):
    """Build a twin with the same weights and full backpropagation."""
    return build(case, mode='direct', keep_ratio=1, token=None, token_blocks=None)[0]


def first_gradients(model, video):
    """Gradients of the first forward of an iteration."""
    model._last_iteration = -1
    model.zero_grad()
    features = model(video)
    features = features if isinstance(features, torch.Tensor) else features[0]
    features.sin().sum().backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def assert_equal(found, expected):
    assert len(found) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(found, expected))


def differ(found, expected):
    return any(not torch.equal(a, b) for a, b in zip(found, expected))


@every_case
@pytest.mark.parametrize('training', [True, False])
def test_forward_is_that_of_the_backbone(case, training):
    model, video = build(case)
    direct = build_plain(case)
    for one in (model, direct):
        one.train(training)
    assert torch.equal(model(video), direct(video))
    with torch.no_grad():
        assert torch.equal(model(video), direct(video))


@every_case
def test_keep_ratio_one_is_plain_autograd(case):
    model, video = build(case, keep_ratio=1)
    direct = build_plain(case)
    assert_equal(first_gradients(model, video), first_gradients(direct, video))
    model.set_keep_ratio(0.25)
    assert differ(first_gradients(model, video), first_gradients(direct, video))


@every_case
def test_state_dict_is_that_of_the_backbone(case):
    model, video = build(case)
    fresh = MODELS.build(copy.deepcopy(CASES[case][0]))
    assert list(model.state_dict()) == list(fresh.state_dict())
    holder = nn.ModuleDict({'backbone': model})
    result = holder.load_state_dict({f'backbone.{k}': v for k, v in fresh.state_dict().items()})
    assert not result.missing_keys and not result.unexpected_keys
    first_gradients(model, video)
    for key, value in fresh.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


@every_case
@pytest.mark.parametrize('copied', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_train_alike(case, copied):
    model, video = build(case)
    assert_equal(first_gradients(copied(model), video), first_gradients(model, video))


@every_case
def test_what_is_kept_follows_the_iteration_of_the_runner(case):
    """A run restarted at iteration 5 keeps there what the first run kept."""
    model, video = build(case)
    hub = MessageHub.get_current_instance()
    hub.update_info('iter', 5)
    fifth = first_gradients(model, video)
    hub.update_info('iter', 6)
    assert differ(first_gradients(model, video), fifth)
    again, _ = build(case)
    hub.update_info('iter', 5)
    before = torch.get_rng_state()
    assert_equal(first_gradients(again, video), fifth)
    assert torch.equal(torch.get_rng_state(), before)


def test_keys_of_the_tokens(monkeypatch):
    """Return the key: (seed, iteration, forward in it, position, clip), then block and branch."""
    model, video = build('swin')
    masks = record_masks(monkeypatch)
    MessageHub.get_current_instance().update_info('iter', 3)
    for repeat in range(2):
        model(video)
        keys = [(0, 3, repeat, sample, clip, 1, 1) for sample in range(2) for clip in range(2)]
        expected = draw_kept_tokens((2, 8, 8), 0.25, 'grid', keys).flatten(1)
        assert torch.equal(masks[3].kept, expected)  # the second block's MLP
        masks.clear()


def test_keep_ratio_schedule():
    model, video = build('swin')
    hook = KeepRatioSchedule(start=1.0, end=0.25, form='linear')
    runner = SimpleNamespace(model=model, iter=0, max_iters=2)
    hook.before_train(runner)
    saved = []
    for runner.iter in (0, 1, 2):
        hook.before_train_iter(runner, 0)
        with SavedMemory(model) as meter:
            model(video)
        saved.append(meter.bytes)
    assert saved[0] > 1.3 * saved[1] > 1.3 * saved[2]
    with pytest.raises(SBPError, match='keep_ratio must be a number'):
        model.set_keep_ratio(0)


def covered(model):
    return [name for name, block in model.backbone.named_modules() if isinstance(block, TokenSBP)]


@pytest.mark.parametrize('blocks, depths', [
    (None, [2, 2, 6, 2]), (RECIPE, [2, 2, 4, 0]), (['layers.3.blocks.1'], [0, 0, 0, 1]),
    (['layers.2'], [0, 0, 6, 0])])
def test_covered_blocks(blocks, depths):
    model, _ = build('swin', token_blocks=blocks)
    expected = [f'layers.{stage}.blocks.{block}' for stage, depth in enumerate(depths)
                for block in range(depth)]
    if blocks == ['layers.3.blocks.1']:
        expected = blocks
    assert covered(model) == expected


def test_a_name_takes_no_longer_number():
    model = nn.ModuleDict({str(i): nn.TransformerEncoderLayer(4, 1, 8, batch_first=True)
                           for i in (1, 10)})
    takes = blocks_named(model, ['1'])
    assert takes('1', None) and takes('1.norm', None) and not takes('10', None)


def test_direct_stays_clip_level_for_a_transformer():
    model, video = build('swin-recognizer', mode='direct', keep_ratio=0.5)
    assert model.mode == 'direct' and not covered(model)
    with SavedMemory(model) as saved:
        model(video)
    with SavedMemory(model) as full:
        model.set_keep_ratio(1)
        model(video)
    assert saved.bytes == pytest.approx(full.bytes / 2, rel=0.05)  # one of two clips


SWIN_CONFIG = '''
_base_ = 'mmaction::recognition/swin/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb.py'
custom_imports = dict(imports=['sbp_tad'])
model = dict(backbone=dict(_delete_=True, type='sbp_tad.SBPBackbone', mode='token', keep_ratio=0.25, backbone=dict(type='SwinTransformer3D', arch='tiny', pretrained2d=False)))
'''  # noqa: E501


def test_the_line_in_a_config_of_mmaction(tmp_path):
    """mmaction's Video Swin recognizer, all of its blocks covered; a step of training runs."""
    path = tmp_path / 'swin.py'
    path.write_text(SWIN_CONFIG)
    cfg = Config.fromfile(path).model
    cfg.backbone.backbone.arch = SWIN['arch']
    cfg.cls_head.in_channels = 8 * 12
    model = MODELS.build(cfg).train()
    assert len(covered(model.backbone)) == 12
    features, _ = model.extract_feat(torch.randn(2, 1, 3, 4, 64, 64), stage='backbone')
    features.sum().backward()
    assert all(p.grad is not None for p in model.backbone.parameters())


ENCODER = dict(type='ResNet', depth=18, pretrained=None)


@pytest.mark.parametrize('backbone, options, message', [
    (SWIN, dict(mode='tokens'), r"mode must be one of \['direct', .*got 'tokens'"),
    (SWIN, dict(token=dict(mask='tube')), "mode 'direct' does not have token; it"),
    (SWIN, dict(mode='deferred', token_blocks=['layers']), 'does not have token_blocks; it has'),
    (SWIN, dict(mode='token', sampler='random'), "mode 'token' does not have sampler; it"),
    (SWIN, dict(mode='token', clips_at_once=0), 'clips_at_once must be a whole number'),
    (SWIN, dict(mode='token', token=dict(ratio=1)), "must be a dict of any of .*'kv'.*'ratio'"),
    (SWIN, dict(mode='token', token='grid'), "token must be a dict .*got 'grid'"),
    (SWIN, dict(mode='token', token=dict(mask='cube')), 'mask must be one of'),
    (SWIN, dict(mode='token', rescale=True, token=dict(shortcut='dropped')), 'rescale=True needs'),
    (SWIN, dict(mode='token', keep_ratio=0), r'keep_ratio must be a number in \(0, 1\]'),
    (SWIN, dict(mode='token', token_blocks=['blocks']), "'blocks' matches no block.*'layers.0.blo"),
    (SWIN, dict(mode='token', token_blocks=[]), r'at least one block name .*got \[\]'),
    (SWIN, dict(mode='token', token_blocks='layers'), "at least one block name .*got 'layers'"),
    (SWIN, dict(mode='token', token_blocks=['layers.(']), 'is not a valid regular exp.*: missing'),
    (ENCODER, dict(mode='token', token_blocks=['layer1']), 'no block of a known type'),
    (ENCODER, dict(mode='token'), 'no block of a known type')])
def test_wrong_options(backbone, options, message):
    with pytest.raises(SBPError, match=message):
        SBPBackbone(backbone, **options)


def test_items_that_are_no_whole_clips():
    state = ModelState(None, keys=[(0, ), (1, )])
    assert state.keys_of(4) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    with pytest.raises(SBPError, match='sees 3 items at once, but there are 2 sampling keys'):
        state.keys_of(3)


def build_for_two(name):
    model, video = build(name)
    return model.double(), video.double()


@pytest.mark.slow
def test_two_processes():
    """The position in the global batch interleaves the ranks."""
    check_distributed(build_for_two, CASES)
