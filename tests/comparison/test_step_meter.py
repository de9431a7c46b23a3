"""The meter of one training step: saved bytes, peak, times in turns, a fresh process."""
import os

import pytest
import torch
from torch import nn

from sbp_tad.comparison import step_meter
from sbp_tad.comparison.step_meter import (
    StepMeter,
    StepSeconds,
    forward_bytes,
    in_fresh_process,
    median_seconds,
    step_ratios,
    take_turns,
    take_turns_with_full,
    time_step,
)


def make_meter(parts=1, width=64):
    """A linear layer and a ReLU on parts of 32 rows each."""
    network = nn.Sequential(nn.Linear(width, width), nn.ReLU())
    inputs = torch.randn(32, width)
    return StepMeter(network, [lambda: network(inputs).sum()] * parts)


def step(taken, name):
    def take():
        taken.append(name)
        return StepSeconds(len(taken), 0, 0)
    return take


def test_steps_take_turns():
    taken = []
    times = take_turns([step(taken, 'a'), step(taken, 'b')], 3)
    assert ''.join(taken) == 'ababab'
    assert [[one.step for one in own] for own in times] == [[1, 3, 5], [2, 4, 6]]


def test_full_backpropagation_warms_up_and_takes_turns(monkeypatch):
    taken = []
    meters = {name: make_meter() for name in ('own', 'full')}
    names = {id(meter.network): name for name, meter in meters.items()}

    def note(network, loss, device):
        taken.append(names[id(network)])
        return StepSeconds(len(taken), 0, 0)

    monkeypatch.setattr(step_meter, 'time_step', note)
    times, full_times = take_turns_with_full(meters['own'], meters['full'], 2)
    assert taken == ['full', 'full', 'own', 'full', 'own']
    assert [one.step for one in times] == [3, 5] and [one.step for one in full_times] == [2, 4]
    assert step_ratios(times, full_times) == [3 / 2, 5 / 4]


def test_time_is_that_of_the_clock(monkeypatch):
    """CPU time of forward and backward apart; gradients of the step before are gone."""
    now = [0.0]

    def work(seconds):
        now[0] += seconds

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value):
            work(2)
            return value.sum()

        @staticmethod
        def backward(ctx, gradient):
            work(3)
            return gradient.expand(4)

    network = nn.Linear(4, 1, bias=False)
    network.weight.grad = torch.ones(1, 4)
    monkeypatch.setattr(step_meter.time, 'process_time', lambda: now[0])
    monkeypatch.setattr(step_meter.time, 'perf_counter', lambda: 10 * now[0])
    found = time_step(network, lambda: Loss.apply(network.weight[0]), torch.device('cpu'))
    assert found == StepSeconds(2, 3, 50) and found.step == 5
    assert network.weight.grad.tolist() == [[1, 1, 1, 1]]


def test_parts_of_a_batch_add_up(monkeypatch):
    monkeypatch.setattr(step_meter, 'time_step', lambda *_: StepSeconds(1, 2, 4))
    assert make_meter(parts=3).seconds() == StepSeconds(3, 6, 12)


def test_medians_are_of_each_time_alone():
    steps = [StepSeconds(1, 9, 5), StepSeconds(2, 8, 6), StepSeconds(3, 7, 1)]
    assert median_seconds(steps) == StepSeconds(2, 8, 5)


def test_saved_bytes_are_those_of_one_part():
    meter = make_meter(parts=2)
    # The input of the layer and the output of the ReLU; weights are there anyway.
    assert meter.saved_bytes() == 2 * 32 * 64 * 4
    assert meter.saved_bytes() == forward_bytes(meter.network, meter.losses[0])
    assert all(parameter.grad is None for parameter in meter.network.parameters())


def test_bytes_held_only_in_the_backward_count():
    """Checkpointing saves next to nothing in the forward, and all when it runs again."""
    layers = nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(4)])
    inputs = torch.randn(32, 64, requires_grad=True)

    def loss():
        return torch.utils.checkpoint.checkpoint(layers, inputs, use_reentrant=True).sum()

    assert StepMeter(layers, [loss]).saved_bytes() > 3 * forward_bytes(layers, loss)


def peak_of_a_large_step(width):
    return make_meter(width=width).peak_bytes()


@pytest.mark.slow
def test_peak_of_a_fresh_process_is_that_of_its_step():
    width = 2048  # the gradient of the weight: 16 MiB
    assert in_fresh_process(peak_of_a_large_step, width) > width * width * 4


def test_peak_without_proc_is_that_of_the_process(monkeypatch, tmp_path):
    peaks = iter([1000, 1700])
    monkeypatch.setattr(step_meter, 'CLEAR_REFS', tmp_path / 'absent' / 'clear_refs')
    monkeypatch.setattr(step_meter, 'peak_memory_bytes', lambda who: next(peaks))
    assert make_meter().peak_bytes() == 700


@pytest.mark.slow
def test_a_fresh_process_is_another_one():
    assert in_fresh_process(os.getpid) != os.getpid()
