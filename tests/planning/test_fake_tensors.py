"""Networks without numbers: no memory, the same shapes, the same bytes."""
from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from sbp_tad.planning.fake_tensors import LiveMemory, build_shapes, empty_shape, shape_twin
from sbp_tad.sbp import SavedMemory


class Tied(nn.Module):
    """Network that reads numbers while it is built, and has one weight under two names."""

    def __init__(self):
        super().__init__()
        self.rates = [rate.item() for rate in torch.linspace(0, 0.5, 3)]
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 6)
        self.last.weight = self.first.weight
        self.register_buffer('index', torch.arange(6))
        self.table = nn.Parameter(torch.tensor([1.0, 2.0]), requires_grad=False)

    def forward(self, inputs):
        return self.last(self.first(inputs)[..., self.index].relu())


def test_nothing_is_real_and_all_else_is_kept():
    before = torch.get_rng_state()
    module = build_shapes(Tied)
    assert torch.get_rng_state().equal(before)
    tensors = [*module.parameters(), *module.buffers()]
    assert len(tensors) == 5 and all(isinstance(tensor, FakeTensor) for tensor in tensors)
    assert all(isinstance(parameter, nn.Parameter) for parameter in module.parameters())
    assert module.last.weight is module.first.weight and module.rates == [0, 0.25, 0.5]
    assert not module.table.requires_grad and module.first.bias.requires_grad
    assert module.index.dtype == torch.int64


def test_more_weights_than_any_machine_has():
    module = build_shapes(lambda: nn.Sequential(nn.Linear(10 ** 6, 10 ** 6), nn.ReLU()))
    assert sum(parameter.nbytes for parameter in module.parameters()) > 4e12
    out = module(empty_shape((3, 10 ** 6)))
    assert out.shape == (3, 10 ** 6)
    out.backward(torch.zeros_like(out))
    assert module[0].weight.grad.shape == (10 ** 6, 10 ** 6)


def test_twin_leaves_its_model_as_it_was():
    module = Tied()
    numbers = module.first.weight.detach().clone()
    twin = shape_twin(module)
    assert isinstance(twin.first.weight, FakeTensor) and twin.rates == module.rates
    assert module.first.weight.equal(numbers) and type(module.first.weight) is nn.Parameter


@pytest.mark.parametrize('network', [
    nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.GELU(), nn.Conv2d(8, 4, 1)),
    nn.Sequential(nn.Flatten(2), nn.Linear(64, 32), nn.Dropout(0.3), nn.LayerNorm(32)),
    nn.Sequential(nn.Flatten(2), nn.TransformerEncoderLayer(64, 4, 16, batch_first=True)),
], ids=['convolution', 'linear', 'attention'])
@pytest.mark.parametrize('amp', [False, True])
def test_bytes_are_those_of_the_real_step(network, amp):
    held = []
    for module, inputs in ((network, torch.randn(60, 3, 8, 8)),
                           (shape_twin(network), empty_shape((60, 3, 8, 8)))):
        with SavedMemory(module) as saved, LiveMemory(module) as live:
            with torch.autocast('cpu', torch.bfloat16, enabled=amp):
                out = module(inputs)
            out.backward(torch.zeros_like(out))
        held.append((saved.bytes, live.peak_bytes))
        module.zero_grad()
    # In mixed precision real kernels cast within themselves what shapes cast outside.
    tolerance, live_tolerance = (0.03, 0.2) if amp else (0, 0.05)
    assert held[1][0] == pytest.approx(held[0][0], rel=tolerance) and held[0][0] > 0
    assert held[1][1] == pytest.approx(held[0][1], rel=live_tolerance) and held[0][1] > held[0][0]


def test_live_memory_by_hand():
    module = nn.Identity()
    with LiveMemory(module) as live:
        first = torch.zeros(1000)  # 4000 bytes
        second = first + 1  # 8000
        del first
        third = second[:10]  # a view takes nothing
        del second
        fourth = torch.zeros(500)  # 6000
    assert live.peak_bytes == 8000
    assert len(third) == 10 and len(fourth) == 500


def test_gradients_of_parameters_do_not_count():
    module = nn.Linear(100, 1, bias=False)
    inputs = torch.ones(1, 100)
    with LiveMemory(module) as live:
        module(inputs).sum().backward()
    assert live.peak_bytes < 100
