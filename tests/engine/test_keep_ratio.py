"""Schedules of the keep ratio: exact values, whatever iteration training begins at."""
from types import SimpleNamespace

import pytest
from torch import nn

from sbp_tad.engine.errors import HookError
from sbp_tad.engine.keep_ratio import KeepRatioSchedule, Stage, keep_ratio_at
from sbp_tad.registry import HOOKS


class Backbone(nn.Module):
    keep_ratio = None

    def set_keep_ratio(self, keep_ratio):
        self.keep_ratio = keep_ratio


@pytest.mark.parametrize('form, values', [
    ('linear', [1.0, 0.8125, 0.625, 0.25]), ('cosine', [1.0, 0.8901650429, 0.625, 0.25])])
def test_forms(form, values):
    stages = [Stage(1.0, 0.25, form)]
    found = [keep_ratio_at(progress, stages) for progress in (0, 0.25, 0.5, 1)]
    assert found == pytest.approx(values)


def test_stages_follow_each_other():
    stages = [Stage(1.0, until=0.2), Stage(1.0, 0.5, 'linear', until=0.6), Stage(0.25)]
    found = [keep_ratio_at(progress, stages) for progress in (0, 0.19, 0.2, 0.4, 0.6, 0.9, 1)]
    assert found == pytest.approx([1, 1, 1, 0.75, 0.25, 0.25, 0.25])


def run(hook, iterations, max_iters=10):
    model = nn.ModuleDict({'backbone': Backbone(), 'head': nn.Linear(1, 1)})
    runner = SimpleNamespace(model=model, iter=0, max_iters=max_iters)
    hook.before_train(runner)
    ratios = []
    for runner.iter in iterations:
        hook.before_train_iter(runner, 0)
        ratios.append(model['backbone'].keep_ratio)
    return ratios


def test_a_resumed_run_continues_exactly():
    config = dict(type='KeepRatioSchedule', start=1.0, end=0.25, form='linear')
    whole = run(HOOKS.build(config), range(10))
    assert whole[0] == 1.0 and whole[5] == 0.625
    assert run(HOOKS.build(config), range(6, 10)) == whole[6:]


def test_stages_come_as_dicts():
    hook = KeepRatioSchedule(stages=[dict(start=1.0, until=0.5), dict(start=0.25)])
    assert run(hook, range(10)) == [1.0] * 5 + [0.25] * 5


@pytest.mark.parametrize('options, message', [
    (dict(start=0.0), r'start must be a number in \(0, 1\], got 0.0'),
    (dict(start=1.0, end=2, form='linear'), r'end must be a number in \(0, 1\], got 2'),
    (dict(start=1.0, form='stairs'), "form must be one of .*'linear'.*, got 'stairs'"),
    (dict(start=1.0, form='cosine'), 'a cosine stage takes an end'),
    (dict(start=1.0, end=0.5), 'a constant stage takes no end'),
    (dict(), 'give either start .* or stages, got start=None and stages=None'),
    (dict(start=1.0, stages=[]), 'give either start'),
    (dict(stages=[]), r'end at 1.0, got until = \[\]'),
    (dict(stages=[dict(start=1.0, until=0.5)]), r'got until = \[0.5\]'),
    (dict(stages=[dict(start=1.0), dict(start=0.5)]), r'got until = \[1.0, 1.0\]')])
def test_wrong_schedules(options, message):
    with pytest.raises(HookError, match=message):
        KeepRatioSchedule(**options)


def test_a_model_without_keep_ratio_is_refused():
    runner = SimpleNamespace(model=nn.Linear(1, 1))
    with pytest.raises(HookError, match='no module with a keep ratio; use SBPBackbone'):
        KeepRatioSchedule(start=0.5).before_train(runner)
