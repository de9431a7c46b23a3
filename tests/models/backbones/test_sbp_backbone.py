"""SBP around mmaction's backbones: one table of cases, every invariant on each."""
import copy
import pickle

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.runner.checkpoint import load_state_dict
from reference.masked_backprop import masked_gradients
from torch.utils.checkpoint import checkpoint

from sbp_tad.models.backbones.clip_features import pool_space, split_clips
from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.registry import MODELS
from sbp_tad.sbp import SavedMemory, SBPError, draw_kept_clips

FRAMES = dict(type='ResNet', depth=18, pretrained=None)
CLIPS = dict(type='ResNet3d', depth=18, base_channels=8, pretrained=None, with_pool2=False,
             conv1_kernel=(3, 7, 7), conv1_stride_t=2, pool1_stride_t=1, inflate=(1, 1, 1, 1))
SWIN = dict(type='SwinTransformer3D', pretrained=None, pretrained2d=False, drop_path_rate=0.0,
            arch=dict(embed_dims=12, depths=[2, 2, 1, 1], num_heads=[2, 2, 2, 2]),
            patch_size=(2, 4, 4), window_size=(2, 4, 4), out_indices=(1, ))
VIDEOMAE = dict(type='VisionTransformer', img_size=32, patch_size=16, embed_dims=24, depth=2,
                num_heads=2, num_frames=4, return_feat_map=True)

# name: (backbone, clip_len, frames, channels, frames a feature step)
CASES = {
    'tsn': (FRAMES, 1, 8, 512, 1),
    'i3d': (CLIPS, 4, 16, 64, 2),
    'swin': (SWIN, 4, 16, 24, 2),
    'videomae': (VIDEOMAE, 4, 16, 24, 2),
}
every_backbone = pytest.mark.parametrize('case', sorted(CASES))


def build(case, **options):
    torch.manual_seed(0)
    backbone, clip_len, num_frames, *_ = CASES[case]
    model = MODELS.build(dict(type='SBPBackbone', backbone=copy.deepcopy(backbone),
                              clip_len=clip_len, seed=0, **options))
    model.init_weights()
    return model.train(), torch.randn(2, 3, num_frames, 32, 32)


def plain_features(model, video):
    """Encode all clips in one batch with the wrapped backbone."""
    clips = split_clips(video, model.clip_len)
    return model._encode_clips(clips).unflatten(0, (2, -1)).transpose(1, 2).flatten(2)


