"""``keep_ratio='auto'`` is the largest keep ratio that fits, planned once from shapes."""
from __future__ import annotations

import logging
import subprocess
import sys

import pytest
import torch
from mmengine.logging import MMLogger
from processes import run_processes

from sbp_tad.models.backbones.sbp_backbone import check_budget
from sbp_tad.planning.auto_keep_ratio import (
    KeepRatioPlanner,
    agree_on_keep_ratio,
    backbone_as_shapes,
)
from sbp_tad.planning.errors import PlanningError
from sbp_tad.planning.proposals import largest_keep_ratio
from sbp_tad.planning.video_model import configured
from sbp_tad.registry import MODELS
from sbp_tad.sbp import SavedMemory, SBPError

R2D = dict(type='ResNet', depth=18, pretrained=None)
SWIN = dict(type='SwinTransformer3D', arch=dict(embed_dims=24, depths=[2], num_heads=[2]),
            patch_size=(2, 4, 4), window_size=(4, 4, 4), out_indices=(0, ), pretrained=None,
            pretrained2d=False)
VIDEO = (2, 3, 16, 32, 32)
CASES = {
    'frames': (dict(clip_len=1, backbone=R2D), VIDEO),
    'tokens': (dict(clip_len=8, mode='token', backbone=SWIN), VIDEO),
    'batch of clips': (dict(mode='direct', backbone=SWIN), (8, 3, 8, 32, 32)),
}
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
print(backbone.config.keep_ratio, backbone.planner)
'''


def build(options, **more):
    torch.manual_seed(0)
    return MODELS.build(dict(type='SBPBackbone', **options, **more)).train()


def total(options, shape, ratio):
    """Plan the bytes of a given keep ratio."""
    backbone = build(options, keep_ratio=ratio)
    inputs = torch.empty(shape)
    samples = len(inputs)
    model = backbone_as_shapes(backbone, inputs)
    return model.predict(configured(model, samples, shape[2] if backbone.clip_len else 1))


@pytest.mark.parametrize('case, ratio', [
    pytest.param(case, ratio, marks=() if (case, ratio) in (
        ('tokens', 0.25), ('batch of clips', 0.25)) else pytest.mark.nightly)
    for case in CASES for ratio in (0.25, 1.0)])
def test_the_largest_that_fits_and_a_step_like_any_other(case, ratio):
    options, shape = CASES[case]
    planned = total(options, shape, ratio)
    # Draws of tokens differ a little, and Swin keeps the masks of its first step in a cache.
    slack = 1.01 if options['backbone'] is SWIN else 1
    auto = build(options, keep_ratio='auto', memory_budget=round(slack * planned.total))
    given = build(options, keep_ratio=ratio)
    assert list(auto.state_dict()) == list(given.state_dict())
    inputs, saved, outputs = torch.randn(shape), [], []
    for backbone in (auto, given):
        torch.manual_seed(1)
        with SavedMemory(backbone) as meter:
            outputs.append(backbone(inputs))
            outputs[-1].sum().backward()
        saved.append(meter.bytes)
    assert auto.config.keep_ratio == ratio == given.config.keep_ratio
    assert outputs[0].equal(outputs[1]) and saved[0] == saved[1]
    assert planned.saved == pytest.approx(saved[1], rel=0.1)
    for ours, theirs in zip(auto.parameters(), given.parameters()):
        assert ours.grad is None or ours.grad.equal(theirs.grad)


def test_planned_once_logged_and_the_same_each_time():
    options, shape = CASES['frames']
    budget = total(options, shape, 0.5).total
    records: list[str] = []
    logger = MMLogger.get_instance('auto', logger_name='auto')
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    handler.addFilter(lambda record: 'planned' in record.getMessage())
    logger.addHandler(handler)
    backbone = build(options, keep_ratio='auto', memory_budget=budget)
    state = torch.get_rng_state()
    ratios = {agree_on_keep_ratio(backbone, torch.empty(shape), budget) for _ in range(2)}
    assert ratios == {0.5} and backbone.config.keep_ratio == 1.0
    assert torch.get_rng_state().equal(state)
    backbone.eval()(torch.zeros(shape))
    assert backbone.planner.budget == budget  # evaluation plans nothing
    backbone.train()(torch.zeros(shape))
    backbone(torch.zeros(1, *shape[1:]))
    assert backbone.config.keep_ratio == 0.5 and len(records) == 3
    assert 'SBPBackbone: keep_ratio 0.5 is planned to take' in records[-1]
    logger.removeHandler(handler)


def ratio_of_rank(rank, budget):
    """Return the keep ratio of a process with ``rank + 1`` windows, and the one planned alone."""
    options, (_, *window) = CASES['frames']
    backbone = build(options, keep_ratio='auto', memory_budget=budget)
    inputs = torch.randn(rank + 1, *window)
    alone = backbone_as_shapes(backbone, inputs)
    setting = configured(alone, rank + 1, window[1])
    backbone(inputs)
    return backbone.config.keep_ratio, largest_keep_ratio(alone, setting, budget)


@pytest.mark.slow
def test_processes_agree_on_what_fits_in_all():
    options, shape = CASES['frames']
    (agreed, one), (agreed_too, two) = run_processes(
        ratio_of_rank, total(options, shape, 0.5).total)
    assert agreed == agreed_too == two == 0.5 < one


def test_set_keep_ratio_takes_over():
    options, shape = CASES['frames']
    backbone = build(options, keep_ratio='auto', memory_budget='8GiB')
    backbone.set_keep_ratio(0.25)
    backbone(torch.zeros(shape))
    assert backbone.config.keep_ratio == 0.25


@pytest.mark.nightly  # of a whole model: tests/apis/test_memory_planning.py
def test_mixed_precision_is_planned_as_it_runs():
    options, shape = CASES['frames']
    plain, mixed = (build(options, keep_ratio=0.5) for _ in range(2))
    inputs = torch.zeros(shape)
    setting = configured(backbone_as_shapes(plain, inputs), 2, 16)
    with torch.autocast('cpu', torch.bfloat16):
        planned = backbone_as_shapes(mixed, inputs).predict(setting)
        with SavedMemory(mixed) as meter:
            mixed(inputs)
    assert planned.saved == pytest.approx(meter.bytes, rel=0.1)
    assert planned.saved < backbone_as_shapes(plain, inputs).predict(setting).saved


def test_too_small_a_budget_names_what_would_do():
    options, shape = CASES['frames']
    backbone = build(options, keep_ratio='auto', memory_budget='1MiB')
    with pytest.raises(PlanningError, match=(
            r'no keep_ratio fits memory_budget=1.0 MiB: the smallest, 0.0625, takes \d+')):
        backbone(torch.zeros(shape))


@pytest.mark.parametrize('more', [dict(keep_ratio='auto'),
                                  dict(keep_ratio=0.5, memory_budget='8GiB')])
def test_auto_and_budget_go_together(more):
    with pytest.raises(SBPError, match="keep_ratio='auto' and memory_budget .* go together"):
        build(CASES['frames'][0], **more)


def test_budget_is_checked_when_built():
    with pytest.raises(PlanningError, match='must be a number with one of the units'):
        build(CASES['frames'][0], keep_ratio='auto', memory_budget='lots')


@pytest.fixture
def asked(monkeypatch):
    """Replace the plan by a keep ratio of 0.5; return the calls."""
    calls = []

    def plan(planner, backbone, inputs):
        calls.append((backbone, tuple(inputs.shape), planner.budget))
        return 0.5

    monkeypatch.setattr(KeepRatioPlanner, 'plan', plan)
    return calls


def test_the_planner_is_asked_once_in_training(asked):
    backbone = MODELS.build(AUTO)
    inputs = torch.zeros(1, 3, 4, 16, 16)
    backbone.eval()(inputs)
    with torch.no_grad():
        backbone.train()(inputs)
    assert asked == [] and backbone.planner.budget == 1000
    for _ in range(2):
        backbone(inputs)
    assert asked == [(backbone, (1, 3, 4, 16, 16), 1000)]
    assert backbone.config.keep_ratio == 0.5 and backbone.planner is None


def test_a_backbone_that_cannot_be_planned_does_not_train():
    backbone = MODELS.build(AUTO).train()
    for _ in range(2):
        with pytest.raises(PlanningError, match='no keep_ratio fits memory_budget=0.0 MiB'):
            backbone(torch.zeros(1, 3, 4, 16, 16))


@pytest.mark.nightly  # a process of its own; test_import.py starts one with every change
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
