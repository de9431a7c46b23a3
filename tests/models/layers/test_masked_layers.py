import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.attention import local_attention as slow_attention
from torch.autograd.graph import saved_tensors_hooks

from sbp_tad.models.errors import ModelError
from sbp_tad.models.layers.masked_layers import (
    ChannelLayerNorm,
    ConvNorm,
    ConvNormReLU,
    MaskedConv1d,
    zero_padding,
)
from sbp_tad.models.layers.pyramid_blocks import (
    ConvBlock,
    MaskedLocalAttention,
    TransformerBlock,
    follow_padding,
    local_attention,
    masked_max_pool,
)

LAYERS = {
    'conv': lambda: MaskedConv1d(8, 8),
    'conv stride 2': lambda: MaskedConv1d(8, 8, 5, stride=2),
    'conv norm relu': lambda: ConvNormReLU(8, 8),
    'conv batch norm': lambda: ConvNorm(8, 8, stride=2, norm='BN'),
    'local attention': lambda: MaskedLocalAttention(8, 2, window=5),
    'full attention': lambda: MaskedLocalAttention(8, 2, window=0),
    'transformer': lambda: TransformerBlock(8, 2, window=5),
    'transformer stride 2': lambda: TransformerBlock(8, 2, window=3, stride=2),
    'transformer full': lambda: TransformerBlock(8, 2, window=0, stride=2),
    'conv block': lambda: ConvBlock(8),
    'conv block stride 2': lambda: ConvBlock(8, stride=2),
}


@pytest.fixture(params=LAYERS)
def layer(request):
    torch.manual_seed(0)
    return LAYERS[request.param]().eval()


def lengths_mask(lengths, total):
    return torch.arange(total) < torch.tensor(lengths)[:, None]


def test_what_stands_in_the_padding_changes_nothing(layer):
    mask = lengths_mask([24, 13, 1, 0], 24)
    x = torch.randn(4, 8, 24)
    expected, out_mask = layer(zero_padding(x, mask), mask)
    out, _ = layer(zero_padding(x, mask) + 1e3 * torch.randn_like(x) * ~mask[:, None], mask)
    assert torch.equal(out, expected)
    assert out.isfinite().all()
    assert (out.transpose(1, 2)[~out_mask] == 0).all()


def test_more_padding_changes_nothing(layer):
    x = torch.randn(1, 8, 13)
    expected, mask = layer(x, lengths_mask([13], 13))
    longer, longer_mask = layer(torch.cat([x, torch.randn(1, 8, 27)], dim=2),
                                lengths_mask([13], 40))
    real = mask.shape[1]
    torch.testing.assert_close(longer[..., :real], expected, rtol=1e-5, atol=1e-6)
    assert longer_mask.sum() == mask.sum() == real


def test_batch_items_do_not_meet(layer):
    x, mask = torch.randn(3, 8, 17), lengths_mask([17, 9, 4], 17)
    together, _ = layer(x, mask)
    for i in range(3):
        alone, _ = layer(x[i:i + 1], mask[i:i + 1])
        torch.testing.assert_close(together[i:i + 1], alone, rtol=1e-5, atol=1e-6)


def test_gradients_are_finite_and_none_reach_the_padding(layer):
    mask = lengths_mask([20, 7, 0], 20)
    x = torch.randn(3, 8, 20, requires_grad=True)
    out, _ = layer(x, mask)
    out.square().sum().backward()
    assert x.grad.isfinite().all()
    assert (x.grad.transpose(1, 2)[~mask] == 0).all()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


def test_autocast_to_bfloat16_stays_close(layer):
    x, mask = torch.randn(2, 8, 20), lengths_mask([20, 7], 20)
    expected, _ = layer(x, mask)
    with torch.autocast('cpu', torch.bfloat16):
        out, _ = layer(x, mask)
    torch.testing.assert_close(out.float(), expected, rtol=0.1, atol=0.1)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.sampled_from([-1, 0, 1, 3, 7, 19, 39, 81]),
       st.integers(0, 2**31), st.booleans())
