"""Neck of DaoTAD: lengths, no influence of padding, frozen normalization."""
import pytest
import torch

from sbp_tad.models.errors import ModelError
from sbp_tad.models.layers.masked_layers import NORMS
from sbp_tad.models.necks.daotad_neck import DaoTADNeck
from sbp_tad.registry import MODELS


def neck(**options):
    torch.manual_seed(0)
    settings = dict(in_channels=6, embed_channels=16, downsample_channels=8, num_levels=4)
    return DaoTADNeck(**{**settings, **options})


def full_mask(batch, length):
    return torch.ones(batch, length, dtype=torch.bool)


def test_levels_of_the_published_window():
    levels, masks = neck(num_levels=5)(torch.randn(1, 6, 96), full_mask(1, 96))
    assert [x.shape for x in levels] == [(1, 16, n) for n in (96, 48, 24, 12, 6)]
    assert all(mask.all() for mask in masks)


@pytest.mark.parametrize('length, steps', [(1, [1, 1, 1, 1]), (7, [7, 4, 2, 1]),
                                           (30, [30, 15, 8, 4])])
def test_every_length_is_halved_and_rounded_up(length, steps):
    levels, masks = neck()(torch.randn(2, 6, length), full_mask(2, length))
    assert [x.shape[2] for x in levels] == [mask.shape[1] for mask in masks] == steps


def test_a_stem_shortens_the_first_level():
    levels, _ = neck(num_stem_convs=2)(torch.randn(1, 6, 240), full_mask(1, 240))
    assert [x.shape[2] for x in levels] == [60, 30, 15, 8]


@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize('num_stem_convs', [0, 1])
@pytest.mark.parametrize('training', [False, True])
def test_padding_never_reaches_real_positions(norm, num_stem_convs, training):
    model = neck(norm=norm, num_stem_convs=num_stem_convs).train(training)
    x = torch.randn(2, 6, 21)
    padded = torch.cat([x, torch.full((2, 6, 30), float('nan'))], dim=2)
    expected, masks = model(x, full_mask(2, 21))
    levels, longer_masks = model(padded, (torch.arange(51) < 21).expand(2, 51))
    for want, mask, got, longer_mask in zip(expected, masks, levels, longer_masks):
        real = mask.shape[1]
        assert longer_mask.sum(1).tolist() == [real, real]
        torch.testing.assert_close(got[..., :real], want, rtol=1e-4, atol=1e-5)
        assert not got.transpose(1, 2)[~longer_mask].any()


def test_short_levels_inform_the_long_ones():
    """Only the top-down path gives the first position a long receptive field."""
    x = torch.randn(1, 6, 64, requires_grad=True)
    for num_levels, sees in ((6, True), (1, False)):
        levels, _ = neck(num_levels=num_levels).eval()(x, full_mask(1, 64))
        gradient, = torch.autograd.grad(levels[0][0, :, 0].sum(), x)
        assert bool(gradient[0, :, 25].any()) is sees


@pytest.mark.parametrize('norm_eval', [True, False])
def test_batch_normalization_of_the_downsampling_is_frozen_or_not(norm_eval):
    model = neck(norm_eval=norm_eval)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    levels, _ = model.train()(torch.randn(2, 6, 32), full_mask(2, 32))
    sum(level.square().sum() for level in levels).backward()
    moved = {name.split('.')[0] for name, buffer in model.named_buffers()
             if not torch.equal(buffer, before[name])}
    assert moved == {'fpn'} | (set() if norm_eval else {'downsampling'})
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_features_keep_their_scale_on_the_way_down():
    model = neck(in_channels=256, downsample_channels=256, num_levels=5)
    levels, _ = model.downsampling(torch.randn(4, 256, 128).relu(), full_mask(4, 128))
    assert 0.3 < levels[-1].std() / levels[0].std() < 3


def test_a_batch_that_is_all_padding_trains():
    levels, _ = neck().train()(torch.full((2, 6, 9), float('nan')), ~full_mask(2, 9))
    sum(level.sum() for level in levels).backward()
    assert not any(level.any() for level in levels)


def test_runs_under_autocast():
    model = MODELS.build(dict(type='DaoTADNeck', in_channels=3, num_levels=2)).train()
    with torch.autocast('cpu', torch.bfloat16):
        levels, _ = model(torch.randn(2, 3, 12), torch.arange(12) < torch.tensor([[12], [5]]))
    sum(level.float().square().sum() for level in levels).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize('options, message', [
    (dict(num_levels=0), 'num_levels >= 1 and num_stem_convs >= 0, got 0 and 0'),
    (dict(num_stem_convs=-1), 'got 4 and -1'),
    (dict(norm='GN'), r"unknown norm 'GN', choose one of \('LN', 'BN'\)"),
])
def test_settings_that_cannot_work_are_refused(options, message):
    with pytest.raises(ModelError, match=message):
        neck(**options)


def test_input_that_does_not_fit_is_refused():
    with pytest.raises(ModelError, match=r'in_channels=6, T\), got \(2, 5, 8\)'):
        neck()(torch.zeros(2, 5, 8), full_mask(2, 8))