@every_backbone
def test_shape_and_temporal_stride(case):
    model, video = build(case)
    *_, num_frames, channels, stride = CASES[case]
    assert model(video).shape == (2, channels, num_frames // stride)


@every_backbone
@pytest.mark.parametrize('training', [True, False])
def test_forward_is_that_of_the_backbone(case, training):
    model, video = build(case, clips_at_once=3)
    model.train(training)
    torch.testing.assert_close(model(video), plain_features(model, video), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(model(video), plain_features(model, video), rtol=1e-4,
                                   atol=1e-5)


@every_backbone
@pytest.mark.parametrize('rescale', [True, False])
def test_gradients_equal_the_masked_reference(case, rescale):
    model, video = build(case, keep_ratio=0.5, rescale=rescale)
    model, video = model.double(), video.double()
    num_clips = video.shape[2] // model.clip_len
    iteration = MessageHub.get_current_instance().get_info('iter', 0)
    keys = [(0, iteration, 0, sample) for sample in range(2)]
    kept = draw_kept_clips(num_clips, 0.5, 'uniform_jitter', keys).flatten()

    class Clips(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = model.backbone

        def forward(self, clips):
            return model._encode_clips(clips)

    clips = split_clips(video, model.clip_len)
    _, expected = masked_gradients(Clips(), lambda f: f.unflatten(0, (2, -1)).sin().sum(), clips,
                                   kept, num_clips / kept.sum() * 2 if rescale else 1)
    model(video).sin().sum().backward()
    for name, parameter in model.wrapped_network.named_parameters('backbone'):
        if expected[name] is None:
            assert parameter.grad is None, name
        else:
            torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-6, atol=1e-9)


@every_backbone
def test_keep_ratio_one_is_plain_autograd(case):
    model, video = build(case, keep_ratio=1)
    model(video).sum().backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    plain_features(model, video).sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (name not in found)
        if name in found:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6)


@every_backbone
def test_state_dict_is_that_of_the_backbone(case):
    model, video = build(case)
    assert list(model.state_dict()) == list(model.backbone.state_dict())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model(video).sum().backward()
    for key, value in model.state_dict().items():
        assert torch.equal(before[key], value), key


@every_backbone
def test_loads_and_gives_back_a_plain_checkpoint(case):
    model, video = build(case)
    torch.manual_seed(1)
    plain = MODELS.build(copy.deepcopy(CASES[case][0]))
    holder = torch.nn.ModuleDict({'backbone': model})
    result = holder.load_state_dict({f'backbone.{k}': v for k, v in plain.state_dict().items()})
    assert not result.missing_keys and not result.unexpected_keys
    for key, value in holder.state_dict().items():
        assert torch.equal(value, plain.state_dict()[key.removeprefix('backbone.')])


def test_missing_and_unexpected_keys_are_reported(caplog):
    model, _ = build('tsn')
    holder = torch.nn.ModuleDict({'backbone': model})
    state = {f'backbone.{k}': v for k, v in model.state_dict().items()}
    del state['backbone.conv1.conv.weight']
    state['backbone.extra.weight'] = torch.zeros(1)
    result = holder.load_state_dict(state, strict=False)
    assert [key.split('backbone.')[-1] for key in result.missing_keys] == ['conv1.conv.weight']
    assert [key.split('backbone.')[-1] for key in result.unexpected_keys] == ['extra.weight']
    with pytest.raises(RuntimeError, match='extra.weight'):
        load_state_dict(holder, state, strict=True)


@every_backbone
def test_saves_about_the_kept_share(case):
    model, video = build(case, keep_ratio=1)
    with SavedMemory(model) as full:
        model(video)
    model, video = build(case, keep_ratio=0.5)
    with SavedMemory(model) as half:
        model(video)
    assert half.bytes == pytest.approx(0.5 * full.bytes, rel=0.05)


def kept_gradient(model, video):
    model.zero_grad()
    model(video).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_what_is_kept_follows_the_iteration_of_the_runner():
    model, video = build('tsn')
    hub = MessageHub.get_current_instance()
    gradients = {}
    for iteration in (5, 6, 5):
        hub.update_info('iter', iteration)
        model._last_iteration = -1  # as after a restart
        again = kept_gradient(model, video)
        if iteration in gradients:
            assert torch.equal(gradients[iteration], again)
        gradients[iteration] = again
    assert not torch.equal(gradients[5], gradients[6])
    hub.update_info('iter', 0)


def test_two_forwards_in_one_iteration_differ():
    model, video = build('tsn')
    assert not torch.equal(kept_gradient(model, video), kept_gradient(model, video))


def test_global_random_state_is_untouched():
    model, video = build('tsn')
    before = torch.random.get_rng_state()
    model(video)
    assert torch.equal(before, torch.random.get_rng_state())


def test_without_a_seed_the_run_seed_decides():
    first, video = build('tsn')
    first.seed = None
    torch.manual_seed(3)
    keys = first._sampling_keys(2)
    assert [key[0] for key in keys] == [3, 3]


def test_wrapping_twice_is_refused():
    with pytest.raises(SBPError, match='an SBPBackbone wraps an SBPBackbone'):
        SBPBackbone(dict(type='SBPBackbone', backbone=FRAMES))


def first_gradient(model, video):
    model._last_iteration = -1  # every model starts alike
    return kept_gradient(model, video)


@every_backbone
@pytest.mark.parametrize('copied', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_train_alike(case, copied):
    model, video = build(case)
    assert torch.equal(first_gradient(copied(model), video), first_gradient(model, video))


# mmaction calls torch's checkpoint without saying which of its two forms it wants
@pytest.mark.filterwarnings('ignore:torch.utils.checkpoint. the use_reentrant:UserWarning')
def test_activation_checkpointing_inside_kept_clips():
    """mmaction's own with_cp recomputes inside the kept clips: same gradients, fewer bytes."""
    _, video = build('tsn')
    resnet = dict(type='ResNet', depth=50, pretrained=None)
    plain, cheap = (MODELS.build(dict(
        type='SBPBackbone', backbone=dict(resnet, with_cp=with_cp), clip_len=1, seed=0)).train()
        for with_cp in (False, True))
    cheap.load_state_dict(plain.state_dict())
    torch.testing.assert_close(first_gradient(cheap, video), first_gradient(plain, video))
    saved = []
    for model in (plain, cheap):
        with SavedMemory(model) as meter:
            model(video)
        saved.append(meter.bytes)
    assert saved[1] < 0.7 * saved[0]


@pytest.mark.parametrize('use_reentrant', [False, True])
@pytest.mark.parametrize('mode', ['direct', 'token'])
def test_activation_checkpointing_around_the_whole_backbone_keeps_what_it_kept(mode, use_reentrant):
    """A repeated forward does not count as a second one, which would keep other clips."""
    model, video = build('videomae', mode=mode)
    video.requires_grad_()
    expected = first_gradient(model, video)
    model._last_iteration = -1
    model.zero_grad()
    checkpoint(model, video, use_reentrant=use_reentrant).sum().backward()
    assert model._repeat == 0
    found = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(found, expected)
    assert not torch.equal(kept_gradient(model, video), expected)  # of the next forward


# Dynamo instantiates a Function while it traces one, and torch warns of that.
@pytest.mark.filterwarnings('ignore:.*should not be instantiated:DeprecationWarning')
def test_compiled_backbone():
    model, video = build('i3d')
    expected = first_gradient(model, video)
    model.backbone = torch.compile(model.backbone, backend='eager')
    torch.testing.assert_close(first_gradient(model, video), expected)


def test_bfloat16_autocast():
    model, video = build('videomae')
    expected = first_gradient(model, video)
    with torch.autocast('cpu', torch.bfloat16):
        found = first_gradient(model, video)
    assert torch.nn.functional.cosine_similarity(found, expected, dim=0) > 0.99


def test_batch_of_clips_keeps_the_output_of_the_backbone():
    """Without clip_len the wrapper stands in any recognizer of mmaction."""
    model = MODELS.build(dict(type='SBPBackbone', backbone=FRAMES, keep_ratio=0.5))
    images = torch.randn(4, 3, 32, 32)
    assert model(images).shape == model.backbone(images).shape == (4, 512, 1, 1)


def test_batch_norm_stays_frozen_or_is_refused():
    model, video = build('tsn')
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms)
    live, video = build('tsn', norm_eval=False)
    with pytest.raises(SBPError, match='is in training mode.*keep_ratio=1'):
        live(video)
    full, video = build('tsn', norm_eval=False, keep_ratio=1)
    full(video)


def test_stages_are_frozen_before_an_optimizer_looks():
    model = SBPBackbone(dict(FRAMES, frozen_stages=1))
    assert not model.backbone.conv1.conv.weight.requires_grad


@pytest.mark.parametrize('frames, advice', [(18, '16 or 20'), (3, r'4\.')])
def test_window_must_be_whole_clips(frames, advice):
    with pytest.raises(SBPError, match=f'{frames} frames is not a multiple of clip_len 4; set '
                                       f'num_frames to {advice}'):
        split_clips(torch.zeros(1, 3, frames, 8, 8), 4)


def test_video_shape_is_checked():
    with pytest.raises(SBPError, match=r'takes videos of shape \(B, C, T, H, W\), got \(4, 3, 8'):
        split_clips(torch.zeros(4, 3, 8, 8), 1)


@pytest.mark.parametrize('options, message', [
    (dict(clip_len=0), 'clip_len must be a whole number'),
    (dict(input_format='NTCHW'), "input_format must be one of .*got 'NTCHW'"),
    (dict(keep_ratio=2), r'keep_ratio must be a number in \(0, 1\]')])
def test_wrong_options(options, message):
    with pytest.raises(SBPError, match=message):
        SBPBackbone(FRAMES, **options)


def test_several_outputs_are_refused_with_their_shapes():
    with pytest.raises(SBPError, match=r'got \[\(2, 4, 1, 1\), \(2, 8, 1, 1\)\]; choose one'):
        pool_space((torch.zeros(2, 4, 1, 1), torch.zeros(2, 8, 1, 1)), 2)
    assert pool_space((torch.ones(2, 4, 3, 3), ), 2).shape == (2, 4, 1)
    assert pool_space(torch.ones(6, 4), 2).shape == (2, 4, 3)


DEFERRED = [dict(mode='deferred'), dict(mode='deferred', clips_at_once=3),
            dict(mode='deferred', sampler='gradient')]


@pytest.mark.parametrize('case, options', [
    pytest.param(case, options, marks=pytest.mark.nightly if (
        case == 'tsn' and options is not DEFERRED[0]) else ())  # the largest network
    for case in sorted(CASES) for options in DEFERRED])
def test_deferred_at_keep_ratio_one_is_the_full_gradient(case, options):
    model, video = build(case, keep_ratio=1, **options)
    model, video = model.double(), video.double()
    model(video).sin().sum().backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    plain_features(model, video).sin().sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (name not in found), name
        if name in found:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-6, atol=1e-9)