def test_local_attention_is_exact(length, window, seed, holes):
    generator = torch.Generator().manual_seed(seed)
    query, key, value = torch.randn(3, 2, 2, length, 4, generator=generator)
    mask = lengths_mask([length, max(1, length // 2)], length)
    if holes:
        mask = mask & (torch.rand(2, length, generator=generator) > 0.3)
    out = local_attention(query, key, value, mask, window)
    for item in range(2):
        for head in range(2):
            arrays = (x[item, head].double().numpy() for x in (query, key, value))
            slow = slow_attention(*arrays, mask[item].numpy(), window)
            real = mask[item].numpy()
            np.testing.assert_allclose(out[item, head].numpy()[real], slow[real], atol=1e-5)
    assert out.isfinite().all()


def test_local_attention_saves_bytes_in_proportion_to_the_length():
    def saved_bytes(length):
        sizes = []
        tensors = torch.randn(3, 1, 2, length, 8, requires_grad=True)
        with saved_tensors_hooks(lambda x: sizes.append(x.nbytes) or x, lambda x: x):
            local_attention(*tensors, torch.ones(1, length, dtype=torch.bool), 19)
        return sum(sizes)

    assert saved_bytes(19 * 64) < 4.5 * saved_bytes(19 * 16)


def test_layer_norm_normalises_the_channels_of_each_position():
    x = torch.randn(2, 16, 5) * 3 + 1
    out = ChannelLayerNorm(16)(x)
    torch.testing.assert_close(out.mean(1), torch.zeros(2, 5), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.var(1, unbiased=False), torch.ones(2, 5), rtol=0, atol=1e-3)


def test_max_pool_takes_real_values_only():
    x = torch.tensor([[[-5., -3., -4., 9., 9.]]])
    mask = torch.tensor([[True, True, True, False, False]])
    pooled = masked_max_pool(x, mask, 2)
    assert pooled.tolist() == [[[-3., -3., 0.]]]


def test_nan_in_the_padding_is_zeroed():
    x = torch.full((1, 2, 3), float('nan'))
    assert (zero_padding(x, torch.zeros(1, 3, dtype=torch.bool)) == 0).all()


@pytest.mark.parametrize('build, message', [
    (lambda: MaskedConv1d(4, 4, kernel_size=4), 'kernel_size must be odd, got 4'),
    (lambda: TransformerBlock(10, num_heads=4), '10 channels cannot be split into 4 heads'),
    (lambda: TransformerBlock(8, window=6), 'window must be odd, or 0 for full attention, got 6'),
])
def test_settings_that_cannot_work_are_refused(build, message):
    with pytest.raises(ModelError, match=message):
        build()


def test_batch_normalization_takes_its_statistics_from_real_positions():
    torch.manual_seed(0)
    layer, plain = (ConvNorm(8, 6, kernel_size=1, norm='BN') for _ in range(2))
    plain.load_state_dict(layer.state_dict())
    x, mask = torch.randn(2, 8, 10), lengths_mask([10, 4], 10)
    out, _ = layer(x.masked_fill(~mask[:, None], float('nan')), mask)
    real = x.transpose(1, 2)[mask].T[None]  # the same 14 positions, without padding
    expected, _ = plain(real, torch.ones(1, 14).bool())
    torch.testing.assert_close(out.transpose(1, 2)[mask].T[None], expected)
    assert not out.transpose(1, 2)[~mask].any()
    torch.testing.assert_close(layer.norm.running_var, plain.norm.running_var)


@pytest.mark.parametrize('lengths', [[0, 0], [1, 0]])
def test_too_few_positions_for_a_variance_take_the_running_one(lengths):
    layer = ConvNorm(8, 6, norm='BN').train()
    mask = lengths_mask(lengths, 5)
    before = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    x = torch.randn(2, 8, 5)
    out, _ = layer(x, mask)
    assert all(torch.equal(buffer, before[name]) for name, buffer in layer.named_buffers())
    expected, _ = layer.eval()(x, mask)
    torch.testing.assert_close(out, expected)


def test_an_unknown_norm_is_refused():
    with pytest.raises(ModelError, match="unknown norm 'IN', choose one of"):
        ConvNorm(8, 8, norm='IN')


def test_padding_follows_a_code_by_name():
    """Published networks let padding reach real positions; here only if asked to."""
    x, mask = torch.randn(1, 8, 12), lengths_mask([7], 12)
    block = TransformerBlock(8, num_heads=2, stride=2, layer_scale=1e-4).eval()
    other = x + 5 * ~mask[:, None]
    torch.testing.assert_close(block(x, mask)[0], block(other, mask)[0])
    follow_padding(block, 'masked')
    torch.testing.assert_close(block(x, mask)[0], block(other, mask)[0])
    follow_padding(block, 'actionformer')
    assert not torch.allclose(block(x, mask)[0], block(other, mask)[0])
    with pytest.raises(ModelError, match="unknown padding 'zeros', choose one of"):
        follow_padding(block, 'zeros')


def test_layer_scale_multiplies_both_branches():
    torch.manual_seed(0)
    x, mask = torch.randn(1, 8, 12), lengths_mask([12], 12)
    plain = TransformerBlock(8, num_heads=2).eval()
    scaled = TransformerBlock(8, num_heads=2, layer_scale=1.0).eval()
    scaled.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(scaled(x, mask)[0], plain(x, mask)[0])
    for branch in scaled.branches:
        torch.nn.init.zeros_(branch.scale)
    torch.testing.assert_close(scaled(x, mask)[0], x)
