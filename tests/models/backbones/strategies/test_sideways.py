"""Sideways: exact gradients in a still video, the reference's pseudo-gradients otherwise."""
import copy

import pytest
import torch
from reference.sideways import sideways_gradients
from torch import nn

from sbp_tad.models import FrameCNN, SBPBackbone
from sbp_tad.models.backbones.strategies.sideways import SPLIT_RULES, split_network, split_rule
from sbp_tad.sbp import SavedMemory, SBPError

FRAMES = dict(type='FrameCNN', channels=32)
PLACES = dict(type='FrameCNN', channels=32, keep_places=True)
RESNET = dict(type='ResNet', depth=18, num_stages=2, strides=(1, 2), dilations=(1, 1),
              out_indices=(1, ), pretrained=None)
BACKBONES = {'frame cnn': FRAMES, 'places': PLACES, 'resnet': RESNET}
every_backbone = pytest.mark.parametrize('backbone', list(BACKBONES))


def build(backbone, mode='sideways', config=None, **choices):
    torch.manual_seed(0)
    model = SBPBackbone({**BACKBONES[backbone], **(config or {})}, mode=mode, clip_len=1, **choices)
    for name, buffer in model.named_buffers():
        if name.endswith('running_mean'):
            nn.init.normal_(buffer)
    return model.double()


def video(num_frames=5, moves=1.0, batch=2):
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(batch, 3, 1, 24, 24, generator=generator, dtype=torch.float64)
    steps = torch.randn(batch, 3, num_frames, 24, 24, generator=generator, dtype=torch.float64)
    return first + moves * steps


def backpropagate(model, frames):
    """Features and gradients of a loss that weighs every feature of every frame differently."""
    model.zero_grad()
    features = model(frames)
    weights = torch.linspace(-1, 2, features[0].numel(), dtype=features.dtype)
    (features * weights.view_as(features[0])).sum().backward()
    return features.detach(), {name: p.grad for name, p in model.backbone.named_parameters()}


