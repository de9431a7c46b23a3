"""The average of weights begins with the weights before training, also after resuming."""
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sbp_tad.engine.averaged_weights import EMAFromStartHook

MOMENTUM = 0.1


def start(weight: float) -> tuple[EMAFromStartHook, nn.Module, SimpleNamespace]:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, weight)
    runner = SimpleNamespace(model=model, max_epochs=2, max_iters=4, iter=0, epoch=0)
    hook = EMAFromStartHook(momentum=MOMENTUM)
    hook.before_run(runner)
    return hook, model, runner


def test_the_first_weights_count():
    hook, model, runner = start(0.0)
    nn.init.constant_(model.weight, 2.0)  # pre-trained weights are loaded after before_run
    hook.before_train(runner)
    expected = 2.0
    for step, weight in enumerate([3.0, 5.0, -1.0]):
        runner.iter = step
        nn.init.constant_(model.weight, weight)
        hook.after_train_iter(runner, step)
        expected = (1 - MOMENTUM) * expected + MOMENTUM * weight
        assert hook.ema_model.module.weight.item() == pytest.approx(expected)


def test_a_resumed_average_goes_on():
    hook, model, runner = start(1.0)
    hook.ema_model.steps.fill_(7)
    hook.ema_model.module.load_state_dict({'weight': torch.tensor([[0.5]])})
    hook.before_train(runner)
    assert hook.ema_model.module.weight.item() == 0.5 and hook.ema_model.steps == 7
