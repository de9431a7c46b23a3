"""Settings that fit a budget, on a model whose memory is known by hand."""
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sbp_tad.models.backbones.sbp_backbone import SBPBackbone
from sbp_tad.planning.clip_cost import ClipCost, EncodingCost, StepBytes, largest_fit
from sbp_tad.planning.errors import PlanningError
from sbp_tad.planning.proposals import describe, keep_ratios_of, propose, tabulate
from sbp_tad.planning.video_model import Setting, VideoModel
from sbp_tad.registry import MODELS

FRAME = 4 * 3 * 8 * 8  # bytes of a clip of one frame
COST = EncodingCost(ClipCost(0, 10_000), ClipCost(0, 10_500), ClipCost(0, 1_000))
HEAD = StepBytes(5_000, 100)
CURRENT = Setting('direct', 0.25, 2, 16)


@pytest.fixture(scope='module')
def video_model():
    """Clips of one frame: 10,000 bytes saved per clip, 16 clips per window."""
    backbone = MODELS.build(dict(type='SBPBackbone', clip_len=1, backbone=dict(type='FrameCNN',
                                                                               channels=8 * 4)))
    model = nn.Linear(10, 10)
    found = VideoModel(model, backbone, lambda _: None, (3, 1, 8, 8), lambda frames: (frames, 0),
                       lambda _: HEAD, frames_step=1)
    found._costs[1.0] = COST
    assert isinstance(backbone, SBPBackbone)
    return found


def test_a_step_by_hand(video_model):
    memory = video_model.predict(CURRENT)
    assert (memory.parameters, memory.gradients, memory.optimizer) == (440, 440, 880)
    assert memory.saved == 8 * 10_000 + 2 * 5_000
    # The pass of 16 dropped clips is more than the heads; all frames come on top.
    assert memory.transients == 16_000 - 10_000 + 32 * FRAME
    deferred = video_model.predict(replace(CURRENT, mode='deferred'))
    assert deferred.saved == 32 * FRAME + 4 * 10_000
    assert deferred.transients == 32 * FRAME + 4 * 500


def test_table(video_model):
    rows = tabulate(video_model, replace(CURRENT, keep_ratio=0.3))
    assert [(setting.mode, setting.keep_ratio) for setting, _ in rows] == [
        (mode, ratio) for mode in ('direct', 'deferred')
        for ratio in (1.0, 0.5, 0.3, 0.25, 0.125)]


@pytest.mark.parametrize('budget', [150_000, 200_000, 400_000, 10 ** 6])
def test_every_proposal_fits_and_the_next_step_does_not(video_model, budget):
    def total(setting):
        return video_model.predict(setting).total

    found = propose(video_model, CURRENT, budget)
    assert ('as configured' in found) == (total(CURRENT) <= budget)
    for setting, memory in found.values():
        assert memory.total == total(setting) <= budget
    direct, _ = found['largest keep ratio, direct']
    if direct.keep_ratio < 1:
        assert total(replace(direct, keep_ratio=direct.keep_ratio + 1 / 16)) > budget
    for name, field in (('largest batch', 'batch_size'), ('longest window', 'num_frames')):
        setting, _ = found[name]
        assert total(replace(setting, **{field: getattr(setting, field) + 1})) > budget


def test_smaller_batches_and_passes_where_nothing_else_fits(video_model):
    found = propose(video_model, CURRENT, 80_000)
    setting, memory = found['largest keep ratio, deferred']
    assert setting.clips_at_once is not None or memory.total <= 80_000
    only, = propose(video_model, replace(CURRENT, batch_size=64), 40_000).items()
    assert only[0] == 'smaller batch' and only[1][0].batch_size < 64
    assert only[1][0].clips_at_once == 1


def test_what_is_the_smallest_is_said(video_model):
    with pytest.raises(PlanningError, match=(
            r"nothing fits 0.0 MiB: the smallest setting, mode='\w+', keep_ratio=0.0625, "
            r'clips_at_once=1, batch_size=1, num_frames=16, takes 0.0 MiB; raise the budget')):
        propose(video_model, CURRENT, 5_000)


def test_ratios_are_numbers_of_clips(video_model):
    assert keep_ratios_of(video_model, replace(CURRENT, num_frames=4)) == [0.25, 0.5, 0.75, 1]


def test_words():
    assert describe(CURRENT) == "mode='direct', keep_ratio=0.25, batch_size=2, num_frames=16"


@settings(deadline=None, max_examples=50)
@given(limit=st.integers(0, 300), most=st.integers(1, 200))
def test_largest_fit(limit, most):
    assert largest_fit(lambda n: n <= limit, most) == min(limit, most)
