"""The saved-memory line of the training log."""
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sbp_tad.registry import HOOKS


class Hub(dict):
    update_scalar = dict.__setitem__


def run(iterations, **options):
    hook = HOOKS.build(dict(type='SavedMemoryHook', **options))
    lines, hub = [], Hub()
    model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 4))
    runner = SimpleNamespace(model=model, message_hub=hub,
                             logger=SimpleNamespace(info=lines.append))
    found = []
    for runner.iter in iterations:
        hub.clear()
        hook.before_train_iter(runner, 0)
        model(torch.randn(1024, 8)).sum().backward()
        hook.after_train_iter(runner, 0)
        found.append(hub.get('train/saved_mib'))
    return found, lines


def test_one_iteration_in_so_many_is_measured():
    expected = 1024 * (8 + 16) * 4 / 2**20
    found, lines = run(range(5), interval=2)
    assert found == [pytest.approx(expected), None, pytest.approx(expected), None,
                     pytest.approx(expected)]
    assert not lines


def test_modules_that_hold_most_come_first():
    _, lines = run([0], depth=1)
    assert lines == ['saved for backward, MiB: 1 0.1, 0 0.0']
    assert run([0], depth=1, num_modules=1)[1] == ['saved for backward, MiB: 1 0.1']
