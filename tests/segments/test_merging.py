"""Windows to detections: predictions in full precision, duplicates suppressed once."""
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp_tad.segments import (
    VOTE_WEIGHTS,
    SegmentError,
    non_maximum_weighted,
    soft_nms,
    vote_segments,
)
from sbp_tad.segments.merging import (
    SUPPRESSION_METHODS,
    CutWarning,
    PostProcessing,
    best_candidates,
    clip_to_video,
    merge_video,
    merge_windows,
)


def columns(rows):
    """[(start, end, score, label)] as the three arrays of a window."""
    table = np.array(rows, dtype=float).reshape(-1, 4)
    return table[:, :2], table[:, 2], table[:, 3].astype(np.int64)


def test_no_window_gives_no_detection():
    segments, scores, labels = merge_windows([], PostProcessing())
    assert segments.shape == (0, 2) and scores.shape == labels.shape == (0, )


def test_the_same_action_in_two_windows_is_found_once():
    first, second = columns([(10, 20, 0.9, 1)]), columns([(10, 20, 0.8, 1)])
    segments, scores, labels = merge_windows([first, second], PostProcessing(min_score=0.3))
    assert segments.tolist() == [[10, 20]] and scores.tolist() == [0.9] and labels.tolist() == [1]


def test_full_precision_is_kept():
    start, score = 10.123456789012345, 0.123456789012345
    segments, scores, _ = merge_windows([columns([(start, 20, score, 0)])], PostProcessing())
    assert segments[0, 0] == start and scores[0] == score


def test_short_and_weak_predictions_are_lost():
    window = columns([(0, 0.04, 0.9, 0), (1, 2, 0.0009, 0), (3, 4, 0.5, 0)])
    segments, _, _ = merge_windows([window], PostProcessing(min_duration_seconds=0.05))
    assert segments.tolist() == [[3, 4]]
    window = columns([(2, 2, 0.9, 0), (4, 3, 0.9, 0), (3, 4, 0.5, 0)])
    assert merge_windows([window], PostProcessing())[0].tolist() == [[2, 2], [3, 4]]


def test_rounding_at_the_end_leaves_the_suppression_alone():
    window = columns([(10.004, 20.006, 0.91236, 0), (10.004, 20.006, 0.91234, 0),
                      (30, 45.9, 0.5, 0)])
    exact, plain, _ = merge_video([window], PostProcessing(), 42.0)
    segments, scores, _ = merge_video([window], PostProcessing(rounding='detections'), 42.0)
    assert segments.tolist() == [[10.0, 20.01], [30.0, 42.0], [10.0, 20.01]]
    assert np.array_equal(segments, exact.round(2)) and np.array_equal(scores, plain.round(4))


def test_sliding_windows_are_clipped_and_rounded_before_suppression():
    """The overlap of two actions that leave the video grows when both are clipped first."""
    window = columns([(38, 50, 0.9, 0), (39, 62, 0.8001, 0)])
    rules = PostProcessing(rounding='windows')
    _, scores, _ = merge_video([window], rules, 40.0)
    assert scores.tolist() == [0.9, round(0.8001 * np.exp(-0.5 ** 2 / 0.5), 4)]
    _, late, _ = merge_video([window], PostProcessing(rounding='detections'), 40.0)
    assert late[1] == pytest.approx(0.8001 * np.exp(-(11 / 24) ** 2 / 0.5), abs=5e-5) != scores[1]


def test_the_best_of_each_window_are_kept():
    windows = [columns([(i, i + 0.5, 0.1 * (i + 1), 0) for i in range(4)]),
               columns([(9, 10, 0.05, 0)])]
    _, scores, _ = merge_video(windows, PostProcessing(max_per_window=2), None)
    assert scores.tolist() == pytest.approx([0.4, 0.3, 0.05])


def test_best_candidates_and_detections_are_kept():
    window = columns([(10 * i, 10 * i + 5, 0.1 + 0.01 * i, 0) for i in range(20)])
    rules = PostProcessing(max_candidates=10, max_detections=3)
    _, scores, _ = merge_windows([window], rules)
    assert scores == pytest.approx([0.29, 0.28, 0.27])
    _, scores, _ = merge_windows([window], PostProcessing(max_candidates=2))
    assert scores == pytest.approx([0.29, 0.28])


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0.1, 20), st.floats(0.01, 1),
                          st.integers(0, 2)), max_size=30, unique_by=lambda row: row[2]),
       st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_windows_merge_as_one(rows, parts):
    """The distribution of predictions over windows changes nothing."""
    rows = [(s, s + length, score, label) for s, length, score, label in rows]
    rules = PostProcessing(max_detections=1000)
    whole = merge_windows([columns(rows)], rules)
    split = merge_windows([columns(rows[part::parts]) for part in range(parts)], rules)
    assert sorted(whole[1]) == pytest.approx(sorted(split[1]), abs=1e-12)


