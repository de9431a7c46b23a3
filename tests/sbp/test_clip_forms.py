"""Every encoder in every form of clip-wise SBP: one table, every invariant on each row."""
import copy
import pickle

import pytest
import torch
from reference.masked_backprop import masked_gradients
from torch import nn
from torch.utils.checkpoint import checkpoint

from sbp_tad.sbp import (
    ClipwiseSBP,
    SavedMemory,
    SBPConfig,
    SBPError,
    TokenSBPConfig,
    apply_sbp,
    draw_kept_clips,
    encode_deferred,
    fold_frozen_norm,
    remove_sbp,
)
from sbp_tad.sbp.deferred import get_random_state
from sbp_tad.sbp.sampling import draw_by_gradient


class Residual(nn.Module):
    def __init__(self, use_reentrant=None):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6).eval(),
                                  nn.ReLU(inplace=True))
        self.use_reentrant = use_reentrant

    def forward(self, x):
        if self.use_reentrant is None or not torch.is_grad_enabled():
            return x + self.body(x)
        return x + checkpoint(self.body, x, use_reentrant=self.use_reentrant)


def cnn(**options):
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6).eval(), nn.ReLU(),
                         Residual(**options), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def folded():
    encoder = cnn()
    fold_frozen_norm(encoder)
    return encoder


def conv3d():
    return nn.Sequential(nn.Conv3d(3, 6, 3, stride=2), nn.GELU(), nn.AdaptiveAvgPool3d((2, 1, 1)),
                         nn.Flatten(2))


def transformer():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Linear(5, 8), layer)


def frozen_and_unused():
    encoder = cnn()
    encoder[0].requires_grad_(False)
    encoder[3].unused = nn.Parameter(torch.zeros(1))
    return encoder


def tied():
    encoder = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5))
    encoder[2].weight = encoder[0].weight
    return encoder


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(5, 4, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0]


ENCODERS = {
    'cnn': (cnn, (3, 12, 12)),
    'folded': (folded, (3, 12, 12)),
    'checkpoint': (lambda: cnn(use_reentrant=False), (3, 12, 12)),
    'reentrant': (lambda: cnn(use_reentrant=True), (3, 12, 12)),
    'conv3d': (conv3d, (3, 6, 8, 8)),
    'transformer': (transformer, (7, 5)),
    'frozen': (frozen_and_unused, (3, 12, 12)),
    'tied': (tied, (7, 5)),
    'recurrent': (Recurrent, (7, 5)),
}
FORMS = {
    'direct': dict(mode='direct'),
    'deferred': dict(mode='deferred'),
    'chunks': dict(mode='deferred', clips_at_once=2, sampler='random'),
    'gradient': dict(mode='deferred', sampler='gradient', clips_at_once=3),
    'unscaled': dict(mode='deferred', sampler='gradient', rescale=False),
}
every_encoder = pytest.mark.parametrize('case', ENCODERS)
every_form = pytest.mark.parametrize('form', FORMS)
NUM_CLIPS = 8


def build(case, form, keep_ratio=0.5, dtype=torch.float64):
    torch.manual_seed(0)
    make, shape = ENCODERS[case]
    module = ClipwiseSBP(make().to(dtype), SBPConfig(keep_ratio=keep_ratio, **FORMS[form]))
    return module, torch.randn(2, NUM_CLIPS, *shape, dtype=dtype)


def head_loss(features):
    """Couples neighbouring clips, so that dL/dfeature depends on all."""
    flat = features.flatten(1)
    return (flat.cumsum(0) * flat.roll(1, 0)).sin().sum()


def weights_of(module, features, step=0):
    """The weight of each clip in the first step, from the samplers by hand."""
    config = module.config
    keys = [(module.seed, step, sample) for sample in range(2)]
    count = round(config.keep_ratio * NUM_CLIPS)
    if config.sampler != 'gradient':
        kept = draw_kept_clips(NUM_CLIPS, config.keep_ratio, config.sampler, keys)
        return kept.flatten() * (NUM_CLIPS / count)
    leaf = features.detach().requires_grad_()
    (from_head, ) = torch.autograd.grad(head_loss(leaf), leaf)
    rows = from_head.reshape(2, NUM_CLIPS, -1)
    kept, chances = draw_by_gradient(rows @ rows.mT, count, keys)
    return (kept / chances if config.rescale else kept.double()).flatten()


def gradients(module):
    return {name: p.grad for name, p in module.encoder.named_parameters() if p.requires_grad}


