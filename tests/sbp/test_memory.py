"""Saved bytes: counted once, without parameters, and in proportion to what is kept."""
import pytest
import torch
import torch.utils.checkpoint
from torch import nn

from sbp_tad.sbp import ClipwiseSBP, SavedMemory, SBPConfig
from sbp_tad.sbp.functions import scale_gradient


def saved_bytes(module, *inputs):
    with SavedMemory(module) as saved:
        module(*inputs)
    return saved.bytes


def test_a_linear_layer_saves_its_input_and_not_its_weight():
    x = torch.randn(10, 32)
    assert saved_bytes(nn.Linear(32, 64), x) == 10 * 32 * 4


def test_views_of_one_storage_count_once():
    x = torch.randn(10, 32, requires_grad=True)
    with SavedMemory(nn.Identity()) as saved:
        (x[:5] * x[5:]).sum()
    assert saved.bytes == 10 * 32 * 4


def test_custom_functions_are_seen():
    class Keep(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x + 1)
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 2

    with SavedMemory(nn.Identity()) as saved:
        Keep.apply(torch.randn(7, requires_grad=True))
    assert saved.bytes == 7 * 4


def test_nothing_is_saved_without_grad():
    with torch.no_grad():
        assert saved_bytes(nn.Linear(32, 64), torch.randn(10, 32)) == 0


def test_counting_ends_with_the_block():
    layer = nn.Linear(4, 4)
    with SavedMemory(layer) as saved:
        pass
    layer(torch.randn(2, 4))
    assert saved.bytes == 0


def test_what_autograd_has_let_go_of_counts_no_more():
    layer, x = nn.Linear(32, 64), torch.randn(10, 32)
    with SavedMemory(layer) as saved:
        for _ in range(3):
            layer(x.clone()).sum().backward()
    assert saved.bytes == 10 * 32 * 4


def test_saved_inside_a_backward_is_seen():
    layer, x = nn.Sequential(nn.Linear(32, 64), nn.Tanh()), torch.randn(10, 32, requires_grad=True)
    with SavedMemory(layer) as saved:
        y = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=True)
        at_forward = saved.bytes
        y.sum().backward()
    assert at_forward == 10 * 32 * 4
    assert saved.bytes == 10 * (32 + 64) * 4


@pytest.mark.parametrize('keep_ratio', [0.5, 0.25, 0.125])
def test_clipwise_saves_the_kept_share(keep_ratio):
    encoder = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(),
                            nn.Conv2d(16, 16, 3, padding=1), nn.AdaptiveAvgPool2d(1))
    clips = torch.randn(1, 16, 3, 32, 32)
    full = saved_bytes(encoder, clips.flatten(0, 1))
    module = ClipwiseSBP(encoder, SBPConfig(keep_ratio=keep_ratio))
    assert saved_bytes(module, clips) == pytest.approx(keep_ratio * full, rel=0.01)


def test_scaled_gradient_saves_nothing():
    x = torch.randn(5, requires_grad=True)
    with SavedMemory(nn.Identity()) as saved:
        y = scale_gradient(x, 3.0)
    assert saved.bytes == 0
    y.sum().backward()
    assert torch.equal(x.grad, torch.full((5, ), 3.0))


def test_what_is_let_go_of_makes_room():
    """The most held at one time, not the sum; a reused address is another storage."""
    layer = nn.Linear(32, 64)
    with SavedMemory(layer) as saved:
        for _ in range(5):
            output = layer(torch.randn(10, 32))
            assert saved.held_bytes == 10 * 32 * 4
            output.sum().backward()
            del output
            assert saved.held_bytes == 0
        first, second = layer(torch.randn(10, 32)), layer(torch.randn(10, 32))
        assert saved.held_bytes == 2 * 10 * 32 * 4
        del first
        assert saved.held_bytes == 10 * 32 * 4
    assert saved.bytes == 2 * 10 * 32 * 4
    del second
    assert saved.held_bytes == 0


def test_one_storage_held_by_two_graphs_counts_until_both_let_go():
    layer, x = nn.Linear(32, 64), torch.randn(10, 32)
    with SavedMemory(layer) as saved:
        first, second = layer(x), layer(x)
        del first
        assert saved.held_bytes == saved.bytes == 10 * 32 * 4
        del second
        assert saved.held_bytes == 0


def test_each_module_is_charged_with_what_it_saves_first():
    model = nn.Sequential(nn.Linear(8, 16), nn.Sequential(nn.Linear(16, 4), nn.Sigmoid()))
    with SavedMemory(model, per_module=True) as saved:
        model(torch.randn(5, 8)).square().sum()
    each = 5 * 4  # bytes of one channel
    assert saved.by_module() == {'0': 8 * each, '1.0': 16 * each, '1.1': 4 * each}
    assert saved.by_module(depth=1) == {'0': 8 * each, '1': 20 * each}
    assert saved.by_module(depth=0) == {'': saved.bytes}
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_modules_are_left_in_order_after_an_error():
    class Fails(nn.Module):
        def forward(self, x):
            raise RuntimeError('on purpose')

    model = nn.ModuleDict({'fails': Fails(), 'works': nn.Linear(8, 4)})
    with SavedMemory(model, per_module=True) as saved:
        with pytest.raises(RuntimeError, match='on purpose'):
            model['fails'](torch.ones(1))
        model['works'](torch.randn(5, 8))
    assert set(saved.by_module()) == {'works'}
