"""A training step of each strategy: its saved bytes, its peak and its time."""
from dataclasses import replace

import pytest
import torch
from strategy_cases import make_videos, small_config

from sbp_tad.comparison import measurement, step_meter
from sbp_tad.comparison.errors import ComparisonError, RunHeldError
from sbp_tad.comparison.measurement import (
    build_step,
    first_batch,
    measure_strategies,
    step_digest,
    update_measurement,
)
from sbp_tad.comparison.runs import hold, read_json
from sbp_tad.comparison.specs import parse_strategies
from sbp_tad.comparison.step_meter import StepSeconds
from sbp_tad.comparison.strategy_configs import apply_strategy
from sbp_tad.sbp import SavedMemory

PEAK = 123


@pytest.fixture(scope='module')
def cfg(made_once):
    return small_config(made_once('strategy_videos', make_videos))


@pytest.fixture(autouse=True)
def no_process(monkeypatch):
    monkeypatch.setattr(measurement, 'peak_in_fresh_process', lambda own, shared: PEAK)


def step(cfg, word):
    strategy, = parse_strategies([word])
    return build_step(apply_strategy(cfg, strategy), first_batch(cfg))


def test_the_batch_is_always_the_same(cfg):
    first, second = first_batch(cfg), first_batch(cfg)
    assert len(first['inputs']) == 2
    assert all(map(torch.equal, first['inputs'], second['inputs']))


def test_saved_bytes_are_those_of_the_whole_step(cfg):
    full = step(cfg, 'full')
    saved = full.saved()
    backbone = full.model.backbone
    with SavedMemory(backbone) as forward:
        backbone(full.batches[0]['inputs'])
    assert saved.backbone == forward.bytes < saved.model
    assert all(parameter.grad is None for parameter in full.model.parameters())
    assert step(cfg, 'direct:0.5').saved().backbone == pytest.approx(saved.backbone / 2, rel=0.01)
    frozen = step(cfg, 'frozen').saved()
    assert frozen.backbone == 0 and frozen.model < saved.model / 2


def test_what_is_encoded_again_in_the_backward_counts(cfg):
    deferred = step(cfg, 'deferred:0.5')
    backbone = deferred.model.backbone
    with SavedMemory(backbone) as forward:
        backbone(deferred.batches[0]['inputs'])
    assert deferred.saved().backbone > 1.5 * forward.bytes


def test_accumulation_steps_through_parts_of_the_batch(cfg, monkeypatch):
    parts = step(cfg, 'accumulation:2')
    assert [len(batch['inputs']) for batch in parts.batches] == [1, 1]
    monkeypatch.setattr(step_meter, 'time_step',
                        lambda model, loss, device: loss() and StepSeconds(1, 2, 4))
    assert parts.meter.seconds() == StepSeconds(2, 4, 8)


def test_a_strategy_that_fails_is_told_and_the_others_are_measured(cfg, monkeypatch):
    told = []
    strategies = parse_strategies(['full', 'token', 'direct:0.5'])
    full, direct = measure_strategies(cfg, strategies, 2, told.append)
    assert (full.strategy, direct.strategy) == ('full', 'direct:0.5')
    assert 'token:0.25 cannot be measured: SBPError: nothing to apply' in told[0]
    assert full.step_time_ratio == 1 and 0 < direct.step_time_ratio
    assert direct.step_peak_bytes == PEAK and direct.repeats == 2
    assert 0 < direct.step_seconds and 0 < direct.step_wall_seconds
    with pytest.raises(ComparisonError, match='--repeats must be at least 1 timed step, got 0'):
        measure_strategies(cfg, strategies, 0)
    monkeypatch.setattr(measurement, 'build_step', None)
    with pytest.raises(ComparisonError, match='the step of full backpropagation failed'):
        measure_strategies(cfg, strategies, 1)


def test_what_is_measured_is_not_measured_again(cfg, tmp_path, monkeypatch):
    path, calls = tmp_path / 'measurement.json', []
    row = measurement.StrategyMeasurement('', '', 1, 2, 3, 0.1, 0.1, 1.0, 1)

    def measure(cfg, strategies, repeats, report):
        calls.append([strategy.name for strategy in strategies])
        return [replace(row, strategy=strategy.name,
                        digest=step_digest(apply_strategy(cfg, strategy)))
                for strategy in strategies if strategy.name != 'dropit:0.25']

    monkeypatch.setattr(measurement, 'measure_strategies', measure)

    def update(*words, cfg=cfg, **options):
        return update_measurement(path, cfg, parse_strategies(words), 1, print, **options)

    assert update('direct') and update('direct') and update('full', 'direct')
    assert calls == [['full', 'direct:0.25']]  # full is always beside
    assert update('full') and len(calls) == 1
    assert update('frozen') and calls[1:] == [['full', 'frozen']]
    assert [one['strategy'] for one in read_json(path)] == ['direct:0.25', 'full', 'frozen']
    assert update('frozen', again=True) and len(calls) == 3
    assert not update('dropit') and len(calls) == 4
    other = small_config('elsewhere')
    assert update('direct', cfg=other) and len(calls) == 5
    with hold(path, 'another'), pytest.raises(RunHeldError, match='measurement: process'):
        update('direct')


@pytest.mark.nightly  # a process of its own; test_step_meter.py starts one with every change
def test_the_peak_of_a_process_is_that_of_its_step(cfg, monkeypatch):
    monkeypatch.undo()
    strategy, = parse_strategies(['full'])
    peak = measurement.peak_in_fresh_process(apply_strategy(cfg, strategy), cfg)
    assert peak > step(cfg, 'full').saved().model / 2
