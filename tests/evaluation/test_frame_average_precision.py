"""AP of frames against scikit-learn and the slow reference, ties included."""
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.frame_average_precision import frame_ap, largest_around
from sklearn.metrics import average_precision_score

from sbp_tad.evaluation.frame_average_precision import frame_average_precision, smooth_scores


@st.composite
def problems(draw):
    """Scores (N, C) of few distinct values, near and far, in either precision; targets (N, C)."""
    num_frames, num_classes = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    seed, levels = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([1, 2, 5, 1000]))
    scale = draw(st.sampled_from([1.0, -1.0, 1e-7, 1e-40, 1e30]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.default_rng(seed)
    shape = num_frames, num_classes
    scores = (rng.integers(0, levels, shape) / levels * scale).astype(dtype)
    share = draw(st.sampled_from([0.02, 0.5, 1.0]))
    return scores, rng.random(shape) < share


@settings(deadline=None, max_examples=200)
@given(problems())
def test_equals_scikit_learn_with_ties(problem):
    scores, targets = problem
    found, _ = frame_average_precision(scores, targets)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of a class without a positive frame, whose AP is 0
        expected = [average_precision_score(*column) for column in zip(targets.T, scores.T)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)


@settings(deadline=None, max_examples=100)
@given(problems())
def test_equals_the_slow_reference(problem):
    scores, targets = problem
    found = np.transpose(frame_average_precision(scores, targets))
    for row, column, hits in zip(found, scores.T.tolist(), targets.T.tolist()):
        expected = frame_ap(column, hits) if any(hits) else (0.0, np.nan)
        np.testing.assert_allclose(row, expected, rtol=1e-12, atol=0)


@settings(deadline=None, max_examples=50)
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_frames_and_any_monotone_change_of_scores_do_not_matter(problem, random):
    scores, targets = problem
    order = random.sample(range(len(scores)), len(scores))
    _, ranks = np.unique(scores, return_inverse=True)
    changed = ranks.reshape(scores.shape).astype(np.float64) ** 3
    for first, second in zip(frame_average_precision(scores, targets),
                             frame_average_precision(changed[order], targets[order])):
        np.testing.assert_allclose(first, second, rtol=1e-12, atol=0)


def test_calibration_undoes_a_flood_of_negative_frames():
    scores, targets = np.array([[3.0], [2.0], [1.0], [0.0]]), np.array([[1], [0], [1], [0]]) > 0
    flood = np.repeat(scores, [1, 50, 1, 50], axis=0), np.repeat(targets, [1, 50, 1, 50], axis=0)
    (ap, calibrated), (flooded, still) = (
        frame_average_precision(*case) for case in ((scores, targets), flood))
    assert ap[0] == calibrated[0] == pytest.approx((1 + 2 / 3) / 2)
    assert flooded[0] == pytest.approx((1 + 2 / 52) / 2) and still[0] == calibrated[0]


def test_perfect_worst_and_constant_scores():
    targets = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 0]], dtype=bool)
    scores = np.array([[9, 9, 5], [8, 9, 5], [1, 1, 5], [2, 1, 5]], dtype=np.float64)
    ap, calibrated = frame_average_precision(scores, targets)
    assert ap.tolist() == [1.0, 0.5, 0.25]
    assert calibrated.tolist() == [1.0, 0.5, 0.5]


def test_a_class_on_every_frame_has_no_negative_frames_to_weigh():
    ap, calibrated = frame_average_precision(np.array([[0.5], [0.1]]), np.ones((2, 1), dtype=bool))
    assert ap.tolist() == calibrated.tolist() == [1.0]


def test_no_frames_and_no_classes():
    ap, calibrated = frame_average_precision(np.empty((0, 2)), np.empty((0, 2), dtype=bool))
    assert ap.tolist() == [0.0, 0.0] and np.isnan(calibrated).all()
    assert frame_average_precision(np.empty((3, 0)), np.empty((3, 0), bool))[0].shape == (0,)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_smoothing_takes_the_largest_of_five(column):
    scores = np.array([column, column[::-1]], dtype=np.float32).T
    expected = np.array([largest_around(column), largest_around(column[::-1])]).T
    found = smooth_scores(scores)
    assert found.dtype == np.float32 and (found == expected).all()
