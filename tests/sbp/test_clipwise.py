"""Invariants of clip-wise SBP on small encoders: exact forward, reference gradients."""
import copy
import itertools
import pickle

import pytest
import torch
from reference.masked_backprop import masked_gradients
from torch import nn
from torch.utils.checkpoint import checkpoint

from sbp_tad.sbp import (
    ClipwiseSBP,
    SBPConfig,
    SBPError,
    draw_kept_clips,
    encode_clips,
    encode_stochastically,
)


def conv2d():
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.BatchNorm2d(6).eval(),
                         nn.Conv2d(6, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def conv3d():
    return nn.Sequential(nn.Conv3d(3, 6, 3, stride=2), nn.GELU(), nn.Conv3d(6, 4, (2, 3, 3)),
                         nn.AdaptiveAvgPool3d((2, 1, 1)), nn.Flatten(2))


def transformer():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Linear(5, 8), layer)


CASES = {
    'conv2d': (conv2d, (3, 16, 16)),
    'conv3d': (conv3d, (3, 6, 12, 12)),
    'transformer': (transformer, (7, 5)),
}
every_encoder = pytest.mark.parametrize('case', sorted(CASES))


def build(case, num_clips=8):
    torch.manual_seed(0)
    make, shape = CASES[case]
    return make().double(), torch.randn(num_clips, *shape, dtype=torch.float64)


def head_loss(features):
    """A head that couples neighbouring clips, so that dL/dfeature depends on all."""
    flat = features.flatten(1)
    return (flat.cumsum(0) * flat.roll(1, 0)).sin().sum()


def gradients_of(encoder, loss):
    named = [(n, p) for n, p in encoder.named_parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, [p for _, p in named])
    return {name: gradient for (name, _), gradient in zip(named, found)}


@every_encoder
@pytest.mark.parametrize('clips_at_once', [1, 3, 16])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_forward_is_the_encoder_on_each_part(case, clips_at_once, dtype):
    """Bit for bit: the features are the encoder's own, whichever way the batch is split."""
    encoder, clips = build(case)
    encoder, clips = encoder.to(dtype), clips.to(dtype)
    kept = draw_kept_clips(8, 0.25, 'random', [(0, )]).flatten()
    found = encode_clips(encoder, clips, kept, clips_at_once=clips_at_once)
    assert torch.equal(found[kept], encoder(clips[kept]))
    parts = [encoder(part) for part in clips[~kept].split(clips_at_once)]
    assert torch.equal(found[~kept], torch.cat(parts))


@every_encoder
def test_forward_equals_one_batch_to_rounding(case):
    """Some kernels round differently for another batch size; nothing else may differ."""
    encoder, clips = build(case)
    kept = draw_kept_clips(8, 0.25, 'random', [(0, )]).flatten()
    torch.testing.assert_close(encode_clips(encoder, clips, kept), encoder(clips),
                               rtol=1e-13, atol=1e-13)


def test_forward_equals_one_batch_bit_for_bit_where_kernels_allow():
    encoder, clips = build('conv2d')
    encoder, clips = encoder.float(), clips.float()
    kept = draw_kept_clips(8, 0.5, 'random', [(0, )]).flatten()
    assert torch.equal(encode_clips(encoder, clips, kept), encoder(clips))


@every_encoder
@pytest.mark.parametrize('scale', [1.0, 4.0])
def test_gradients_equal_the_masked_reference(case, scale):
    encoder, clips = build(case)
    kept = draw_kept_clips(8, 0.25, 'uniform_jitter', [(7, )]).flatten()
    _, expected = masked_gradients(encoder, head_loss, clips, kept, scale)
    features = encode_clips(encoder, clips, kept, gradient_scale=scale)
    found = gradients_of(encoder, head_loss(features))
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-10, atol=1e-12)


@every_encoder
def test_keep_ratio_one_is_plain_autograd(case):
    encoder, clips = build(case)
    plain = gradients_of(encoder, head_loss(encoder(clips)))
    features = encode_stochastically(encoder, encoder, clips, 4, SBPConfig(keep_ratio=1),
                                     [(0, ), (1, )])
    found = gradients_of(encoder, head_loss(features))
    assert all(torch.equal(found[name], plain[name]) for name in plain)


