import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.assignment import assign as slow_assign
from reference.assignment import assign_anchors as slow_assign_anchors

from sbp_tad.models.task_modules.assigners import assign_anchors, assign_points
from sbp_tad.models.task_modules.prior_generators import pyramid_points

LENGTHS, STRIDES, RANGES = [64, 32, 16], [1, 2, 4], [(0, 4), (4, 8), (8, 1000)]
POINTS = pyramid_points(LENGTHS, STRIDES, RANGES, 0.5)


def assign(segments, labels, radius=1.5):
    return assign_points(POINTS, torch.tensor(segments, dtype=torch.float64).reshape(-1, 2),
                         torch.tensor(labels, dtype=torch.int64), 4, radius)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(0, 8), st.sampled_from([1.5, 0.5, 3.0, 0.0]))
def test_targets_are_those_of_the_slow_reference(seed, number, radius):
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 240, number) / 4  # quarters are exact, so that ends meet points
    length = rng.integers(1, 200, number) / 8
    segments = np.stack([start, start + length], axis=1)
    labels = rng.integers(0, 4, number)
    classes, targets = assign(segments.tolist(), labels.tolist(), radius)
    levels = [(n, s, *r) for n, s, r in zip(LENGTHS, STRIDES, RANGES)]
    slow = slow_assign(levels, segments.tolist(), labels.tolist(), 4, radius)
    for row, segment, (slow_classes, slow_segment) in zip(classes, targets.tolist(), slow):
        assert set(row.nonzero().flatten().tolist()) == slow_classes
        assert slow_segment is None and segment == [0, 0] or tuple(segment) == slow_segment


def positives(classes):
    return [POINTS.centres[i].item() for i in classes.any(1).nonzero().flatten()]


def test_only_points_around_the_centre_learn():
    classes, _ = assign([[10, 17]], [2])
    assert positives(classes) == [13.5, 12.5, 14.5]
    classes, targets = assign([[10, 16]], [2])
    assert positives(classes) == [12.5, 13.5, 10.5, 14.5]
    assert targets[classes.any(1)].tolist() == [[10, 16]] * 4


def test_the_shortest_action_wins():
    classes, targets = assign([[8, 24], [14, 18]], [0, 1])
    level0 = slice(0, 64)
    assert targets[level0][classes[level0].any(1)].tolist() == [[14, 18]] * 2
    assert classes[:, 0].any() and classes[:, 1].any()
    assert (classes.sum(1) <= 1).all()


@pytest.mark.parametrize('extra, multi', [(0.0, True), (0.0005, True), (0.002, False)])
def test_equally_short_actions_share_their_points(extra, multi):
    classes, _ = assign([[14, 17], [14, 17 + extra]], [0, 3])
    row = classes[POINTS.centres == 15.5][0]
    assert row.tolist() == [1, 0, 0, 1 if multi else 0]


def test_two_equal_actions_of_one_class_count_once():
    classes, _ = assign([[14, 17], [14, 17]], [1, 1])
    assert classes.max() == 1


def test_no_action_is_all_background():
    classes, targets = assign([], [])
    assert classes.shape == (112, 4) and targets.shape == (112, 2)
    assert not classes.any() and not targets.any()


def drawn_anchors(rng, number, offset=0):
    """Segments whose ends are whole, so that equal overlaps are equal."""
    start = rng.integers(0, 60, number) + offset
    return torch.tensor(np.stack([start, start + rng.integers(1, 25, number)], axis=1),
                        dtype=torch.float64)


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 2**31), st.integers(1, 60), st.integers(0, 6), st.booleans(),
       st.sampled_from([(0.6, 0.4), (0.5, 0.5), (0.9, 0.1), (1.0, 0.0)]))
def test_anchors_are_matched_as_by_the_slow_reference(seed, number, num_actions, padded,
                                                      thresholds):
    rng = np.random.default_rng(seed)
    anchors, actions = drawn_anchors(rng, number), drawn_anchors(rng, num_actions)
    labels = torch.tensor(rng.integers(0, 4, num_actions), dtype=torch.int64)
    real = torch.tensor(rng.random(number) < 0.7) if padded else torch.ones(number).bool()
    classes, segments, counted = assign_anchors(anchors, real, actions, labels, 4, *thresholds)
    slow = slow_assign_anchors(anchors.tolist(), real.tolist(), actions.tolist(), *thresholds)
    for row, segment, counts, action in zip(classes, segments, counted, slow):
        assert bool(counts) == (action is not None)
        if action is None or action < 0:
            assert not row.any() and not segment.any()
        else:
            assert row.nonzero().flatten().tolist() == [labels[action]]
            assert torch.equal(segment, actions[action])


def match_anchors(anchors, actions, real=None):
    real = torch.ones(len(anchors)).bool() if real is None else torch.tensor(real)
    labels = torch.arange(len(actions))
    return assign_anchors(torch.tensor(anchors), real, torch.tensor(actions), labels, 3)


def test_every_action_gets_an_anchor_however_little_it_overlaps():
    classes, segments, counted = match_anchors([[0., 10.], [10., 20.]], [[9., 40.]])
    assert classes[:, 0].tolist() == [0, 1] and segments[1].tolist() == [9, 40]
    assert counted.tolist() == [True, True]


def test_an_action_that_overlaps_no_anchor_takes_none():
    classes, _, counted = match_anchors([[0., 10.], [10., 20.]], [[30., 40.]])
    assert not classes.any() and counted.all()


def test_anchors_between_the_thresholds_do_not_count():
    _, _, counted = match_anchors([[0., 10.], [0., 5.], [0., 3.]], [[0., 10.]])
    assert counted.tolist() == [True, False, True]


def test_padding_takes_no_action_away_from_real_anchors():
    classes, _, counted = match_anchors([[0., 10.], [4., 12.]], [[4., 12.]], real=[True, False])
    assert classes[:, 0].tolist() == [1, 0] and counted.tolist() == [True, False]


def test_no_action_makes_every_real_anchor_background():
    real = torch.tensor([True, False])
    classes, segments, counted = assign_anchors(torch.tensor([[0., 1.], [1., 2.]]), real,
                                                torch.empty(0, 2), torch.empty(0).long(), 3)
    assert classes.shape == (2, 3) and not classes.any() and not segments.any()
    assert torch.equal(counted, real)