def assert_equal_gradients(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert (one[name] is None) == (other[name] is None), name
        if one[name] is not None:
            torch.testing.assert_close(one[name], other[name], rtol=1e-9, atol=1e-9)


def likeness(one, other):
    """Cosine of two gradients of all parameters."""
    first, second = (torch.cat([g.flatten() for g in grads.values()]) for grads in (one, other))
    return torch.cosine_similarity(first, second, dim=0).item()


@every_backbone
@pytest.mark.parametrize('num_frames', [1, 3, 8])
def test_where_nothing_moves_it_is_backpropagation(backbone, num_frames):
    frames = video(num_frames, moves=0)
    features, gradients = backpropagate(build(backbone), frames)
    expected, full = backpropagate(build(backbone, 'full'), frames)
    torch.testing.assert_close(features, expected)
    assert_equal_gradients(gradients, full)


@every_backbone
@pytest.mark.parametrize('num_frames', [1, 2, 6])
def test_pseudo_gradients_are_those_of_the_reference(backbone, num_frames):
    model, frames = build(backbone), video(num_frames)
    features, gradients = backpropagate(model, frames)
    expected = {name: torch.zeros_like(p) for name, p in model.backbone.named_parameters()}
    weights = torch.linspace(-1, 2, features[0].numel(), dtype=torch.float64).view_as(features[0])
    modules = split_network(model.backbone)
    names = {id(p): name for name, p in model.backbone.named_parameters()}
    for sample, feature in zip(frames, features):
        maps = modules_with_mean(modules)
        one, sums, _ = sideways_gradients(maps, sample.transpose(0, 1), weights.T)
        torch.testing.assert_close(one.T, feature)
        for module, parts in zip(maps, sums):
            for (_, parameter), part in zip(module.named_parameters(), parts.values()):
                expected[names[id(parameter)]] += part
    assert_equal_gradients(gradients, expected)


def modules_with_mean(modules):
    """Return the modules, the last one followed by the mean over space."""
    *rest, last = modules
    return [*rest, nn.Sequential(last, MeanOverSpace())]


class MeanOverSpace(nn.Module):
    def forward(self, maps):
        return maps.flatten(2).mean(2) if maps.ndim > 2 else maps


@every_backbone
def test_the_less_a_video_moves_the_better(backbone):
    found = []
    for moves in (0.01, 0.3, 1.0):
        frames = video(6, moves)
        _, gradients = backpropagate(build(backbone), frames)
        found.append(likeness(gradients, backpropagate(build(backbone, 'full'), frames)[1]))
    assert 0.99 < found[0] and found[0] > found[1] > found[2]
    assert found[2] < 0.9999


@every_backbone
@pytest.mark.parametrize('steps_at_once', [2, 3, 50])
def test_steps_may_be_taken_together(backbone, steps_at_once):
    frames = video(7)
    _, gradients = backpropagate(build(backbone), frames)
    together = build(backbone, options=dict(steps_at_once=steps_at_once))
    assert_equal_gradients(backpropagate(together, frames)[1], gradients)


def test_folded_batch_norm_or_not():
    frames = video()
    one, gradients = backpropagate(build('resnet'), frames)
    other, unfolded = backpropagate(build('resnet', fold_bn=False), frames)
    torch.testing.assert_close(one, other)
    assert_equal_gradients(gradients, unfolded)


@pytest.mark.parametrize('steps_at_once', [1, 3])
def test_gradients_of_frames(steps_at_once):
    model = build('frame cnn', options=dict(steps_at_once=steps_at_once))
    frames = video(4, batch=1).requires_grad_()
    weights = torch.randn(32, 4, dtype=torch.float64)
    (model(frames)[0] * weights).sum().backward()
    modules = modules_with_mean(split_network(model.backbone))
    _, _, expected = sideways_gradients(modules, frames.detach()[0].transpose(0, 1), weights.T)
    torch.testing.assert_close(frames.grad[0].transpose(0, 1), expected)


def test_gradients_add_up_and_hooks_run_once():
    model, frames = build('frame cnn'), video()
    _, once = backpropagate(model, frames)
    once = {name: grad.clone() for name, grad in once.items()}
    calls = []
    for parameter in model.parameters():
        parameter.register_hook(calls.append)
    model.zero_grad()
    for _ in range(2):
        features = model(frames)
        weights = torch.linspace(-1, 2, features[0].numel(), dtype=features.dtype)
        (features * weights.view_as(features[0])).sum().backward()
    assert len(calls) == 2 * len(once)
    assert_equal_gradients({name: p.grad for name, p in model.backbone.named_parameters()},
                           {name: 2 * grad for name, grad in once.items()})


def test_memory_is_that_of_a_frame_whatever_their_number():
    def saved_bytes(mode, num_frames, **choices):
        model, frames = build('resnet', mode, **choices), video(num_frames)
        with SavedMemory(model) as saved:
            backpropagate(model, frames)
        # The frames themselves are there anyway; SBPBackbone copies them into clips.
        return saved.bytes - frames.nbytes

    few, many = saved_bytes('sideways', 4), saved_bytes('sideways', 16)
    assert few == many
    full = saved_bytes('full', 16)
    assert many < 1.1 / 16 * full
    assert many < saved_bytes('sideways', 16, options=dict(steps_at_once=4)) < 4.4 / 16 * full


def test_frozen_stages_are_not_gone_through():
    model, full = (build('resnet', mode, dict(frozen_stages=1))
                   for mode in ('sideways', 'full'))
    passed = []
    model.backbone.layer1.register_full_backward_hook(lambda *_: passed.append('layer1'))
    _, gradients = backpropagate(model, video(6))
    _, expected = backpropagate(full, video(6))
    assert all((grad is not None) == name.startswith('layer2') for name, grad in gradients.items())
    # The last module meets its own frames: there the gradient is exact.
    assert_equal_gradients(gradients, expected)
    assert not passed


def test_a_frozen_network_has_no_gradient():
    assert not build('frame cnn', config=dict(frozen=True))(video()).requires_grad


def test_features_that_the_loss_does_not_use():
    model, full, still = build('frame cnn'), build('frame cnn', 'full'), video(moves=0)
    for one in (model, full):
        one(still)[:, :, -1].sum().backward()
    assert_equal_gradients({n: p.grad for n, p in model.backbone.named_parameters()},
                           {n: p.grad for n, p in full.backbone.named_parameters()})


def test_mixed_precision():
    model, full = build('frame cnn').float(), build('frame cnn', 'full').float()
    still = video(3, moves=0).float()
    for one in (model, full):
        with torch.autocast('cpu', torch.bfloat16):
            features = one(still)
        features.float().square().sum().backward()
    for one, other in zip(model.parameters(), full.parameters()):
        assert one.grad.dtype == torch.float32
        assert (one.grad - other.grad).norm() < 0.05 * other.grad.norm()


def test_a_copy_trains_its_own_parameters():
    model = build('frame cnn')
    twin = copy.deepcopy(model)
    backpropagate(twin, video())
    assert all(p.grad is None for p in model.parameters())
    assert all(p.grad is not None for p in twin.parameters())


def test_a_rule_of_ones_own(monkeypatch):
    class TwoLayers(FrameCNN):
        pass

    monkeypatch.setattr('sbp_tad.models.backbones.strategies.sideways.SPLIT_RULES',
                        dict(SPLIT_RULES))
    network = TwoLayers(32)
    with pytest.raises(SBPError, match="'sideways' cannot split TwoLayers into modules, it knows "
                                       'FrameCNN, ResNet; register a rule .*split_rule'):
        split_network(network)
    split_rule(TwoLayers)(lambda module: [module.layers[:2], module.layers[2:]])
    assert len(split_network(network)) == 2
    assert TwoLayers not in SPLIT_RULES


@pytest.mark.parametrize('backbone, choices, message', [
    (dict(type='ResNetTSM', depth=18, num_segments=1, pretrained2d=False), {},
     'cannot split ResNetTSM into modules, it knows FrameCNN, ResNet'),
    (dict(RESNET, out_indices=(0, 1)), {}, r'the ResNet returns the stages \(0, 1\); choose one'),
    (FRAMES, dict(clip_len=2), r'frame by frame: expected clip_len=1, .* got clip_len=2'),
    (FRAMES, dict(clip_len=None), 'got clip_len=None'),
    (FRAMES, dict(context_frames=1), r'context_frames=1 and input_format=\'NCHW\''),
    (FRAMES, dict(input_format='NCTHW'), "input_format='NCTHW'")])
def test_what_cannot_be(backbone, choices, message):
    with pytest.raises(SBPError, match=message):
        SBPBackbone(backbone, mode='sideways', **{'clip_len': 1, **choices})


@pytest.mark.parametrize('steps', [0, 1.5, True, None])
def test_steps_at_once_is_checked(steps):
    with pytest.raises(SBPError, match='steps_at_once must be a whole number of at least 1, got'):
        build('frame cnn', options=dict(steps_at_once=steps))


def test_statistics_of_the_batch():
    with pytest.raises(SBPError, match='batch normalization .* is in training mode'):
        build('resnet', norm_eval=False)(video())
