"""The official THUMOS'14 protocol against a slow reference, and each of its own rules."""
import numpy as np
import pytest
from evaluation_cases import cases, score
from hypothesis import given, settings
from reference.average_precision import thumos14_ap

from sbp_tad.evaluation.thumos14_official import temporal_iou_over_hull

TIOU = (0.1, 0.25, 0.5, 0.6, 1.0)


def official(instances, detections, **options):
    return score(instances, detections, protocol='thumos14-official', **options)


@settings(deadline=None, max_examples=100)
@given(cases())
def test_equals_the_slow_reference(case):
    instances, detections = case
    result = official(instances, detections, tiou_thresholds=TIOU)
    expected = [[thumos14_ap(instances, detections, label, tiou) for tiou in TIOU]
                for label in result.class_names]
    np.testing.assert_allclose(result.average_precision, expected, rtol=0, atol=1e-9)


def test_threshold_must_be_exceeded():
    result = official([('v', 'a', 0, 10)], [('v', 'a', 0, 5, 1.)], tiou_thresholds=(0.49, 0.5))
    assert result.average_precision.tolist() == [[1, 0]]


def test_ground_truth_chooses_in_file_order():
    near, far = ('v', 'a', 0, 10), ('v', 'a', 0, 6)
    detections = [('v', 'a', 0, 10, .9), ('v', 'a', 0, 8, .1)]
    # [0, 6] takes [0, 8] (0.75) in either order; [0, 10] its twin
    assert official([far, near], detections, tiou_thresholds=(.7,)).average_precision[0, 0] == 1
    detections = [('v', 'a', 0, 7, .9), ('v', 'a', 0, 20, .1)]
    early = official([far, near], detections, tiou_thresholds=(.45,)).average_precision[0, 0]
    late = official([near, far], detections, tiou_thresholds=(.45,)).average_precision[0, 0]
    assert (early, late) == (1, .5)


def test_precision_is_not_interpolated():
    instances = [('v', 'a', 0, 10), ('v', 'a', 20, 30), ('v', 'a', 40, 50)]
    detections = [('v', 'a', 90, 95, .9), ('v', 'a', 0, 10, .8), ('v', 'a', 20, 30, .7)]
    options = dict(tiou_thresholds=(0.5,))
    assert official(instances, detections, **options).average_precision[0, 0] == pytest.approx(
        (1 / 2 + 2 / 3) / 3)
    assert score(instances, detections, **options).average_precision[0, 0] == pytest.approx(
        (2 / 3 + 2 / 3) / 3)


@pytest.mark.parametrize('cloud, expected', [
    (('v', 'Ambiguous', 80, 91), 1.0),     # touches: no false positive
    (('v', 'Ambiguous', 80, 90), 0.5),     # ends where the detection starts
    (('w', 'Ambiguous', 80, 100), 0.5),    # another video
])
def test_ambiguous_segments_forgive_false_positives(cloud, expected):
    detections = [('v', 'a', 90, 95, .9), ('v', 'a', 0, 10, .8)]
    result = official([('v', 'a', 0, 10), cloud], detections)
    assert result.class_names == ('a',)
    assert result.average_precision[0, 0] == expected
    assert score([('v', 'a', 0, 10), cloud], detections).average_precision[0, 0] == .5


def test_a_hit_inside_an_ambiguous_segment_still_counts():
    result = official([('v', 'a', 0, 10), ('v', 'Ambiguous', 0, 99)], [('v', 'a', 0, 10, .9)])
    assert result.average_precision[0, 0] == 1


def test_other_labels_can_be_ambiguous():
    instances = [('v', 'a', 0, 10), ('v', 'unsure', 80, 99)]
    detections = [('v', 'a', 90, 95, .9), ('v', 'a', 0, 10, .8)]
    assert official(instances, detections).class_names == ('a', 'unsure')
    result = official(instances, detections, ignored_labels=('unsure',))
    assert result.average_precision.tolist() == [[1] * 5]


def test_class_without_detections_is_zero():
    result = official([('v', 'a', 0, 10), ('v', 'b', 0, 10)], [('v', 'a', 0, 10, .9)])
    assert result.mean_average_precision.tolist() == [.5] * 5


def test_equal_scores_rank_by_video_name():
    instances = [('b', 'a', 0, 10)]
    detections = [('b', 'a', 0, 10, .5), ('a', 'a', 0, 10, .5)]
    assert official(instances, detections).average_precision[0, 0] == .5


def test_ends_of_a_detection_may_come_in_either_order():
    detections = [('v', 'a', 95, 90, .9), ('v', 'a', 10, 0, .8)]
    instances = [('v', 'a', 0, 10), ('v', 'Ambiguous', 92, 99)]
    assert official(instances, detections).average_precision[0, 0] == 1
    assert score(instances, detections).average_precision[0, 0] == 0


def test_union_is_the_hull():
    first, second = np.array([[0., 4], [0, 4], [0, 4]]), np.array([[2., 6], [4, 6], [1, 1]])
    assert temporal_iou_over_hull(first, second).tolist() == [2 / 6, 0, 0]
