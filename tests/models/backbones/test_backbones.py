"""Invariants of every backbone of the table: shape, stride, exact forward, gradients, keys.

What is compared with is the plain backbone, one clip at a time, its output
made features by the row's own few words.
"""
import copy

import pytest
import torch
from backbone_cases import CASES, FROZEN_STAGES, HEADS, NOT_REGISTERED, STOCHASTIC_DEPTH
from families import rest_nightly
from mmaction.structures import ActionDataSample
from mmcv.cnn.bricks import DropPath
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope
from reference.masked_backprop import masked_gradients
from torch import nn

from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.models.layers.batch_norm import freeze_batch_norm
from sbp_tad.registry import MODELS
from sbp_tad.sbp import draw_kept_clips
from sbp_tad.sbp.frozen_norm import folded_pair

NORM = nn.modules.batchnorm._BatchNorm
NUM_CLIPS = 3
SMALL = [name for name in CASES if name != 'c3d']  # which has 46 M parameters
every_backbone = pytest.mark.parametrize('name', rest_nightly(CASES, SMALL))
WIDE = ('tsm', 'tanet', 'c2d', 'omni', 'mobilenet_v2_tsm')  # each has a sibling that is small
with_context = pytest.mark.parametrize('name', rest_nightly(
    [name for name, row in CASES.items() if row.context],
    [name for name in SMALL if CASES[name].context and name not in WIDE]))


def skip_unregistered(name):
    kind = CASES[name].backbone['type']
    if MODELS.get(kind) is None:
        pytest.skip(NOT_REGISTERED[kind])


def build_plain(config):
    """Build the backbone alone, as mmaction's recognizers do."""
    with DefaultScope.overwrite_default_scope('mmaction'):
        return MODELS.build(copy.deepcopy(config))


def build(name, context_frames=0, options=None, clip_len='row', **settings):
    """The wrapped backbone in float64, its weights and statistics drawn."""
    skip_unregistered(name)
    row = CASES[name]
    torch.manual_seed(0)
    model = SBPBackbone(copy.deepcopy(row.backbone | (options or {})), seed=0,
                        clip_len=row.clip_len if clip_len == 'row' else clip_len,
                        context_frames=context_frames, **settings)
    if not options and 'drop_path_rate' not in row.backbone:
        switch_off_stochastic_depth(model)
    for parameter in model.parameters():
        width = 0.3 if parameter.ndim < 2 else (3 / parameter[0].numel()) ** 0.5
        nn.init.uniform_(parameter, -width, width)
    for layer in model.modules():
        if isinstance(layer, NORM):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    video = torch.randn(2, 3, NUM_CLIPS * row.clip_len, row.size, row.size)
    return model.double(), video.double()


def switch_off_stochastic_depth(model):
    """Switch off stochastic depth, which TimeSformer has without an option."""
    for layer in model.modules():
        if isinstance(layer, DropPath):
            layer.drop_prob = 0.0


class OneByOne(nn.Module):
    """The plain backbone with the weights of a wrapped one: clips (n, 3, L, H, W) to (n, C, t)."""

    def __init__(self, model, name, context_frames=0, options=None):
        super().__init__()
        row = CASES[name]
        self.backbone = build_plain(row.backbone | (options or {})).double()
        self.backbone.load_state_dict(model.state_dict())
        self.backbone.train()
        freeze_batch_norm(self.backbone)
        if not options:
            switch_off_stochastic_depth(self)
        self.row, self.cut = row, context_frames // row.stride

    def forward(self, clips):
        steps = [self.row.pool(self.backbone(clip.transpose(0, 1) if self.row.takes_frames
                                             else clip[None])) for clip in clips]
        steps = torch.cat(steps)
        return steps[:, :, self.cut:steps.shape[2] - self.cut]


def clips_by_hand(video, clip_len, context_frames=0):
    """(B, 3, T, H, W) to (B * K, 3, L, H, W), frame by frame."""
    num_frames = video.shape[2]
    clips = []
    for sample in video:
        for first in range(0, num_frames, clip_len):
            places = range(first - context_frames, first + clip_len + context_frames)
            frames = [sample[:, min(max(place, 0), num_frames - 1)] for place in places]
            clips.append(torch.stack(frames, dim=1))
    return torch.stack(clips)


