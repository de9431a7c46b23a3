import pytest
import torch

from sbp_tad.models.errors import ModelError
from sbp_tad.models.necks.actionformer_neck import BLOCKS, ActionFormerNeck
from sbp_tad.registry import MODELS


def neck(**options):
    torch.manual_seed(0)
    settings = dict(in_channels=6, embed_channels=16, num_stem_blocks=1, num_levels=4, window=5)
    return ActionFormerNeck(**{**settings, **options}).eval()


def full_mask(batch, length):
    return torch.ones(batch, length, dtype=torch.bool)


@pytest.mark.parametrize('block', BLOCKS)
@pytest.mark.parametrize('length', [1, 7, 8, 50])
def test_every_length_gives_levels_of_halves(length, block):
    levels, masks = neck(block=block)(torch.randn(2, 6, length), full_mask(2, length))
    longest = -(-length // 8) * 8
    assert [x.shape for x in levels] == [(2, 16, longest // s) for s in (1, 2, 4, 8)]
    for mask, stride in zip(masks, (1, 2, 4, 8)):
        assert mask.dtype == torch.bool
        assert mask.sum(1).tolist() == [-(-length // stride)] * 2


@pytest.mark.parametrize('block', BLOCKS)
def test_padding_never_reaches_real_positions(block):
    model = neck(block=block)
    x = torch.randn(1, 6, 21)
    padded = torch.cat([x, torch.full((1, 6, 30), float('nan'))], dim=2)
    expected, masks = model(x, full_mask(1, 21))
    levels, longer_masks = model(padded, torch.arange(51)[None] < 21)
    for want, mask, got, longer_mask in zip(expected, masks, levels, longer_masks):
        real = int(mask.sum())
        assert int(longer_mask.sum()) == real
        torch.testing.assert_close(got[..., :real], want[..., :real], rtol=1e-5, atol=1e-6)
        assert (got.transpose(1, 2)[~longer_mask] == 0).all()


@pytest.mark.parametrize('block', BLOCKS)
def test_nan_in_the_padding_spoils_no_gradient(block):
    model = neck(block=block).train()
    x = torch.randn(2, 6, 20)
    x[1, :, 11:] = float('nan')
    levels, _ = model(x, torch.arange(20) < torch.tensor([[20], [11]]))
    sum(level.square().sum() for level in levels).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_levels_are_normalised_over_channels():
    levels, masks = neck()(torch.randn(1, 6, 30), full_mask(1, 30))
    for x, mask in zip(levels, masks):
        real = x.transpose(1, 2)[mask]
        torch.testing.assert_close(real.mean(1), torch.zeros(len(real)), rtol=0, atol=1e-5)


def test_drop_path_acts_in_training_only():
    model = neck(drop_path=0.9)
    x, mask = torch.randn(2, 6, 16), full_mask(2, 16)
    assert torch.equal(model(x, mask)[0][0], model(x, mask)[0][0])
    model.train()
    assert not torch.equal(model(x, mask)[0][-1], model(x, mask)[0][-1])


def test_the_convolution_pyramid_is_light():
    light, heavy = (sum(p.numel() for p in neck(block=block, embed_channels=64).parameters())
                    for block in ('conv', 'attention'))
    assert light < heavy / 2


def test_runs_under_autocast():
    model = neck().train()
    with torch.autocast('cpu', torch.bfloat16):
        levels, _ = model(torch.randn(2, 6, 20), full_mask(2, 20))
        loss = sum(level.float().square().mean() for level in levels)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_is_built_from_a_config():
    model = MODELS.build(dict(type='ActionFormerNeck', in_channels=3, embed_channels=8,
                              num_levels=2, block='conv'))
    assert model.strides == (1, 2)


def test_embedding_can_be_left_out():
    levels, _ = neck(in_channels=16, num_embed_convs=0)(torch.randn(1, 16, 8), full_mask(1, 8))
    assert levels[0].shape == (1, 16, 8)


@pytest.mark.parametrize('options, message', [
    (dict(block='mamba'), "unknown block 'mamba', choose one of"),
    (dict(num_levels=0), 'num_levels must be at least 1, got 0'),
    (dict(num_embed_convs=0), r'embed_channels \(16\) must be in_channels \(6\)'),
])
def test_settings_that_cannot_work_are_refused(options, message):
    with pytest.raises(ModelError, match=message):
        neck(**options)


@pytest.mark.parametrize('features, masks, message', [
    ((2, 5, 8), (2, 8), r'shape \(B, in_channels=6, T\), got \(2, 5, 8\): set in_channels'),
    ((2, 6, 8, 1), (2, 8), 'shape .B, in_channels=6'),
    ((2, 6, 8), (2, 7), r'must have shape \(B, T\), got \(2, 7\)'),
])
def test_input_that_does_not_fit_is_refused(features, masks, message):
    with pytest.raises(ModelError, match=message):
        neck()(torch.zeros(features), torch.ones(masks, dtype=torch.bool))
