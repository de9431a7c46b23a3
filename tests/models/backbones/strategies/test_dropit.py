"""DropIT: exact forward, exact gradient of inputs, weights' gradients of the largest numbers."""
import copy
import pickle

import hypothesis
import pytest
import torch
from hypothesis import strategies as draws
from mmcv.cnn import ConvModule
from reference.dropped_caches import dropped_gradients, keep_largest, straight_through
from small_backbones import R3D, VIT
from torch import nn

from sbp_tad.models import SBPBackbone
from sbp_tad.models.backbones.strategies.dropit import (
    CacheShare,
    SparseFoldedPair,
    compress,
    decompress,
    drop_caches,
    pack_bits,
    unpack_bits,
)
from sbp_tad.sbp import SavedMemory, SBPError, fold_frozen_norm
from sbp_tad.sbp.frozen_norm import folded_pair

FRAMES = dict(type='FrameCNN', channels=32)
BATCH_NORM = dict(R3D, norm_cfg=dict(type='BN3d'))

LAYERS = {
    'linear': (lambda: nn.Linear(6, 5), (6, )),
    'linear of tokens': (lambda: nn.Linear(6, 5, bias=False), (3, 6)),
    '1d': (lambda: nn.Conv1d(4, 6, 3), (4, 9)),
    '2d': (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1), (4, 9, 8)),
    'pointwise': (lambda: nn.Conv2d(4, 6, 1, bias=False), (4, 5, 4)),
    'groups': (lambda: nn.Conv2d(4, 6, 3, groups=2, dilation=2), (4, 7, 8)),
    '3d': (lambda: nn.Conv3d(3, 4, (1, 3, 3), stride=(1, 2, 2)), (3, 2, 6, 6)),
}
FOLDED = {
    'folded 2d': (lambda: nn.Sequential(nn.Conv2d(4, 6, 3, stride=2), nn.BatchNorm2d(6)),
                  (4, 9, 8)),
    'folded, more weights': (lambda: nn.Sequential(nn.Conv3d(80, 4, 1), nn.BatchNorm3d(4)),
                             (80, 1, 2, 2)),
    'conv module': (lambda: ConvModule(4, 6, 3, norm_cfg=dict(type='BN2d'), act_cfg=None),
                    (4, 6, 5)),
}
every_layer = pytest.mark.parametrize('case', [*LAYERS, *FOLDED])
RATIOS = pytest.mark.parametrize('keep_ratio', [0.02, 0.25, 0.7])


def build(case):
    """Return a layer in float64, its twin that saves less, the share, and an input."""
    torch.manual_seed(0)
    make, shape = {**LAYERS, **FOLDED}[case]
    layer = nn.Sequential(make()).double()
    for norm in layer.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            norm.eval()
    twin, share = copy.deepcopy(layer), CacheShare()
    if case in FOLDED:
        fold_frozen_norm(twin)
    assert drop_caches(twin, share) == 1
    return layer, twin, share, torch.randn(3, *shape, dtype=torch.float64)


@every_layer
@RATIOS
def test_gradients_are_those_of_the_reference(case, keep_ratio):
    layer, twin, share, x = build(case)
    share.keep_ratio = keep_ratio
    leaf = x.clone().requires_grad_()
    output = twin(leaf)
    from_above = torch.randn_like(output)
    output.backward(from_above)
    expected, of_x, of_parameters = dropped_gradients(layer, x, from_above, keep_ratio)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(leaf.grad, of_x)
    for name, parameter in twin.named_parameters():
        torch.testing.assert_close(parameter.grad, of_parameters[name])
    if keep_ratio < 0.5:
        layer(x).backward(from_above)
        assert not torch.allclose(next(twin.parameters()).grad, next(layer.parameters()).grad)


@every_layer
def test_of_the_input_what_is_kept_is_saved(case):
    _, twin, share, x = build(case)
    share.keep_ratio = 0.25
    with SavedMemory(twin) as saved:
        output = twin(x)
    kept = len(x) * round(0.25 * x[0].numel())
    assert saved.bytes == 8 * kept + len(x) * -(-x[0].numel() // 8)
    assert output.requires_grad
    with SavedMemory(twin.requires_grad_(False)) as saved:
        twin(x.requires_grad_())
    assert saved.bytes == 0


@pytest.mark.parametrize('case', ['linear', '2d', 'folded 2d'])
def test_gradient_of_the_bias_alone_is_exact_and_saves_nothing(case):
    layer, twin, share, x = build(case)
    share.keep_ratio = 0.1
    for model in (layer, twin):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.endswith('bias'))
    with SavedMemory(twin) as saved:
        output = twin(x)
    assert saved.bytes == 0
    output.cos().sum().backward()
    layer(x).cos().sum().backward()
    for one, other in zip(twin.parameters(), layer.parameters()):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad)


