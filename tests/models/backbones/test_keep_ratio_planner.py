"""Registration of the planner behind ``keep_ratio='auto'``, and the error without one."""
from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from sbp_tad.models.backbones import keep_ratio_planner as planners
from sbp_tad.models.backbones.keep_ratio_planner import KeepRatioPlanner, check_budget
from sbp_tad.registry import MODELS
from sbp_tad.sbp import SBPError

AUTO = dict(type='SBPBackbone', clip_len=1, backbone=dict(type='FrameCNN', channels=32),
            keep_ratio='auto', memory_budget=1000)
# As in mmaction's own tools: custom_imports names the package, the config names the type.
FRESH = '''
import sbp_tad
from mmaction.registry import MODELS
import torch
backbone = MODELS.build(dict(
    type='sbp_tad.SBPBackbone', keep_ratio='auto', memory_budget='8GiB', clip_len=1,
    backbone=dict(type='FrameCNN', channels=32))).train()
backbone(torch.zeros(1, 3, 4, 16, 16))
print(backbone.config.keep_ratio, backbone.memory_budget)
'''


@pytest.fixture
def registered(monkeypatch):
    """Start without a planner; restore the real one after the test."""
    MODELS.import_from_location()  # registers the real one, which comes back in the end
    monkeypatch.setattr(planners, '_planners', [])
    return planners.register_keep_ratio_planner


def test_the_registered_planner_is_asked_once_with_bytes(registered):
    asked = []

    def agree(backbone, inputs, budget):
        asked.append((backbone, tuple(inputs.shape), budget))
        return 0.5

    registered(KeepRatioPlanner(lambda text: 7 * text, agree))
    backbone = MODELS.build(AUTO).train()
    assert backbone.memory_budget == 7000
    for _ in range(2):
        backbone(torch.zeros(1, 3, 4, 16, 16))
    assert asked == [(backbone, (1, 3, 4, 16, 16), 7000)]
    assert backbone.config.keep_ratio == 0.5 and backbone.memory_budget is None


def test_a_backbone_without_a_planner_is_not_built(registered):
    with pytest.raises(SBPError, match='needs a planner, and none is registered; import sbp_tad'):
        MODELS.build(AUTO)


def test_a_backbone_that_was_not_planned_does_not_train(registered, monkeypatch):
    registered(KeepRatioPlanner(int, lambda *_: 0.5))
    backbone = MODELS.build(AUTO)
    monkeypatch.setattr(planners, '_planners', [])
    backbone.eval()(torch.zeros(1, 3, 4, 16, 16))  # evaluation needs no plan
    with pytest.raises(SBPError, match='needs a planner'):
        backbone.train()(torch.zeros(1, 3, 4, 16, 16))


@pytest.mark.slow
def test_custom_imports_of_the_package_are_enough():
    done = subprocess.run([sys.executable, '-c', FRESH], capture_output=True, text=True,
                          check=False)
    assert done.stdout.split()[-2:] == ['1.0', 'None'], done.stderr


@pytest.mark.parametrize('arguments, message', [
    (('direct', 'auto', None), 'go together'), (('direct', 0.5, '8GiB'), 'go together'),
    (('full', 'auto', '8GiB'), 'memory_budget is planned for the modes')])
def test_budgets_that_do_not_fit_the_other_choices(arguments, message):
    with pytest.raises(SBPError, match=message):
        check_budget(*arguments)
    check_budget('token', 'auto', '8GiB')
    check_budget('full', 0.5, None)
