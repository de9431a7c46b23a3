"""The ActivityNet protocol against a slow reference, by hand, and on degenerate cases."""
import subprocess
import sys

import numpy as np
import pytest
from evaluation_cases import cases, score
from hypothesis import find, given, settings
from reference.average_precision import activitynet_ap

from sbp_tad.evaluation.average_precision import average_precision
from sbp_tad.segments.overlap import temporal_iou_of_pairs

TIOU = (0.1, 0.25, 0.5, 0.6, 1.0)


@settings(deadline=None, max_examples=100)
@given(cases())
def test_equals_the_slow_reference(case):
    instances, detections = case
    result = score(instances, detections, tiou_thresholds=TIOU)
    expected = [[activitynet_ap(instances, detections, label, tiou) for tiou in TIOU]
                for label in result.class_names]
    np.testing.assert_allclose(result.average_precision, expected, rtol=0, atol=1e-9)


@pytest.mark.nightly  # examines the drawing of examples, not the evaluator
@pytest.mark.parametrize('holds', [
    lambda truth, found: len(set(found)) < len(found),  # duplicates
    lambda truth, found: len(set(truth)) < len(truth),
    lambda truth, found: len({x[4] for x in found}) < len(set(found)),  # equal scores
    lambda truth, found: {x[1] for x in found} - {x[1] for x in truth},  # no instance of a label
    lambda truth, found: {x[1] for x in truth} - {x[1] for x in found},  # no detection of a label
    lambda truth, found: {x[0] for x in found} - {x[0] for x in truth},  # an unknown video
    lambda truth, found: any(x[2] == x[3] for x in truth) and any(x[2] == x[3] for x in found)])
def test_what_is_drawn_holds_the_cases_where_evaluators_differ(holds):
    find(cases(), lambda case: holds(*case))


def test_interpolated_precision_is_the_best_at_the_same_or_higher_recall():
    hits = np.array([True, False, False, True, True])  # precisions 1, 2/4, 3/5
    assert average_precision(hits, 4) == pytest.approx((1 + 3 / 5 + 3 / 5) / 4)
    assert average_precision(hits, 4, interpolated=False) == pytest.approx((1 + 2 / 4 + 3 / 5) / 4)


@pytest.mark.parametrize('hits', [[], [False, False]])
def test_nothing_found_is_zero(hits):
    assert average_precision(np.array(hits, dtype=bool), 3) == 0.0


def test_tiou_of_pairs():
    first = np.array([[0, 4], [0, 4], [0, 4], [2, 2], [2, 2], [5, 1.]])
    second = np.array([[2, 6], [4, 6], [0, 4], [0, 4], [2, 2], [0, 6.]])
    assert temporal_iou_of_pairs(first, second).tolist() == [2 / 6, 0, 1, 0, 0, 0]


def test_threshold_is_reached_at_equality():
    result = score([('v', 'a', 0, 10)], [('v', 'a', 0, 5, 1.)], tiou_thresholds=(0.5, 0.51))
    assert result.average_precision.tolist() == [[1, 0]]


def test_a_second_detection_of_an_instance_is_a_false_positive():
    detections = [('v', 'a', 0, 10, .9), ('v', 'a', 0, 10, .8), ('v', 'a', 20, 30, .7)]
    result = score([('v', 'a', 0, 10), ('v', 'a', 20, 30)], detections, tiou_thresholds=(0.5,))
    assert result.average_precision[0, 0] == pytest.approx((1 + 2 / 3) / 2)


def test_equal_scores_rank_in_the_order_given():
    right, wrong = ('v', 'a', 0, 10, .5), ('v', 'a', 50, 60, .5)
    instances = [('v', 'a', 0, 10)]
    assert score(instances, [right, wrong]).average_precision[0, 0] == 1
    assert score(instances, [wrong, right]).average_precision[0, 0] == 0.5


@pytest.mark.parametrize('reverse', [False, True])
def test_equal_tiou_takes_the_nearest_boundary_whatever_the_order(reverse):
    instances = [('v', 'a', 2, 5), ('v', 'a', 6, 9)]  # the first detection overlaps both by 0.3
    detections = [('v', 'a', 0, 10, .9), ('v', 'a', 2, 5, .8)]
    result = score(instances[::-1] if reverse else instances, detections, tiou_thresholds=(0.3,))
    assert result.average_precision[0, 0] == 1  # [6, 9] is 1 s from an end, [2, 5] is 2 s


def test_many_equal_scores_are_sorted_stably():
    instances = [('v', 'a', 10. * i, 10. * i + 5) for i in range(300)]
    detections = [(*x, .5) for x in instances] + [('v', 'a', 1e5, 1e5 + 1, .5)] * 300
    assert score(instances, detections).average_precision.min() == 1


def test_needs_no_mmengine():
    code = ('import sys; import sbp_tad.evaluation.evaluate as e; import sbp_tad.evaluation.report;'
            'assert not {"mmengine", "torch", "mmaction"} & set(sys.modules)')
    subprocess.run([sys.executable, '-c', code], check=True,
                   env={'PYTHONPATH': ':'.join(sys.path)})
