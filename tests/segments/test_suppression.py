"""Suppression equals the slow reference and the published kernels."""
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import nms as reference
from segment_cases import PUBLISHED_SOURCES, detections, published_cases, published_options

from sbp_tad.segments import METHODS, SegmentError, candidates, non_maximum_weighted, soft_nms

PUBLISHED_METHODS = {0: 'hard', 1: 'linear', 2: 'gaussian', 3: 'gaussian'}


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(0, 70), st.integers(1, 4), st.sampled_from(METHODS),
       st.sampled_from([None, 1.0, 4.0]), st.sampled_from([0.0, 0.001, 0.3]),
       st.sampled_from([1, 7, 1000]))
def test_picks_and_scores_are_those_of_the_slow_reference(seed, number, classes, method, quantum,
                                                          min_score, limit):
    data = detections(number, classes, seed, quantum=quantum)
    indices, scores = soft_nms(*data, sigma=0.5, min_score=min_score, max_segments=limit,
                               method=method, iou_threshold=0.4)
    slow = reference.soft_nms(*data, 0.5, min_score, limit, method, 0.4)
    np.testing.assert_array_equal(indices, slow[0])
    np.testing.assert_array_equal(scores, slow[1])
    assert indices.dtype == np.int64 and scores.dtype == np.float64


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('crowded_share', [0.0, 0.2, 2.0], ids=['always', 'as it is', 'never'])
@pytest.mark.parametrize('duration', [0.0, 5.0, 100.0, 1e6], ids=['all overlap', 'most overlap',
                                                                  'some', 'none'])
@pytest.mark.parametrize('quantum', [None, 2.0], ids=['', 'ties'])
def test_however_many_overlap_picks_are_those_of_the_reference(monkeypatch, method, crowded_share,
                                                               duration, quantum):
    """A step may compute on the few entries near the pick, or on all entries."""
    monkeypatch.setattr(candidates, '_CROWDED_SHARE', crowded_share)
    data = detections(110, 2, seed=3, duration=duration, quantum=quantum)
    slow = reference.soft_nms(*data, 0.4, 1e-9, None, method, 0.3)
    indices, scores = soft_nms(*data, sigma=0.4, min_score=1e-9, max_segments=None, method=method,
                               iou_threshold=0.3)
    np.testing.assert_array_equal(indices, slow[0])
    np.testing.assert_array_equal(scores, slow[1])
    indices, _, segments = non_maximum_weighted(*data, iou_threshold=0.3, min_score=1e-9)
    slow = reference.nmw(*data, 0.3, 1e-9, 200)
    np.testing.assert_array_equal(indices, slow[0])
    np.testing.assert_allclose(segments, slow[2], rtol=1e-12, atol=1e-12)


def test_one_far_segment_makes_the_coarse_time_useless_and_nothing_wrong():
    segments, scores, labels = detections(120, 3, seed=1)
    segments[7] = [1e9, 2e9]
    indices, values = soft_nms(segments, scores, labels)
    slow = reference.soft_nms(segments, scores, labels, 0.5, 0.001, 200, 'gaussian', 0.5)
    np.testing.assert_array_equal(indices, slow[0])
    np.testing.assert_array_equal(values, slow[1])


def test_classes_of_very_different_size_agree_with_the_reference():
    segments, scores, _ = detections(240, 1, seed=5)
    labels = np.repeat([3, 0, 8, 1], [200, 30, 9, 1])
    ours = soft_nms(segments, scores, labels, max_segments=60)
    slow = reference.soft_nms(segments, scores, labels, 0.5, 0.001, 60, 'gaussian', 0.5)
    np.testing.assert_array_equal(ours[0], slow[0])
    np.testing.assert_array_equal(ours[1], slow[1])


def test_equal_detections_come_in_the_order_of_the_input():
    segments = np.array([[i * 10.0, i * 10 + 5] for i in (4, 2, 3, 0, 1)])
    indices, scores = soft_nms(segments, np.full(5, 0.5), np.array([1, 0, 1, 0, 0]))
    np.testing.assert_array_equal(indices, range(5))
    np.testing.assert_array_equal(scores, 0.5)


def test_stopping_early_forgets_no_equal_score_that_comes_first_in_the_input():
    """One class is through its better ones just when the other has filled the limit."""
    scores = np.array([.5] + [.9] * 16 + [.5] * 16)
    labels = np.array([0] * 17 + [1] * 16)
    start = np.arange(33.0) * 10
    indices, _ = soft_nms(np.stack([start, start + 5], axis=1), scores, labels, max_segments=32)
    np.testing.assert_array_equal(indices, [*range(1, 17), 0, *range(17, 32)])


def test_a_class_is_never_suppressed_by_another():
    segments = np.tile([[0.0, 10.0]], (3, 1))
    indices, scores = soft_nms(segments, np.array([.9, .8, .7]), np.array([0, 1, 0]), sigma=0.5)
    np.testing.assert_array_equal(indices, [0, 1, 2])
    np.testing.assert_allclose(scores, [.9, .8, .7 * np.exp(-2)])


def test_the_input_is_left_as_it_was():
    data = detections(50, 3, seed=0)
    copies = [array.copy() for array in data]
    soft_nms(*data)
    for array, copy in zip(data, copies):
        np.testing.assert_array_equal(array, copy)


def test_nothing_in_gives_nothing_out():
    indices, scores = soft_nms(np.empty((0, 2)), np.empty(0), np.empty(0, int))
    assert indices.shape == scores.shape == (0,)


