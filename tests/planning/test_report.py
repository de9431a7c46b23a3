"""The plan as a table and as JSON, from settings made by hand."""
from __future__ import annotations

import io
import json

import pytest

from sbp_tad.planning.report import MemoryPlan, plan_to_json, print_plan
from sbp_tad.planning.video_model import Setting, StepMemory

MIB = 2 ** 20
CURRENT = Setting('direct', 0.25, 2, 32)
LEAN = Setting('deferred', 0.125, 2, 32, clips_at_once=3)
SMALL, LARGE = (StepMemory(MIB, MIB, 2 * MIB, saved * MIB, MIB) for saved in (10, 100))


@pytest.fixture
def plan():
    return MemoryPlan(64 * MIB, CURRENT, [(CURRENT, LARGE), (LEAN, SMALL)],
                      {'largest keep ratio, deferred': (LEAN, SMALL)})


def test_table_has_every_row_and_says_what_fits(plan):
    file = io.StringIO()
    print_plan(plan, file)
    text = file.getvalue()
    for part in ('Training memory: batch 2, 32 frames', 'What fits 64.0 MiB', 'fits 64.0 MiB'):
        assert part in text
    direct, deferred, proposal = (line.split() for line in text.splitlines()
                                  if '0.25' in line or '0.125' in line)
    assert 'no' in direct and '105.0' in direct
    assert 'yes' in deferred and '15.0' in deferred
    assert '3' in proposal and '15.0' in proposal


def test_json_has_bytes_and_settings_by_name(plan):
    content = json.loads(json.dumps(plan_to_json(plan)))
    assert content['budget'] == 64 * MIB and content['configured']['keep_ratio'] == 0.25
    assert [row['fits'] for row in content['table']] == [False, True]
    assert content['table'][1]['total'] == 15 * MIB
    lean = content['proposals']['largest keep ratio, deferred']
    assert (lean['clips_at_once'], lean['saved'], lean['fits']) == (3, 10 * MIB, True)
