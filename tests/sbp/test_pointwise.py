"""Pointwise convolutions: the same numbers, by oneDNN."""
import copy
import pickle

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from sbp_tad.sbp.pointwise import prefer_onednn


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 6, 1, stride=2), nn.Conv2d(6, 6, (1, 3)),
                         nn.Conv2d(6, 8, 1, groups=2, bias=False), nn.ReLU())


def operators(function):
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        function()
    return {event.key for event in profiled.key_averages()}


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_outputs_and_gradients_stay(dtype):
    plain = network().to(dtype)
    hooked = copy.deepcopy(plain)
    assert prefer_onednn(hooked) == 2
    x = torch.randn(3, 4, 6, 7, dtype=dtype)
    torch.testing.assert_close(hooked(x), plain(x))
    for model in (plain, hooked):
        model(x).square().sum().backward()
    for a, b in zip(plain.parameters(), hooked.parameters()):
        torch.testing.assert_close(a.grad, b.grad)
    assert hooked[1].dilation == (1, 1) and list(hooked.state_dict()) == list(plain.state_dict())


def test_few_items_go_to_onednn():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model, x = nn.Conv2d(64, 64, 1).requires_grad_(False), torch.randn(4, 64, 14, 14)
        prefer_onednn(model)
        assert 'aten::mkldnn_convolution' in operators(lambda: model(x))
    finally:
        torch.set_num_threads(threads)


def test_other_devices_see_no_dilation():
    model = nn.Conv2d(4, 6, 1)
    prefer_onednn(model)
    model(torch.randn(1, 4, 3, 3))
    assert model.dilation == (2, 2)
    assert model.to('meta')(torch.empty(1, 4, 3, 3, device='meta')).shape == (1, 6, 3, 3)
    assert model.dilation == (1, 1)


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_keep_the_hook(copied):
    model = nn.Conv2d(4, 6, 1)
    prefer_onednn(model)
    twin = copied(model)
    twin(torch.randn(1, 4, 3, 3))
    assert twin.dilation == (2, 2) and model.dilation == (1, 1)
