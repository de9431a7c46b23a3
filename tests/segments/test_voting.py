"""Voting equals the double loop and the published codes."""
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import nms as reference
from segment_cases import PUBLISHED_SOURCES, detections, published_cases, published_options

from sbp_tad.segments import VOTE_WEIGHTS, SegmentError, soft_nms, vote_segments


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(0, 60), st.integers(0, 60), st.integers(1, 4),
       st.sampled_from([None, 1.0, 4.0]), st.sampled_from([0.01, 0.3, 0.75, 1.0]),
       st.sampled_from(VOTE_WEIGHTS), st.sampled_from([0.0, 1e5]))
def test_votes_are_those_of_the_slow_reference(seed, number, num_picks, classes, quantum,
                                               iou_threshold, weight, shift):
    segments, scores, labels = detections(number, classes, seed, quantum=quantum)
    others, _, other_labels = detections(num_picks, classes + 1, seed + 1, quantum=quantum)
    picks = np.concatenate([segments[::3], others]) + shift
    pick_labels = np.concatenate([labels[::3], other_labels])
    voted = vote_segments(picks, pick_labels, segments + shift, scores, labels,
                          iou_threshold=iou_threshold, weight=weight)
    slow = reference.vote(picks, pick_labels, segments + shift, scores, labels, iou_threshold,
                          weight == 'score_iou')
    np.testing.assert_allclose(voted, np.reshape(slow, (-1, 2)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('source', PUBLISHED_SOURCES)
@pytest.mark.parametrize('name, weight', [('opentad', 'score'), ('actionformer', 'score_iou')])
def test_published_codes_vote_the_same(source, name, weight):
    """Both vote only where suppression knows no classes (``multiclass=False``)."""
    for case in published_cases(source):
        segments, scores = np.array(case['segs']), np.array(case['scores'])
        nobody = np.zeros(len(scores), int)
        index, values = soft_nms(segments, scores, nobody, **published_options(case))
        found, threshold = segments[index], case['params']['voting_thresh']
        if threshold > 0:
            found = vote_segments(found, nobody[index], segments, scores, nobody,
                                  iou_threshold=threshold, weight=weight)
        published = case['expected'][f'{name}_batched_soft_multiclass0']
        np.testing.assert_allclose(found, np.reshape(published['segs'], (-1, 2)), rtol=1e-6)
        np.testing.assert_allclose(values, published['scores'], atol=1e-6)
        np.testing.assert_array_equal(np.array(case['labels'])[index], published['labels'])


def test_some_published_case_votes():
    assert any(case['params']['voting_thresh'] > 0 for case in published_cases('sample'))


def test_classes_and_distant_segments_have_no_vote():
    picks = np.array([[0, 10.], [50, 60]])
    segments = np.array([[0, 10], [1, 11], [0, 8], [4, 14], [1, 10.]])
    scores, labels = np.array([.6, .2, .2, .9, .9]), np.array([0, 0, 0, 0, 1])
    voted = vote_segments(picks, np.array([0, 0]), segments, scores, labels, weight='score')
    np.testing.assert_allclose(voted, [[.2 * 1, .6 * 10 + .2 * 11 + .2 * 8], [50, 60]])


def test_nobody_votes_for_nothing():
    none, labels = np.empty((0, 2)), np.empty(0, int)
    assert vote_segments(none, labels, none, np.empty(0), labels).shape == (0, 2)
    picks = np.array([[1, 2.]])
    voted = vote_segments(picks, np.array([0]), none, np.empty(0), labels)
    np.testing.assert_array_equal(voted, picks)


@pytest.mark.parametrize('options, message', [
    (dict(iou_threshold=0.0), r'must lie in \(0, 1\], got 0.0'),
    (dict(iou_threshold=1.5), r'must lie in \(0, 1\], got 1.5'),
    (dict(weight='area'), "unknown weight 'area' of voting: choose one of"),
])
def test_bad_options_are_refused_in_words(options, message):
    data = detections(3, 1, seed=0)
    with pytest.raises(SegmentError, match=message):
        vote_segments(data[0], data[2], *data, **options)


@pytest.mark.nightly  # a busy or slow machine disturbs it
def test_speed_stays_in_its_order_of_magnitude():
    """Ten times the time on a quiet core, so only a return to all pairs fails."""
    segments, scores, _ = detections(40_000, 1, seed=0, duration=1000.0)
    labels = np.arange(40_000) % 20
    begin = time.perf_counter()
    vote_segments(segments, labels, segments, scores, labels)
    assert time.perf_counter() - begin < 2.0