@hypothesis.given(rows=draws.integers(0, 4), length=draws.integers(1, 40),
                  seed=draws.integers(0, 9))
@hypothesis.settings(deadline=None, max_examples=25)
def test_bits_survive_packing(rows, length, seed):
    mask = torch.rand(rows, length, generator=torch.Generator().manual_seed(seed)) < 0.5
    packed = pack_bits(mask)
    assert packed.shape == (rows, -(-length // 8)) and packed.dtype == torch.uint8
    assert torch.equal(unpack_bits(packed, length), mask)


@hypothesis.given(shape=draws.lists(draws.integers(1, 6), min_size=2, max_size=4),
                  keep_ratio=draws.floats(0.01, 1), seed=draws.integers(0, 9))
@hypothesis.settings(deadline=None, max_examples=25)
def test_the_largest_numbers_survive_compression(shape, keep_ratio, seed):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    values, places = compress(x, keep_ratio)
    assert torch.equal(decompress(values, places, x.shape), keep_largest(x, keep_ratio))


def test_equal_numbers_are_kept_up_to_the_count():
    x = torch.ones(2, 32)
    x[1] = 0
    values, places = compress(x, 0.25)
    assert values.shape == (2, 8)
    assert decompress(values, places, x.shape).sum(1).tolist() == [8, 0]


@pytest.mark.parametrize('kept, dtype', [(1, torch.int32), (31, torch.int32), (32, torch.uint8)])
def test_the_smaller_form_of_places_is_taken(kept, dtype):
    x = torch.randn(3, 1024)
    values, places = compress(x, kept / 1024)
    assert places.dtype == dtype
    assert places.nbytes == 3 * min(4 * kept, 128)
    assert torch.equal(decompress(values, places, x.shape), keep_largest(x, kept / 1024))


def model_of(backbone, keep_ratio, mode='dropit', clip_len=4, **more):
    torch.manual_seed(0)
    model = SBPBackbone(backbone, mode=mode, keep_ratio=keep_ratio, clip_len=clip_len, **more)
    for name, buffer in model.named_buffers():
        if name.endswith('running_mean'):
            nn.init.normal_(buffer)
    return model


def step(model):
    video = torch.randn(2, 3, 8, 16, 16, generator=torch.Generator().manual_seed(1))
    model.zero_grad()
    with SavedMemory(model) as saved:
        features = model(video)
    features.square().sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return features.detach(), gradients, saved.bytes


@pytest.mark.parametrize('backbone', [R3D, BATCH_NORM, VIT, FRAMES],
                         ids=['r3d', 'batch norm', 'vit', 'frames'])
def test_keep_ratio_one_is_full_backpropagation_to_the_bit(backbone):
    clip_len = 1 if backbone is FRAMES else 4
    features, gradients, saved = step(model_of(backbone, 1.0, clip_len=clip_len))
    expected, full_gradients, full = step(model_of(backbone, 1.0, 'full', clip_len=clip_len))
    assert torch.equal(features, expected) and saved == full
    assert len(gradients) == len(full_gradients)
    assert all(torch.equal(one, other) for one, other in zip(gradients, full_gradients))


@pytest.mark.parametrize('backbone', [R3D, BATCH_NORM], ids=['r3d', 'batch norm'])
def test_forward_is_exact_and_memory_falls_with_the_ratio(backbone):
    expected, full_gradients, full = step(model_of(backbone, 1.0, 'full'))
    model, before = model_of(backbone, 1.0), full
    for keep_ratio, most in ((0.5, 0.9), (0.25, 0.8), (0.125, 0.75)):
        model.set_keep_ratio(keep_ratio)
        features, gradients, saved = step(model)
        assert torch.equal(features, expected)
        assert saved < most * full and saved < before
        before = saved
        assert not torch.allclose(gradients[0], full_gradients[0])


def test_a_network_learns_from_the_gradients_of_its_layers():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(6, 6, 3, groups=2),
              nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 4)]
    network = nn.Sequential(*layers).double()
    slow = copy.deepcopy(network)
    drop_caches(network, CacheShare(0.3))
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    network(x).cos().sum().backward()
    y = x
    for layer in slow:
        y = straight_through(layer, y, 0.3) if list(layer.parameters()) else layer(y)
    y.cos().sum().backward()
    for one, other in zip(network.parameters(), slow.parameters()):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize('inplace', [False, True])
