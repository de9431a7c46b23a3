"""The diagnosis against a slow reference, its parts by hand, and on real results."""
import json
from pathlib import Path

import numpy as np
import pytest
from evaluation_cases import annotations_of, cases, detections_of
from hypothesis import given, settings
from reference.error_analysis import Diagnosis, mean

from sbp_tad.annotations import read_annotations
from sbp_tad.evaluation.detections import read_detections
from sbp_tad.evaluation.error_analysis import ErrorAnalysisOptions, analyze_errors
from sbp_tad.evaluation.error_kinds import ERROR_KINDS, KINDS
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.evaluate import evaluate_detections
from sbp_tad.evaluation.instance_characteristics import BUCKET_BORDERS, in_buckets
from sbp_tad.evaluation.options import EvaluationOptions

SHARED = Path(__file__).parents[2] / '..' / 'shared' / 'data'
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason='the shared data folder ../shared/data is absent')
TIOU = (0.2, 0.5, 1.0)
BUCKETS = ('XS', 'S', 'M', 'L', 'XL')


def analyze(instances, detections, tiou_thresholds=(0.5,), durations=None, **options):
    annotations = annotations_of(instances)
    for name, seconds in (durations or {}).items():
        object.__setattr__(annotations[name], 'duration_seconds', seconds)
    evaluation = EvaluationOptions(tiou_thresholds=tiou_thresholds)
    return analyze_errors(detections_of(detections), annotations,
                          ErrorAnalysisOptions(evaluation, **options))


def kinds_of(analysis):
    """Kind to share of all detections; there must be at most num_multiples G."""
    counts = np.nansum(analysis.false_positive_profile * analysis.profile_counts[:, None], axis=0)
    return {kind: count for kind, count in zip(KINDS, counts.tolist()) if count}