def test_mean_over_all_subsets_is_the_full_gradient():
    encoder, clips = build('conv2d', num_clips=5)
    full = gradients_of(encoder, head_loss(encoder(clips)))
    subsets = list(itertools.combinations(range(5), 2))
    mean = {name: torch.zeros_like(g) for name, g in full.items()}
    for subset in subsets:
        kept = torch.zeros(5, dtype=torch.bool)
        kept[list(subset)] = True
        features = encode_clips(encoder, clips, kept, gradient_scale=5 / 2)
        for name, gradient in gradients_of(encoder, head_loss(features)).items():
            mean[name] += gradient / len(subsets)
    for name in full:
        torch.testing.assert_close(mean[name], full[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('rescale', [True, False])
def test_rescale_is_one_over_the_kept_share(rescale):
    encoder, clips = build('conv2d', num_clips=10)
    config = SBPConfig(keep_ratio=0.3, rescale=rescale)
    kept = draw_kept_clips(10, 0.3, config.sampler, [(0, )]).flatten()
    _, expected = masked_gradients(encoder, head_loss, clips, kept, 10 / 3 if rescale else 1)
    found = gradients_of(encoder, head_loss(
        encode_stochastically(encoder, encoder, clips, 10, config, [(0, )])))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-10, atol=1e-12)


def test_nested_outputs_keep_their_form():
    def encoder(x):
        return x * 2, [x.mean(1), x]
    clips = torch.randn(4, 3)
    kept = torch.tensor([True, False, True, False])
    pair, (mean, same) = encode_clips(encoder, clips, kept)
    assert torch.equal(pair, clips * 2) and torch.equal(mean, clips.mean(1))
    assert torch.equal(same, clips)


def test_an_encoder_must_return_tensors():
    with pytest.raises(SBPError, match='must return a tensor or a tuple or list of tensors, got d'):
        encode_clips(lambda x: {'x': x}, torch.randn(4, 3), torch.tensor([True, False] * 2))


@pytest.mark.parametrize('dtype', [torch.bfloat16])
def test_autocast_keeps_every_gradient(dtype):
    """A weight cast cached inside no_grad must not cut the kept clips' gradient."""
    encoder, clips = build('conv2d')
    encoder, clips = encoder.float(), clips.float()
    kept = draw_kept_clips(8, 0.25, 'random', [(0, )]).flatten()
    with torch.autocast('cpu', dtype):
        features = encode_clips(encoder, clips, kept)
        found = gradients_of(encoder, head_loss(features.float()))
    with torch.autocast('cpu', dtype):
        _, expected = masked_gradients(encoder, lambda f: head_loss(f.float()), clips, kept, 1)
    for name, gradient in expected.items():
        assert found[name].abs().sum() > 0
        torch.testing.assert_close(found[name], gradient, rtol=0.05, atol=0.05)


def test_live_batch_norm_is_refused():
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    config = SBPConfig(keep_ratio=0.5)
    with pytest.raises(SBPError, match="batch normalization '1' is in training mode.*norm_eval"):
        encode_stochastically(encoder, encoder, torch.randn(4, 3, 8, 8), 4, config, [(0, )])


@pytest.mark.parametrize('num_clips, keys', [(0, [(0, )]), (3, [(0, )])])
def test_number_of_clips_must_fit(num_clips, keys):
    with pytest.raises(SBPError, match='expected at least one clip per sample'):
        encode_stochastically(nn.Identity(), nn.Identity(), torch.randn(4, 3), num_clips,
                              SBPConfig(), keys)


def test_frozen_and_unused_parameters_are_fine():
    encoder, clips = build('conv2d')
    encoder[0].requires_grad_(False)
    encoder.unused = nn.Parameter(torch.zeros(1))
    kept = draw_kept_clips(8, 0.25, 'random', [(0, )]).flatten()
    head_loss(encode_clips(encoder, clips, kept)).backward()
    assert encoder[0].weight.grad is None and encoder.unused.grad is None
    assert encoder[3].weight.grad.abs().sum() > 0


class TestModule:
    """The thin class: counts its steps, leaves evaluation alone, copies and pickles."""

    def build(self, keep_ratio=0.5):
        encoder, clips = build('conv2d')
        return ClipwiseSBP(encoder, SBPConfig(keep_ratio=keep_ratio)), clips.unflatten(0, (2, 4))

    def grads(self, module, clips):
        loss = head_loss(module(clips))
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, module.parameters())])

    def test_forward_equals_the_encoder(self):
        module, clips = self.build()
        assert torch.equal(module(clips), module.encoder(clips.flatten(0, 1)))

    def test_steps_differ_and_repeat(self):
        module, clips = self.build()
        first, *others = [self.grads(module, clips) for _ in range(6)]
        assert any(not torch.equal(first, other) for other in others)
        module.step = 0
        assert torch.equal(first, self.grads(module, clips))

    def test_evaluation_keeps_every_gradient(self):
        module, clips = self.build()
        found = self.grads(module.eval(), clips)
        full = torch.autograd.grad(head_loss(module.encoder(clips.flatten(0, 1))),
                                   module.parameters())
        assert torch.equal(found, torch.cat([g.flatten() for g in full]))

    def test_inference_mode(self):
        module, clips = self.build()
        with torch.inference_mode():
            assert torch.equal(module(clips), module.encoder(clips.flatten(0, 1)))

    @pytest.mark.parametrize('copied', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
    def test_copies_continue_alike(self, copied):
        module, clips = self.build()
        module(clips)
        twin = copied(module)
        assert torch.equal(self.grads(module, clips), self.grads(twin, clips))

    def test_checkpointing_repeats_the_same_clips(self):
        module, clips = self.build()
        expected = [self.grads(module, clips) for _ in range(2)]
        module.step = 0
        for gradient in expected:
            loss = head_loss(checkpoint(module, clips, use_reentrant=False))
            found = torch.autograd.grad(loss, module.parameters())
            torch.testing.assert_close(torch.cat([g.flatten() for g in found]), gradient)
        assert module.step == 2