def test_rectifiers_save_a_bit_a_number(inplace):
    x = torch.randn(3, 5, 7)
    x[0, 0, :3] = torch.tensor([0.0, -0.0, float('nan')])
    results = []
    for drop in (False, True):
        network = nn.Sequential(nn.Identity(), nn.ReLU(inplace), nn.Linear(7, 2))
        if drop:
            drop_caches(network, CacheShare(0.5))
        leaf = x.clone().requires_grad_()
        with SavedMemory(network) as saved:
            y = network[:2](leaf * 1)
        y.backward(torch.arange(y.numel()).view_as(y).float())
        results.append((y.detach(), leaf.grad, saved.bytes))
    (y, of_x, plain), (sparse_y, sparse_of_x, bits) = results
    assert plain >= x.nbytes and bits == -(-x.numel() // 8)
    torch.testing.assert_close(sparse_y, y, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(sparse_of_x, of_x)


def test_without_signs_rectifiers_keep_what_they_return():
    with_signs = step(model_of(FRAMES, 0.25, clip_len=1))
    without = step(model_of(FRAMES, 0.25, clip_len=1, options=dict(relu_signs=False)))
    full = step(model_of(FRAMES, 0.25, 'full', clip_len=1))
    assert with_signs[2] < 0.75 * full[2] < 0.9 * without[2]
    for one, other in zip(with_signs[1], without[1]):
        assert torch.equal(one, other)


def test_batch_norm_of_the_batch():
    model = model_of(BATCH_NORM, 0.25, norm_eval=False)
    full = model_of(BATCH_NORM, 0.25, 'full', norm_eval=False)
    features, gradients, saved = step(model)
    expected, _, full_saved = step(full)
    assert torch.equal(features, expected) and saved < full_saved
    assert len(gradients) == len(list(model.parameters()))


def test_mixed_precision():
    def mixed(mode):
        with torch.autocast('cpu', torch.bfloat16):
            return step(model_of(BATCH_NORM, 0.25, mode))

    (features, gradients, saved), (expected, _, full) = mixed('dropit'), mixed('full')
    torch.testing.assert_close(features, expected)
    assert saved < 0.85 * full
    assert all(gradient.dtype == torch.float32 for gradient in gradients)


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_drop_by_their_own_share(copied):
    model = model_of(BATCH_NORM, 0.25)
    twin = copied(model)
    pairs = [folded_pair(layer) for layer in twin.backbone.modules()]
    assert all(isinstance(pair, SparseFoldedPair) and pair.share is twin.strategy.share
               for pair in pairs if pair is not None)
    model.set_keep_ratio(1.0)
    assert step(twin)[2] < 0.8 * step(model)[2]


def test_evaluation_and_no_grad_drop_nothing():
    model, full = model_of(BATCH_NORM, 0.25), model_of(BATCH_NORM, 0.25, 'full')
    step(model)
    video = torch.randn(1, 3, 8, 16, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.equal(model(video), full(video))
    model.zero_grad()
    for one in (model.eval(), full.eval()):
        one(video).square().sum().backward()
    for one, other in zip(model.parameters(), full.parameters()):
        assert torch.equal(one.grad, other.grad)


def test_convolutions_of_another_padding_keep_all():
    network = nn.Sequential(nn.Conv2d(3, 3, 3, padding='same'),
                            nn.Conv2d(3, 3, 3, padding=1, padding_mode='circular'),
                            nn.Conv2d(3, 3, 3))
    assert drop_caches(network, CacheShare(0.1)) == 1
    x = torch.randn(2, 3, 8, 8)
    with SavedMemory(network) as saved:
        network[:2](x)
    assert saved.bytes >= 2 * x.nbytes


def test_a_network_without_such_layers():
    with pytest.raises(SBPError, match="ReLU has no convolution or linear layer whose saved input "
                                       "could be thinned out; choose another mode than 'dropit'"):
        drop_caches(nn.ReLU(), CacheShare())
