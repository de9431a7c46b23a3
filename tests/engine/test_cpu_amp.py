"""Mixed precision on the CPU."""
from __future__ import annotations

import torch
from torch import nn

from sbp_tad.engine.cpu_amp import CpuAmpOptimWrapper
from sbp_tad.registry import OPTIM_WRAPPERS


def model_and_wrapper(**kwargs) -> tuple:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    wrapper = OPTIM_WRAPPERS.build(dict(
        type='CpuAmpOptimWrapper', optimizer=torch.optim.SGD(model.parameters(), lr=0.1), **kwargs))
    return model, wrapper


def test_is_built_by_name():
    assert isinstance(model_and_wrapper()[1], CpuAmpOptimWrapper)


def test_forward_is_bfloat16_within_the_context_only():
    model, wrapper = model_and_wrapper()
    inputs = torch.ones(2, 4)
    with wrapper.optim_context(model):
        assert model(inputs).dtype == torch.bfloat16
    assert model(inputs).dtype == torch.float32
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_training_lowers_the_loss():
    model, wrapper = model_and_wrapper(clip_grad=dict(max_norm=1.0))
    inputs, target = torch.eye(4), torch.tensor([[1.0], [-1.0], [2.0], [0.0]])
    losses = []
    for _ in range(60):
        with wrapper.optim_context(model):
            loss = (model(inputs).float() - target).square().mean()
        wrapper.update_params(loss)
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_gradients_accumulate():
    model, wrapper = model_and_wrapper(accumulative_counts=2)
    before = model.weight.detach().clone()
    for changed in (False, True):
        with wrapper.optim_context(model):
            loss = model(torch.ones(1, 4)).float().sum()
        wrapper.update_params(loss)
        assert torch.equal(model.weight, before) is not changed
