"""Weighted videos are repeated videos; intervals behave as intervals."""
import json
from dataclasses import replace

import numpy as np
import pytest
from evaluation_cases import annotations_of, cases, detections_of
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.average_precision import activitynet_ap

from sbp_tad.evaluation.bootstrap import bootstrap_intervals, weighted_map
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.evaluate import evaluate_case, prepare_case
from sbp_tad.evaluation.options import EvaluationOptions

TIOU = (0.3, 0.6)


def case_of(instances, detections, **options):
    return prepare_case(annotations_of(instances), detections_of(detections),
                        EvaluationOptions(**{'tiou_thresholds': TIOU, **options}))


def repeated(rows, times):
    """Each row once per repetition of its video, one after the other, in videos of its own."""
    return [(f'{row[0]}#{copy}', *row[1:]) for row in rows for copy in range(times.get(row[0], 0))]


@settings(deadline=None, max_examples=60)
@given(cases(), st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=4))
def test_weights_equal_the_slow_reference_on_repeated_videos(case, draws):
    instances, detections = case
    instances = [x for x in instances if x[1] != 'Ambiguous']
    prepared = case_of(instances, detections)
    times = [dict(zip('uvw', draw)) for draw in draws]
    weights = np.array([[row.get(name, 0) for row in times] for name in prepared.video_names])
    found = weighted_map(prepared.comparison, TIOU, weights)
    for column, row in zip(found.T, times):
        truth = repeated(instances, row)
        labels = sorted({x[1] for x in truth})
        if not labels:
            assert np.isnan(column).all()
            continue
        expected = [np.mean([activitynet_ap(truth, repeated(detections, row), label, tiou)
                             for label in labels]) for tiou in TIOU]
        np.testing.assert_allclose(column, expected, rtol=0, atol=1e-9)


INSTANCES = [(f'v{i:02}', label, 20. * j, 20. * j + 10) for i in range(30)
             for j, label in enumerate('ab')]
DETECTIONS = [(video, label, start, end - 3 * (i % 4), i / 60)
              for i, (video, label, start, end) in enumerate(INSTANCES)]


def test_the_draw_of_every_video_once_is_the_score():
    case = case_of(INSTANCES, DETECTIONS)
    drawn = weighted_map(case.comparison, TIOU, np.ones((len(case.video_names), 2), dtype=int))
    np.testing.assert_allclose(drawn.T, [evaluate_case(case).mean_average_precision] * 2,
                               rtol=0, atol=1e-12)


def test_many_draws_in_chunks_equal_few(monkeypatch):
    case = case_of(INSTANCES, DETECTIONS)
    weights = np.random.default_rng(0).integers(0, 3, (len(case.video_names), 50))
    whole = weighted_map(case.comparison, TIOU, weights)
    monkeypatch.setattr('sbp_tad.evaluation.bootstrap._NUMBERS_AT_ONCE', 100)
    assert (weighted_map(case.comparison, TIOU, weights) == whole).all()


def test_interval_holds_the_score_and_narrows_with_more_videos():
    widths = []
    for copies in (1, 9):
        times = {f'v{i:02}': copies for i in range(30)}
        case = case_of(repeated(INSTANCES, times), repeated(DETECTIONS, times))
        found = bootstrap_intervals(case, 400)
        low, high = found.average_mean_average_precision
        assert low < evaluate_case(case).average_mean_average_precision < high
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0] / 3, rel=0.25)  # nine times the videos


def test_equal_seeds_give_equal_intervals_and_json_holds_them():
    case = case_of(INSTANCES, DETECTIONS)
    first, same, other = (bootstrap_intervals(case, 50, seed).to_json() for seed in (1, 1, 2))
    assert first == same and first['average_mAP'] != other['average_mAP']
    assert json.loads(json.dumps(first)) == first
    assert list(first['mAP']) == ['0.30', '0.60']
    assert (first['num_samples'], first['seed'], first['confidence']) == (50, 1, 0.95)


def test_videos_that_do_not_count_are_not_drawn():
    """Dropped detections leave their video out; a video of false positives takes part."""
    case = case_of(INSTANCES, DETECTIONS)
    outside = [(f'x{i:02}', 'a', 0., 9., .9) for i in range(30)]
    dropped = case_of(INSTANCES, DETECTIONS + outside, outside_videos='drop')
    kept = case_of(INSTANCES, DETECTIONS + outside)
    expected = bootstrap_intervals(case, 50).to_json()
    assert bootstrap_intervals(dropped, 50).to_json() == expected
    lower = bootstrap_intervals(kept, 50).average_mean_average_precision
    assert (lower < expected['average_mAP']).all()


def test_no_detection_is_an_interval_at_zero():
    found = bootstrap_intervals(case_of(INSTANCES[:1], []), 5)
    assert found.average_mean_average_precision.tolist() == [0, 0]


def test_what_is_refused():
    case = case_of(INSTANCES, DETECTIONS)
    official = replace(case, options=EvaluationOptions('thumos14-official'))
    with pytest.raises(EvaluationError, match="the protocol activitynet, got 'thumos14-official'"):
        bootstrap_intervals(official)
    with pytest.raises(EvaluationError, match='at least 1 draw, got 0'):
        bootstrap_intervals(case, 0)
