"""The matcher equals the greedy loop; candidate pairs equal the full table of tIoU."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp_tad.evaluation.matching import SegmentTable, candidate_pairs, match_in_turn
from sbp_tad.segments import pairs as pair_chunks
from sbp_tad.segments.overlap import temporal_iou_of_pairs

preference_lists = st.lists(st.permutations(range(6)).flatmap(
    lambda options: st.integers(0, 6).map(lambda n: options[:n])), max_size=12)


def flatten(lists):
    chooser = np.array([i for i, options in enumerate(lists) for _ in options], dtype=np.int64)
    return chooser, np.array([option for options in lists for option in options], dtype=np.int64)


def greedy(lists):
    taken = {}
    for chooser, options in enumerate(lists):
        for option in options:
            if option not in taken:
                taken[option] = chooser
                break
    return sorted((chooser, option) for option, chooser in taken.items())


@settings(deadline=None, max_examples=200)
@given(preference_lists)
def test_choosers_take_their_best_free_option_in_turn(lists):
    chooser, option = flatten(lists)
    matched = match_in_turn(chooser, option)
    pairs = list(zip(chooser[matched].tolist(), option[matched].tolist()))
    assert sorted(pairs) == greedy(lists)


def test_a_displaced_chooser_moves_to_its_next_option():
    chooser, option = flatten([[1, 0], [0], [1, 2]])
    assert match_in_turn(chooser, option).tolist() == [0, 2, 4]


def test_everybody_wants_the_same_options_in_the_same_order():
    chooser, option = flatten([list(range(40))] * 60)
    matched = match_in_turn(chooser, option)
    assert chooser[matched].tolist() == option[matched].tolist() == list(range(40))


def table(generator, size):
    segments = np.sort(generator.integers(0, 20, (size, 2)), axis=1).astype(float)
    return SegmentTable(generator.integers(0, 3, size), generator.integers(0, 2, size), segments)


@pytest.mark.parametrize('pairs_at_once', [1, 7, 1 << 20])
@pytest.mark.parametrize('sizes', [(30, 12), (0, 5), (5, 0)])
def test_pairs_are_those_of_one_video_and_class_in_any_chunking(monkeypatch, pairs_at_once, sizes):
    monkeypatch.setattr(pair_chunks, '_PAIRS_AT_ONCE', pairs_at_once)
    generator = np.random.default_rng(3)
    detections, truth = (table(generator, size) for size in sizes)
    pairs = candidate_pairs(detections, truth, temporal_iou_of_pairs, 0.25)
    expected = {}
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            same = (detections.video_index[i] == truth.video_index[j]
                    and detections.class_index[i] == truth.class_index[j])
            tiou = temporal_iou_of_pairs(detections.segments_seconds[[i]],
                                         truth.segments_seconds[[j]])[0]
            if same and tiou >= 0.25:
                expected[i, j] = tiou
    found = dict(zip(zip(pairs.detection.tolist(), pairs.ground_truth.tolist()), pairs.tiou))
    assert found == expected
    assert bool(expected) == (0 not in sizes)


def test_taking_rows_keeps_columns_together():
    rows = table(np.random.default_rng(0), 5).take(np.array([4, 1]))
    assert len(rows) == 2
    assert rows.segments_seconds.tolist() == table(
        np.random.default_rng(0), 5).segments_seconds[[4, 1]].tolist()