@every_encoder
@every_form
def test_gradients_equal_the_reference(case, form):
    module, clips = build(case, form)
    features = module(clips)
    flat = clips.flatten(0, 1)
    torch.testing.assert_close(features, module.encoder(flat), rtol=1e-12, atol=1e-12)
    plain = copy.deepcopy(module.encoder)
    for layer in plain.modules():
        layer.use_reentrant = None
    _, expected = masked_gradients(plain, head_loss, flat,
                                   weights_of(module, features).to(features), 1)
    head_loss(features).backward()
    for name, gradient in gradients(module).items():
        if expected[name] is None:
            assert gradient is None, name
        else:
            torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-11)
    for p in module.encoder.parameters():
        assert p.requires_grad or p.grad is None


@every_encoder
@every_form
def test_keep_ratio_one_is_the_full_gradient(case, form):
    module, clips = build(case, form, keep_ratio=1)
    head_loss(module(clips)).backward()
    found = gradients(module)
    module.zero_grad()
    head_loss(module.encoder(clips.flatten(0, 1))).backward()
    for name, gradient in gradients(module).items():
        if gradient is not None:
            torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-11)


class Recording(nn.Module):
    """Notes the random mask of each clip (told by its number) and whether with gradient."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen = {True: {}, False: {}}

    def forward(self, clips):
        mask = torch.rand_like(clips)
        for clip, row in zip(clips, mask):
            self.seen[torch.is_grad_enabled()][int(clip[0])] = row
        return clips * mask * self.weight


@pytest.mark.parametrize('form', ['deferred', 'chunks', 'gradient', 'unscaled'])
def test_dropout_repeats_exactly(form):
    encoder = Recording()
    module = ClipwiseSBP(encoder, SBPConfig(keep_ratio=0.5, **FORMS[form]))
    clips = torch.arange(16.).reshape(2, 8, 1).expand(2, 8, 4)
    loss = module(clips).square().sum()
    torch.rand(3)  # the random state of the backward pass is another
    before = torch.get_rng_state()
    loss.backward()
    assert torch.equal(before, torch.get_rng_state())
    first, again = encoder.seen[False], encoder.seen[True]
    assert len(first) == 16 and len(again) == 8
    assert all(torch.equal(first[clip], row) for clip, row in again.items())


@every_form
@pytest.mark.parametrize('case', ['cnn', 'folded', 'transformer'])
def test_autocast(case, form):
    """The passes of backward run outside of autocast, yet compute as those of forward."""
    module, clips = build(case, form, dtype=torch.float32)
    with torch.autocast('cpu', torch.bfloat16):
        features = module(clips)
        loss = head_loss(features.float())
        # A weight cast without gradient must not be left for others.
        plain = module.encoder(clips[0])
        other = plain.float().sum()
    assert features.dtype == plain.dtype
    weights = weights_of(module, features.float())
    with torch.autocast('cpu', torch.bfloat16):
        _, expected = masked_gradients(module.encoder, lambda f: head_loss(f.float()),
                                       clips.flatten(0, 1), weights.to(features), 1)
    loss.backward()
    for name, gradient in gradients(module).items():
        torch.testing.assert_close(gradient, expected[name], rtol=0.1,
                                   atol=0.1 * float(expected[name].abs().max()) + 1e-3)
    assert all(g is not None for g in torch.autograd.grad(other, [*module.encoder.parameters()]))


@every_form
def test_gradients_accumulate_and_hooks_run_once(form):
    module, clips = build('cnn', form)
    head_loss(module(clips)).backward()
    first = {name: g.clone() for name, g in gradients(module).items()}
    calls = []
    module.encoder[0].weight.register_hook(lambda g: calls.append(1) or 3 * g)
    module.step = 0
    head_loss(module(clips)).backward()
    assert calls == [1]
    for name, gradient in gradients(module).items():
        times = 4 if name == '0.weight' else 2
        torch.testing.assert_close(gradient, times * first[name])


@every_form
def test_loss_scale_passes_through(form):
    module, clips = build('cnn', form)
    head_loss(module(clips)).backward()
    first = {name: g.clone() for name, g in gradients(module).items()}
    module.zero_grad()
    module.step = 0
    (head_loss(module(clips)) * 1024).backward()
    for name, gradient in gradients(module).items():
        torch.testing.assert_close(gradient / 1024, first[name])


@every_form
def test_clips_get_their_gradient(form):
    module, clips = build('cnn', form)
    clips.requires_grad_()
    features = module(clips)
    weights = weights_of(module, features)
    head_loss(features).backward()
    assert torch.equal(clips.grad.flatten(2).abs().sum(2).flatten() > 0, weights > 0)


@every_form
@pytest.mark.parametrize('copied', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_and_averages_continue_alike(form, copied):
    module, clips = build('folded', form)
    module(clips)
    twin = copied(module)
    for one in (module, twin):
        head_loss(one(clips)).backward()
    for name, gradient in gradients(module).items():
        assert torch.equal(gradient, gradients(twin)[name])
    average = torch.optim.swa_utils.AveragedModel(module)
    average.update_parameters(module)
    assert torch.equal(average.module.eval()(clips), module.eval()(clips))


@every_form
def test_state_dict_and_modes(form):
    module, clips = build('cnn', form)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    module(clips).sum().backward()
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert list(before) == list(module.state_dict())
    with torch.inference_mode():
        assert torch.equal(module(clips), module.encoder(clips.flatten(0, 1)))
        module.eval()
        assert torch.equal(module(clips), module.encoder(clips.flatten(0, 1)))


@every_form
@pytest.mark.parametrize('case', ['cnn', 'folded', 'transformer'])
# Dynamo instantiates a Function while it traces one, and torch warns of that.
@pytest.mark.filterwarnings('ignore:.*should not be instantiated:DeprecationWarning')
def test_compiled_encoder(case, form):
    module, clips = build(case, form)
    head_loss(module(clips)).backward()
    expected = [p.grad for p in module.parameters()]
    module.zero_grad()
    module.step = 0
    module.encoder = torch.compile(module.encoder, backend='eager')
    head_loss(module(clips)).backward()
    for parameter, gradient in zip(module.parameters(), expected):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize('num_clips', [16, 64])
def test_deferred_holds_a_few_clips_whatever_their_number(num_clips):
    encoder = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(),
                            nn.Conv2d(16, 16, 3, padding=1), nn.AdaptiveAvgPool2d(1))
    clips = torch.randn(1, num_clips, 3, 16, 16)
    one_clip = (3 + 2 * 16 + 1) * 16 * 16 * 4
    for ratio in (0.25, 1):
        module = ClipwiseSBP(encoder, SBPConfig(ratio, mode='deferred', clips_at_once=2))
        with SavedMemory(encoder) as saved:
            loss = module(clips).square().sum()
            forward = saved.bytes
            loss.backward()
        inputs = clips.nbytes
        assert forward <= inputs + num_clips * 16 * 4 + 64
        assert saved.bytes - forward <= 2 * one_clip


def test_deferred_outputs_may_be_nested_unused_and_changed_in_place():
    encoder = nn.Linear(4, 4)

    def pair(x):
        return encoder(x), [encoder(x).sin(), x.mean(1)]

    clips = torch.randn(6, 4)
    kept = torch.tensor([True, False] * 3)
    first, (second, mean) = encode_deferred(pair, encoder, clips,
                                            lambda _: (kept, torch.ones(6)), kept)
    second.mul_(2).sum().backward()
    found = encoder.weight.grad.clone()
    encoder.zero_grad()
    (2 * encoder(clips[kept]).sin().sum()).backward()
    torch.testing.assert_close(found, encoder.weight.grad)
    assert torch.equal(mean, clips.mean(1)) and first.requires_grad


def test_features_must_be_one_row_a_clip():
    with pytest.raises(SBPError, match=r'expected 4 rows, got shape \(1, 3\)'):
        encode_deferred(lambda x: x.mean(0, keepdim=True), nn.Identity(), torch.randn(4, 3),
                        lambda _: None)


def test_live_statistics_are_refused_at_any_ratio():
    live = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    module = ClipwiseSBP(live, SBPConfig(keep_ratio=1, mode='deferred'))
    with pytest.raises(SBPError, match="'1' is in training mode"):
        module(torch.randn(1, 4, 3, 8, 8))
    live[1] = nn.BatchNorm2d(4, track_running_stats=False).eval()
    with pytest.raises(SBPError, match="'1' has no running statistics"):
        module(torch.randn(1, 4, 3, 8, 8))


def test_a_wrapped_encoder_is_refused():
    with pytest.raises(SBPError, match='is wrapped in DataParallel.*apply SBP first'):
        ClipwiseSBP(nn.DataParallel(nn.Linear(2, 2)), SBPConfig())


def test_random_state_is_that_of_the_device():
    assert len(get_random_state(torch.device('cpu'))) == 1


@pytest.mark.parametrize('sampler', ['random', 'gradient'])
def test_deferred_clips_and_tokens_are_not_combined(sampler):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    module = ClipwiseSBP(nn.Sequential(layer), SBPConfig(mode='deferred', sampler=sampler))
    clips = torch.randn(1, 4, 6, 8)
    apply_sbp(module, TokenSBPConfig(keep_ratio=0.5))
    with pytest.raises(SBPError, match="deferred' cannot be combined .*'0'.*remove_sbp"):
        module(clips)
    with torch.no_grad():
        module(clips)
    remove_sbp(module)
    module(clips).sum().backward()
