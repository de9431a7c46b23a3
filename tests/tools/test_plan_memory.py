"""``tools/plan_memory.py`` as it is called: table, JSON, exit status."""
from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOY = str(ROOT / 'configs/toy/actionformer_r3d10_sbp-r4_toy.py')


@pytest.fixture
def run(call_tool):
    """Call the tool in this process; returns (status, stdout, stderr)."""
    return partial(call_tool, 'plan_memory')


@pytest.mark.parametrize('budget, status', [('8GiB', 0), ('64MiB', 1)])
def test_status_table_and_json(run, tmp_path, budget, status):
    found, printed, errors = run(TOY, '--budget', budget, '--json', tmp_path / 'plan.json')
    assert found == status and errors == f'Loading PyTorch to plan the memory of {TOY}\n'
    assert 'Training memory: batch 8, 96 frames' in printed
    assert ('as configured' in printed) == (status == 0)
    content = json.loads((tmp_path / 'plan.json').read_text())
    assert content['configured']['batch_size'] == 8


@pytest.mark.parametrize('arguments, message', [
    (('--budget', 'much'), 'memory budget must be a number'),
    (('--budget', '8'), "for example 8GiB, 8GB or 800MiB, got '8'"),
    (('--budget', '1KiB'), 'nothing fits 0.0 MiB: the smallest setting'),
    (('--budget', '1GiB', '--json', '/nowhere/plan.json'), 'the folder /nowhere does not exist')])
def test_errors_are_a_sentence(run, arguments, message):
    status, _, errors = run(TOY, *arguments)
    assert status == 2 and message in errors and 'Traceback' not in errors