@pytest.mark.parametrize('source', PUBLISHED_SOURCES)
def test_published_float32_kernels_pick_the_same(source):
    """OpenTAD's and ActionFormer's; their labels were drawn for several classes."""
    for case in published_cases(source):
        segments, scores = np.array(case['segs']), np.array(case['scores'])
        options = published_options(case)
        for number, method in PUBLISHED_METHODS.items():
            published = case['expected'][f'softnms_method{number}']
            indices, values = soft_nms(segments, scores, np.zeros(len(scores), int),
                                       method=method, **options)
            np.testing.assert_array_equal(indices, published['inds'], err_msg=case['id'])
            np.testing.assert_allclose(values, np.array(published['dets'])[:, 2], atol=1e-6)
        for name, method in (('opentad_batched_soft_multiclass1', 'gaussian'),
                             ('actionformer_batched_soft_multiclass1', 'gaussian'),
                             ('batched_hard_multiclass1', 'hard')):
            published = case['expected'][name]
            labels = np.array(case['labels'])
            indices, values = soft_nms(segments, scores, labels, method=method, **options)
            np.testing.assert_array_equal(segments[indices], published['segs'])
            np.testing.assert_array_equal(labels[indices], published['labels'])
            np.testing.assert_allclose(values, published['scores'], atol=1e-6)
        indices, _ = soft_nms(segments, scores, np.zeros(len(scores), int), method='hard',
                              **options)
        np.testing.assert_array_equal(indices, case['expected']['hard_nms_inds'])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(0, 70), st.integers(1, 4), st.sampled_from([0.3, 0.5, 1]),
       st.sampled_from([None, 1.0, 4.0]), st.sampled_from([0.0, 0.001, 0.3]),
       st.sampled_from([1, 7, 1000]))
def test_weighted_segments_are_those_of_the_slow_reference(seed, number, classes, iou_threshold,
                                                           quantum, min_score, limit):
    data = detections(number, classes, seed, quantum=quantum)
    indices, scores, segments = non_maximum_weighted(
        *data, iou_threshold=iou_threshold, min_score=min_score, max_segments=limit)
    slow = reference.nmw(*data, iou_threshold, min_score, limit)
    np.testing.assert_array_equal(indices, slow[0])
    np.testing.assert_array_equal(scores, slow[1])
    np.testing.assert_allclose(segments, np.reshape(slow[2], (-1, 2)), rtol=1e-12, atol=1e-12)
    hard = soft_nms(*data, method='hard', iou_threshold=iou_threshold, min_score=min_score,
                    max_segments=limit)
    np.testing.assert_array_equal(indices, hard[0])


def test_a_weighted_segment_lies_where_its_members_are():
    segments = np.array([[0, 10], [2, 10], [40, 50], [5, 5], [0, 10.]])
    scores, labels = np.array([.8, .5, .3, .2, .7]), np.array([0, 0, 0, 0, 1])
    indices, values, means = non_maximum_weighted(segments, scores, labels)
    np.testing.assert_array_equal(indices, [0, 4, 2, 3])
    np.testing.assert_array_equal(values, [.8, .7, .3, .2])
    start = 2 * .5 * .8 / (.8 + .5 * .8)
    np.testing.assert_allclose(means, [[start, 10], [0, 10], [40, 50], [5, 5]])


def test_nothing_is_weighted_to_nothing():
    indices, scores, segments = non_maximum_weighted(np.empty((0, 2)), np.empty(0),
                                                     np.empty(0, int))
    assert indices.shape == scores.shape == (0,) and segments.shape == (0, 2)


@pytest.mark.parametrize('change, message', [
    (dict(scores=[.5, np.nan]), 'score that is negative or not finite; the first is number 1'),
    (dict(scores=[-.5, .2]), 'score that is negative'),
    (dict(segments=[[0, 1], [np.inf, 3]]), 'not finite'),
    (dict(segments=[[0, 1], [3, 2]]), r'end before its start; the first is number 1: \[3. 2.\]'),
    (dict(segments=[[0, 1, 2], [3, 2, 2]]), r'shape \(N, 2\).*got \(2, 3\)'),
    (dict(segments=[[0, 1]]), 'scores and labels of 1 segments must have shape'),
    (dict(labels=[0]), r'labels \(1,\)'),
    (dict(labels=[0.0, 1.0]), 'labels must be integers, got float64'),
    (dict(method='softest'), "unknown soft-NMS method 'softest', choose one of"),
    (dict(sigma=0.0), 'sigma of Gaussian soft-NMS must be positive, got 0.0'),
])
def test_bad_input_is_refused_in_words(change, message):
    arguments = dict(segments=[[0, 1], [1, 2]], scores=[.5, .6], labels=[0, 1])
    arguments.update(change)
    arguments = {key: np.array(value) if isinstance(value, list) else value
                 for key, value in arguments.items()}
    with pytest.raises(SegmentError, match=message):
        soft_nms(**arguments)


@pytest.mark.nightly  # a busy or slow machine disturbs it
@pytest.mark.parametrize('duration', [100.0, 1000.0])
@pytest.mark.parametrize('suppress', [soft_nms, non_maximum_weighted])
def test_speed_stays_in_its_order_of_magnitude(suppress, duration):
    """Ten times the time on a quiet core (at most 0.1 s and 4 ms), so only a relapse fails."""
    segments, scores, _ = detections(40_000, 1, seed=0, duration=duration)
    labels = np.arange(40_000) % 20
    for number, limit, seconds in ((40_000, None, 1.0), (2_000, 200, 0.04)):
        begin = time.process_time()
        suppress(segments[:number], scores[:number], labels[:number], min_score=1e-9,
                 max_segments=limit)
        assert time.process_time() - begin < seconds