@settings(deadline=None, max_examples=60)
@given(cases())
def test_equals_the_slow_reference(case):
    instances, detections = case
    instances = [x for x in instances if x[1] != 'Ambiguous']
    labels = {x[1] for x in instances}
    detections = [x for x in detections if x[1] in labels]
    found = analyze(instances, detections, TIOU, num_multiples=2)
    expected = [Diagnosis(instances, detections, tiou) for tiou in TIOU]
    assert found.average_map == pytest.approx(mean(x.mean_ap() for x in expected), abs=1e-9)
    assert found.average_normalized_map == pytest.approx(
        mean(x.mean_ap(normalized=True) for x in expected), abs=1e-9)
    for kind in ERROR_KINDS:
        for gain, rules in ((found.map_gain, {}),
                            (found.normalized_map_gain, dict(normalized=True, top=2))):
            assert gain[kind] == pytest.approx(
                mean(x.mean_ap(kind, **rules) - x.mean_ap(**rules) for x in expected), abs=1e-9)
    for multiple, (shares, count) in enumerate(
            zip(found.false_positive_profile, found.profile_counts), start=1):
        kinds = [x.kinds_at(multiple) for x in expected]
        assert count == len(kinds[0])
        if count:
            assert shares.tolist() == pytest.approx(
                [mean(row.count(kind) / count for row in kinds) for kind in KINDS], abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(cases())
def test_parts_of_the_ground_truth_equal_the_slow_reference(case):
    """The number of instances per video; drawn instances are too short for the other buckets."""
    instances, detections = case
    instances = [x for x in instances if x[1] != 'Ambiguous']
    labels = {x[1] for x in instances}
    detections = [x for x in detections if x[1] in labels]
    found = analyze(instances, detections, TIOU, min_normalized_precision=0.3,
                    buckets='activitynet')
    expected = [Diagnosis(instances, detections, tiou) for tiou in TIOU]
    in_video = [sum(y[0] == x[0] for y in instances) for x in instances]
    for bucket, low, high in (('XS', 0, 1), ('S', 1, 4), ('M', 4, 8), ('L', 8, 99)):
        chosen = {i for i, number in enumerate(in_video) if low < number <= high}
        assert found.num_instances['num_instances'][bucket] == len(chosen)
        value = found.sensitivity['num_instances'][bucket]
        missed = found.false_negatives['num_instances'][bucket]
        if not chosen:
            assert np.isnan(value) and np.isnan(missed)
            continue
        assert value == pytest.approx(mean(x.mean_ap_of(chosen) for x in expected), abs=1e-9)
        assert missed == pytest.approx(mean(len(x.missed(0.3) & chosen) / len(chosen)
                                            for x in expected), abs=1e-9)


INSTANCES = [('v', 'a', 0, 10), ('v', 'b', 20, 30), ('w', 'a', 0, 10)]


@pytest.mark.parametrize('detection, kind', [
    (('v', 'a', 0, 10, .5), 'true_positive'),
    (('v', 'a', 0, 5, .5), 'true_positive'),  # tIoU 0.5 reaches 0.5
    (('v', 'a', 0, 4, .5), 'localization'),
    (('v', 'a', 0, 1, .5), 'localization'),  # tIoU 0.1 reaches 0.1
    (('v', 'a', 0, .9, .5), 'background'),
    (('v', 'a', 20, 30, .5), 'wrong_label'),
    (('v', 'a', 20, 24, .5), 'confusion'),
    (('v', 'a', 8, 28, .5), 'confusion'),  # the other label overlaps more
    (('v', 'a', 40, 50, .5), 'background'),
    (('v', 'a', 10, 10, .5), 'background'),
    (('u', 'a', 0, 10, .5), 'background'),  # a video without ground truth
])
def test_kind_of_one_detection(detection, kind):
    assert kinds_of(analyze(INSTANCES, [detection])) == {kind: 1}


def test_the_second_detection_of_an_instance_is_a_double_detection():
    detections = [('v', 'a', 0, 9, .9), ('v', 'a', 0, 10, .8)]
    assert kinds_of(analyze(INSTANCES, detections)) == {'true_positive': 1, 'double_detection': 1}


@pytest.mark.parametrize('order', [1, -1])
def test_own_label_counts_where_both_overlap_alike(order):
    """THUMOS'14 annotates every CliffDiving as Diving too."""
    instances = [('v', 'CliffDiving', 0, 10), ('v', 'Diving', 0, 10)][::order]
    detections = [('v', 'Diving', 0, 10, .9), ('v', 'Diving', 0, 10, .8), ('v', 'Diving', 0, 3, .7)]
    assert kinds_of(analyze(instances, detections)) == {
        'true_positive': 1, 'double_detection': 1, 'localization': 1}


def test_profile_counts_by_multiples_of_the_instances_of_each_class():
    detections = [('v', 'a', 0, 10, .9), ('w', 'a', 50, 60, .8), ('w', 'a', 0, 10, .7),
                  ('v', 'b', 20, 30, .1), ('v', 'b', 20, 30, .05)]  # a: G = 2, b: G = 1
    profile = analyze(INSTANCES, detections, num_multiples=3).to_json()['false_positive_profile']
    assert [(row['top'], row['num_detections']) for row in profile] == [
        ('1G', 3), ('2G', 2), ('3G', 0)]
    assert profile[0]['true_positive'] == pytest.approx(2 / 3)
    assert profile[0]['background'] == pytest.approx(1 / 3)
    assert (profile[1]['true_positive'], profile[1]['double_detection']) == (.5, .5)
    assert profile[2]['true_positive'] is None


def test_gain_is_what_the_score_becomes_without_those_detections():
    detections = [('v', 'a', 50, 60, .9), ('v', 'a', 0, 10, .8), ('w', 'a', 0, 10, .7),
                  ('v', 'b', 20, 30, .6)]
    found = analyze(INSTANCES, detections)
    assert found.average_map == pytest.approx((2 / 3 + 1) / 2)
    assert found.map_gain == pytest.approx(
        {'double_detection': 0, 'wrong_label': 0, 'localization': 0, 'confusion': 0,
         'background': 1 / 6})


def test_normalised_precision_puts_large_and_small_classes_on_one_scale():
    """Two classes of 4 and 1, one false positive first, then everything is found."""
    instances = [('v', 'a', 20 * i, 20 * i + 10) for i in range(4)] + [('w', 'b', 0, 10)]
    detections = [('v', 'a', 500, 510, 1.), ('w', 'b', 500, 510, 1.)]
    detections += [(*x, .5) for x in instances]
    found = analyze(instances, detections)
    assert found.average_map == pytest.approx((4 / 5 + 1 / 2) / 2)
    assert found.average_normalized_map == pytest.approx(2.5 / 3.5)


def test_late_finds_count_as_missed():
    detections = [('v', 'b', 50, 60, 1.)] * 19 + [('v', 'b', 20, 30, .5)]
    late = analyze(INSTANCES, detections)
    assert late.false_negative_rate == pytest.approx(2 / 3)  # precision 1.5 / 20.5 is above 0.05
    strict = analyze(INSTANCES, detections, min_normalized_precision=0.08)
    assert strict.false_negative_rate == 1


def test_length_and_coverage_of_instances():
    instances = [('v', 'a', 0, 3), ('v', 'a', 10, 16), ('v', 'a', 20, 45), ('w', 'a', 0, 7)]
    found = analyze(instances, [('v', 'a', 0, 3, .5)], durations={'v': 100.})
    assert found.num_instances['length'] == dict(XS=1, S=1, M=1, L=0, XL=1)
    assert found.num_instances['coverage'] == dict(XS=0, S=1, M=1, L=0, XL=1)  # w: unknown
    assert found.false_negatives['length'] == pytest.approx(
        dict(XS=0, S=1, M=1, L=np.nan, XL=1), nan_ok=True)
    assert found.sensitivity['coverage'] == pytest.approx(
        dict(XS=np.nan, S=1, M=0, L=np.nan, XL=0), nan_ok=True)


def test_borders_belong_to_the_bucket_below():
    values = np.array([0, 30, 30.1, 60, 180, 181, np.nan])
    inside = in_buckets(values, BUCKET_BORDERS['activitynet']['length'])
    assert [''.join(name for name in BUCKETS if inside[name][i]) for i in range(7)] == [
        'XS', 'XS', 'S', 'S', 'L', 'XL', '']


def test_json_is_plain_and_names_its_thresholds():
    content = json.loads(json.dumps(analyze(INSTANCES, [], (0.3, 0.5)).to_json(),
                                    allow_nan=False))
    assert content['tiou_thresholds'] == [0.3, 0.5]
    assert set(content['map_gain']) == set(ERROR_KINDS)
    assert content['map_gain']['localization'] == 0
    assert list(content['sensitivity']) == ['length', 'coverage', 'num_instances']
    assert content['sensitivity']['length'] == dict(XS=None, S=None, M=0, L=None, XL=None)
    assert content['false_negatives']['length']['M'] == content['false_negative_rate'] == 1
    assert content['buckets']['length']['XL'] == dict(above=18, up_to=None, num_instances=0)
    assert content['buckets']['num_instances']['S'] == dict(above=1, up_to=40, num_instances=2)


@pytest.mark.parametrize('options, message', [
    (dict(evaluation=EvaluationOptions('thumos14-official')), "the protocol activitynet, got 'th"),
    (dict(buckets='other'), "buckets must be one of activitynet, thumos14, got 'other'"),
    (dict(background_tiou=0.4), 'above 0 and not above the lowest tIoU threshold 0.3, got 0.4'),
    (dict(background_tiou=0), 'background_tiou must be above 0'),
    (dict(num_multiples=0), 'num_multiples must be at least 1, got 0')])
def test_options_that_are_refused(options, message):
    with pytest.raises(EvaluationError, match=message):
        ErrorAnalysisOptions(**options)


@needs_shared
def test_real_results():
    """The parts agree with each other and with the score on published detections."""
    annotations = read_annotations(SHARED / 'eval' / 'stpn_gt_210.json', ['test'])
    detections = read_detections(SHARED / 'eval' / 'stpn_reproduced.json.gz')
    evaluation = EvaluationOptions(tiou_thresholds=(0.3, 0.5))
    found = analyze_errors(detections, annotations, ErrorAnalysisOptions(
        evaluation, num_multiples=100))
    score = evaluate_detections(annotations, detections, evaluation)
    assert found.average_map == pytest.approx(score.average_mean_average_precision, abs=1e-12)
    assert found.profile_counts.sum() == found.num_predictions == score.num_predictions
    shares = found.false_positive_profile[found.profile_counts > 0]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert min(found.map_gain.values()) >= 0
    assert max(found.map_gain, key=found.map_gain.get) == 'localization'
    by_length = found.false_negatives['length']
    weighted = sum(by_length[name] * number
                   for name, number in found.num_instances['length'].items())
    assert weighted / score.num_ground_truth == pytest.approx(found.false_negative_rate)