def in_order(steps):
    """(B * K, C, t) to (B, C, K * t)."""
    return torch.cat(list(steps.unflatten(0, (2, -1)).unbind(1)), dim=2)


def kept_clips(keep_ratio):
    iteration = MessageHub.get_current_instance().get_info('iter', 0)
    keys = [(0, iteration, 0, sample) for sample in range(2)]
    return draw_kept_clips(NUM_CLIPS, keep_ratio, 'uniform_jitter', keys).flatten()


def assert_masked_gradients(model, video, encoder, clips, keep_ratio=0.5):
    kept = kept_clips(keep_ratio)
    assert 0 < kept.sum() < len(kept)
    _, expected = masked_gradients(encoder, lambda steps: in_order(steps).sin().sum(), clips, kept,
                                   len(kept) / kept.sum())
    model(video).sin().sum().backward()
    gradients = dict(model.wrapped_network.named_parameters('backbone'))
    assert any(gradient is not None and gradient.any() for gradient in expected.values())
    for name, gradient in expected.items():
        if gradient is None:
            assert gradients[name].grad is None, name
        else:
            torch.testing.assert_close(gradients[name].grad, gradient, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize('name', CASES)
def test_shape_and_temporal_stride(name):
    model, video = build(name)
    row = CASES[name]
    with torch.no_grad():
        features = model(video)
    assert features.shape == (2, row.channels, NUM_CLIPS * row.clip_len // row.stride)
    state = torch.random.get_rng_state()
    assert model.temporal_stride(row.size) == row.stride
    assert model.training and torch.equal(state, torch.random.get_rng_state())


@every_backbone
@pytest.mark.parametrize('training', [True, False])
def test_forward_is_that_of_the_plain_backbone(name, training):
    model, video = build(name, keep_ratio=0.5, clips_at_once=2)
    model.train(training)
    plain = OneByOne(model, name)
    plain.backbone.train(training)
    freeze_batch_norm(plain)
    with torch.no_grad():
        expected = in_order(plain(clips_by_hand(video, CASES[name].clip_len)))
    assert expected.std() > 1e-3  # a blank one would agree with anything
    torch.testing.assert_close(model(video).detach(), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize('mode, name', [
    pytest.param(mode, name, marks=pytest.mark.nightly if (
        name not in SMALL or mode == 'deferred' and name in WIDE) else ())
    for name in CASES for mode in ('direct', 'deferred')])
def test_gradients_are_those_of_the_kept_clips(mode, name):
    model, video = build(name, keep_ratio=0.5, mode=mode)
    clips = clips_by_hand(video, CASES[name].clip_len)
    assert_masked_gradients(model, video, OneByOne(model, name), clips)


@every_backbone
def test_keys_are_those_of_the_plain_backbone(name):
    model, _ = build(name)
    plain = build_plain(CASES[name].backbone)
    assert list(model.state_dict()) == list(plain.state_dict())
    holder = nn.ModuleDict({'backbone': model})
    result = holder.load_state_dict({f'backbone.{k}': v for k, v in plain.state_dict().items()})
    assert not result.missing_keys and not result.unexpected_keys


@every_backbone
def test_batch_norm_is_frozen_and_folded(name):
    model, _ = build(name)
    norms = [layer for layer in model.modules() if isinstance(layer, NORM)]
    assert not any(norm.training for norm in norms)
    assert sum(folded_pair(norm) is None for norm in norms) == CASES[name].unfolded


@with_context
def test_context_goes_through_the_backbone_and_is_cut_away(name):
    row = CASES[name]
    context_frames, options = row.context
    model, video = build(name, context_frames, options, keep_ratio=0.5)
    clips = clips_by_hand(video, row.clip_len, context_frames)
    encoder = OneByOne(model, name, context_frames, options)
    with torch.no_grad():
        torch.testing.assert_close(model(video), in_order(encoder(clips)), rtol=1e-7, atol=1e-9)
    assert model(video).shape == (2, row.channels, NUM_CLIPS * row.clip_len // row.stride)
    model._last_iteration = -1  # as in the first forward of an iteration
    assert_masked_gradients(model, video, encoder, clips)


@pytest.mark.parametrize('name', FROZEN_STAGES)
def test_frozen_stages_get_no_gradient(name):
    model, video = build(name, options=dict(frozen_stages=1), keep_ratio=0.5)
    frozen = {key for key, p in model.named_parameters() if not p.requires_grad}
    assert frozen and frozen < {key for key, _ in model.named_parameters()}
    model(video).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is None or key not in frozen
    assert sum(parameter.grad is not None for parameter in model.parameters()) > 1


def test_a_backbone_that_is_frozen_whole_gives_features_without_gradient():
    model, video = build('tsn', options=dict(frozen_stages=2))
    assert not model(video).requires_grad


@pytest.mark.parametrize('name', STOCHASTIC_DEPTH)
def test_stochastic_depth_is_drawn_for_kept_and_dropped_clips(name):
    """Encode the kept clips first, then the others, with the draws in that order."""
    options = STOCHASTIC_DEPTH[name]
    model, video = build(name, options=options | dict(type=CASES[name].backbone['type']),
                         keep_ratio=0.5)
    plain = OneByOne(model, name, options=options | dict(type=CASES[name].backbone['type']))
    kept, row = kept_clips(0.5), CASES[name]
    clips = clips_by_hand(video, row.clip_len)
    torch.manual_seed(1)
    features = model(video)
    torch.manual_seed(1)
    parts = [row.pool(plain.backbone(clips[chosen])) for chosen in (kept, ~kept)]
    expected = torch.cat(parts)[torch.cat([kept.nonzero(), (~kept).nonzero()]).flatten().argsort()]
    torch.testing.assert_close(features, in_order(expected), rtol=1e-7, atol=1e-9)
    model.eval()
    assert not torch.allclose(features, model(video))
    features.sum().backward()
    (len(kept) / kept.sum() * parts[0].sum()).backward()
    for parameter, reference in zip(model.parameters(), plain.parameters()):
        if reference.grad is not None:
            torch.testing.assert_close(parameter.grad, reference.grad, rtol=1e-6, atol=1e-9)


def labelled(label):
    sample = ActionDataSample()
    # mmaction 1.2 renamed it.
    return getattr(sample, 'set_gt_label', getattr(sample, 'set_gt_labels', None))(label)


@pytest.mark.parametrize('name', rest_nightly(
    [name for name, row in CASES.items() if row.head],
    [name for name in SMALL if CASES[name].head]))
def test_in_a_recognizer(name):
    """mmaction's recognizer with and without SBP: one loss, one set of keys; it trains."""
    skip_unregistered(name)
    row = CASES[name]
    head = dict(type=row.head, num_classes=3, in_channels=row.channels) | HEADS[row.head]
    kind = 'Recognizer2D' if row.takes_frames else 'Recognizer3D'
    wrapped = dict(type='sbp_tad.SBPBackbone', backbone=row.backbone, keep_ratio=0.5, seed=0)
    plain, model = (build_plain(dict(type=kind, backbone=backbone, cls_head=head))
                    for backbone in (row.backbone, wrapped))
    assert list(model.state_dict()) == list(plain.state_dict())
    model.load_state_dict(plain.state_dict())
    shape = (4, 3) if row.takes_frames else (1, 3, row.clip_len)
    inputs = torch.randn(2, *shape, row.size, row.size)
    samples = [labelled(0), labelled(1)]
    for recognizer in (plain, model):
        recognizer.train()
        freeze_batch_norm(recognizer)
        switch_off_stochastic_depth(recognizer)
    losses = [recognizer(inputs, samples, mode='loss')['loss_cls'] for recognizer in (plain, model)]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-5)
    losses[1].backward()
    assert any(p.grad is not None and p.grad.any() for p in model.backbone.parameters())