@every_backbone
def test_deferred_keeps_what_direct_keeps(case):
    gradients = []
    for mode in ('direct', 'deferred'):
        model, video = build(case, keep_ratio=0.5, mode=mode)
        model, video = model.double(), video.double()
        model(video).sin().sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for direct, deferred in zip(*gradients):
        torch.testing.assert_close(direct, deferred, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize('case, share', [('tsn', 0.55), ('i3d', 0.7)])
def test_folded_batch_norm_saves_memory_and_changes_nothing(case, share):
    saved, gradients = {}, {}
    for fold in (False, True):
        model, video = build(case, keep_ratio=1, fold_bn=fold)
        model, video = model.double(), video.double()
        with SavedMemory(model) as meter:
            features = model(video)
        saved[fold] = meter.bytes
        features.sin().sum().backward()
        gradients[fold] = [p.grad for p in model.parameters()]
    assert saved[True] < share * saved[False]
    for folded, plain in zip(gradients[True], gradients[False]):
        torch.testing.assert_close(folded, plain, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize('options, bound', [
    pytest.param(dict(fold_bn=False), 0.26, marks=pytest.mark.nightly), (dict(), 0.13),
    (dict(mode='deferred', clips_at_once=1), 0.06)])
def test_saved_share_of_a_resnet50(options, bound):
    """Measure the share of full backpropagation's bytes; deferred holds one clip of 16."""
    torch.manual_seed(0)
    backbone = dict(type='ResNet', depth=50, pretrained=None)
    video = torch.randn(1, 3, 16, 64, 64)
    held = []
    for settings in (dict(keep_ratio=1, fold_bn=False), dict(keep_ratio=0.25, **options)):
        model = SBPBackbone(backbone, clip_len=1, seed=0, **settings)
        with SavedMemory(model) as saved:
            model(video).sum().backward()
        held.append(saved.bytes)
    assert held[1] <= bound * held[0]


def test_keep_ratio_can_be_changed():
    model, _ = build('tsn')
    model.set_keep_ratio(0.75)
    assert model.config.keep_ratio == 0.75
    with pytest.raises(SBPError, match='keep_ratio must be a number'):
        model.set_keep_ratio(0)