@pytest.mark.parametrize('method', ['gaussian', 'linear', 'hard'])
def test_suppression_is_that_of_soft_nms(method):
    window = columns([(0, 10, 0.9, 0), (1, 10, 0.8, 0), (30, 40, 0.7, 0), (1, 9, 0.6, 1)])
    segments, scores, labels = merge_windows([window], PostProcessing(method=method))
    index, expected = soft_nms(*window, method=method)
    assert np.array_equal(scores, expected) and np.array_equal(segments, window[0][index])
    assert np.array_equal(labels, window[2][index])


def test_weighted_suppression_moves_the_segments():
    window = columns([(0, 10, 0.9, 0), (1, 10, 0.8, 0), (30, 40, 0.7, 0), (1, 9, 0.6, 1)])
    rules = PostProcessing(method='nmw', iou_threshold=0.6)
    segments, scores, labels = merge_windows([window], rules)
    index, expected, means = non_maximum_weighted(*window, iou_threshold=0.6)
    assert np.array_equal(scores, expected) and np.array_equal(segments, means)
    assert np.array_equal(labels, window[2][index]) and segments[0, 0] > 0


@pytest.mark.parametrize('method', SUPPRESSION_METHODS)
@pytest.mark.parametrize('weight', VOTE_WEIGHTS)
def test_voting_moves_segments_and_nothing_else(method, weight):
    window = columns([(0, 10, 0.9, 0), (1, 10, 0.8, 0), (30, 40, 0.7, 0), (1, 9, 0.6, 1)])
    plain = merge_windows([window], PostProcessing(method=method))
    voted = merge_windows([window], PostProcessing(method=method, voting_iou=0.7,
                                                   voting_weight=weight))
    assert np.array_equal(plain[1], voted[1]) and np.array_equal(plain[2], voted[2])
    expected = vote_segments(plain[0], plain[2], *window, iou_threshold=0.7, weight=weight)
    assert np.array_equal(voted[0], expected)
    assert (voted[0] != window[0][0]).any()


def test_class_agnostic_suppression_and_voting_cross_classes():
    window = columns([(0, 10, 0.9, 0), (0, 8, 0.9, 1)])
    segments, _, labels = merge_windows([window], PostProcessing(
        method='hard', class_agnostic=True, voting_iou=0.7, voting_weight='score'))
    assert labels.tolist() == [0] and segments.tolist() == [[0, 9]]
    assert len(merge_windows([window], PostProcessing(method='hard'))[0]) == 2


@pytest.mark.parametrize('method', SUPPRESSION_METHODS)
def test_candidates_below_the_lowest_score_vote(method):
    """As in ActionFormer's code: only the kept detections must reach ``min_score``."""
    window = columns([(0, 10, 0.3, 0), (0, 8, 0.1, 0), (30, 40, 0.1, 0)])
    rules = PostProcessing(method=method, min_score=0.2, voting_iou=0.7, voting_weight='score')
    segments, scores, labels = merge_windows([window], rules)
    assert segments.tolist() == [[0, pytest.approx((0.3 * 10 + 0.1 * 8) / 0.4)]]
    assert scores.tolist() == [0.3] and labels.tolist() == [0]
    parts = [columns([row]) for row in [(0, 10, 0.3, 0), (0, 8, 0.1, 0)]]
    assert len(best_candidates(parts, rules)[1]) == 2
    plain = merge_windows([window], PostProcessing(method=method, min_score=0.2))
    assert plain[0].tolist() == [[0, 10]]


