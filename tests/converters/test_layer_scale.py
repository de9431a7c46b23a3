"""Folded scales give the outputs of the scales that were kept."""
from __future__ import annotations

import torch

from sbp_tad.converters.layer_scale import fold_scales
from sbp_tad.models.necks.actionformer_neck import ActionFormerNeck


def neck(layer_scale):
    torch.manual_seed(0)
    return ActionFormerNeck(8, embed_channels=8, num_levels=3, window=5,
                            layer_scale=layer_scale).double().eval()


def named(network):
    return {f'neck.{name}': value for name, value in network.state_dict().items()}


def test_outputs_stay():
    scaled, plain = neck(1e-4), neck(None)
    for name, value in scaled.named_parameters():
        if name.endswith('.scale'):
            value.data.uniform_(-1, 1)
    folded = fold_scales(named(scaled), named(plain))
    assert folded.keys() == named(plain).keys() and not any('branches' in name for name in folded)
    plain.load_state_dict({name.removeprefix('neck.'): value for name, value in folded.items()})
    features, mask = torch.randn(2, 8, 24, dtype=torch.float64), torch.ones(2, 24).bool()
    mask[1, 17:] = False
    with torch.no_grad():
        one, two = (network(features, mask)[0] for network in (scaled, plain))
    assert all(torch.allclose(*levels, rtol=0, atol=1e-12) for levels in zip(one, two))


def test_scales_are_kept_where_the_network_has_them():
    weights = named(neck(1e-4))
    assert fold_scales(weights, weights).keys() == weights.keys()