def test_defaults_are_those_of_actionformer_on_thumos14():
    """Its config: 2,000 of each of 6 levels, 200 detections, voting 0.7, not class-wise."""
    rules = PostProcessing()
    assert (rules.method, rules.sigma, rules.min_score) == ('gaussian', 0.5, 0.001)
    assert (rules.max_candidates, rules.max_detections) == (6 * 2000, 200)
    assert rules.voting_threshold is None and rules.voting_weight == 'score_iou'
    assert PostProcessing(class_agnostic=True).voting_threshold == 0.7
    assert PostProcessing(class_agnostic=True, voting_iou=None).voting_threshold is None
    assert PostProcessing(voting_iou=0.75).voting_threshold == 0.75
    with pytest.raises(SegmentError, match="voting_iou must lie in .*got 'of course'"):
        PostProcessing(voting_iou='of course')


@pytest.mark.parametrize('option', ['max_detections', 'max_candidates'])
def test_a_limit_that_cuts_a_long_video_says_so(option):
    """40 minutes with an action a minute; 10 minutes of the same are cut without a word."""
    def cut(minutes):
        window = columns([(60 * i, 60 * i + 5, 0.5, 0) for i in range(minutes)])
        return merge_windows([window], PostProcessing(**{option: 5}))
    with pytest.warns(CutWarning, match=f'{option}=5 cuts the detections .*more than 10 minutes'):
        assert len(cut(40)[1]) == 5
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert len(cut(10)[1]) == 5
        assert len(merge_windows([columns([(0, 5, 0.5, 0), (2400, 2405, 0.4, 0)])],
                                 PostProcessing(max_detections=2))[1]) == 2


def test_none_keeps_every_candidate():
    window = columns([(0, 10, 0.9, 0), (0, 10, 0.8, 0)])
    assert merge_windows([window], PostProcessing(method='none'))[1].tolist() == [0.9, 0.8]


@pytest.mark.parametrize('options, message', [
    (dict(method='soft'), "method must be one of .*got 'soft'"),
    (dict(max_detections=0), 'max_detections must be at least 1, got 0'),
    (dict(max_candidates=-1), 'max_candidates must be at least 1'),
    (dict(max_per_window=0), 'max_per_window must be at least 1, got 0'),
    (dict(rounding='all'), "rounding must be one of .*got 'all'"),
    (dict(voting_weight='area'), "voting_weight must be one of .*got 'area'"),
    (dict(voting_iou=0), r'voting_iou must lie in \(0, 1\], or be None for no voting, got 0'),
    (dict(sigma=0), 'sigma must be positive'),
    (dict(min_score=-0.1), 'min_score and min_duration_seconds not negative')])
def test_wrong_rules(options, message):
    with pytest.raises(SegmentError, match=message):
        PostProcessing(**options)
    with pytest.raises(SegmentError, match=message):
        PostProcessing().with_options(options)


def test_options_replace_rules_one_by_one():
    rules = PostProcessing(method='nmw', min_score=0.005)
    assert rules.with_options({}) == rules
    assert rules.with_options(dict(method='linear', voting_iou=0.7)) == PostProcessing(
        method='linear', min_score=0.005, voting_iou=0.7)
    with pytest.raises(SegmentError, match=r"unknown .*options \['nms', 'sigm'\]; .*are method, "
                                           'sigma, iou_threshold, .*voting_weight'):
        rules.with_options(dict(sigm=0.5, nms='hard', min_score=0.1))
    with pytest.raises(SegmentError, match="{'sigma': 'wide'} has the wrong type"):
        rules.with_options(dict(sigma='wide'))


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0.1, 20), st.integers(1, 9),
                          st.integers(0, 2)), max_size=40), st.integers(1, 12), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_candidates_may_be_joined_in_steps(rows, max_candidates, parts):
    """Inference then need not hold all predictions of a video. Equal scores are included."""
    rows = [(start, start + length, score / 10, label) for start, length, score, label in rows]
    rules = PostProcessing(max_candidates=max_candidates)
    windows = [columns(rows[part * 5:part * 5 + 5]) for part in range(parts)]
    joined = columns([])
    for window in windows:
        joined = best_candidates([joined, window], rules)
        assert len(joined[1]) <= max_candidates
    for stepwise, at_once in zip(merge_windows([joined], rules), merge_windows(windows, rules)):
        np.testing.assert_array_equal(stepwise, at_once)


def test_detections_are_clipped_to_their_video():
    found = columns([(-1, 3, 0.9, 0), (4, 12, 0.5, 1)])
    assert clip_to_video(found, 10.0)[0].tolist() == [[0, 3], [4, 10]]
    assert clip_to_video(found, None)[0].tolist() == [[0, 3], [4, 12]]
