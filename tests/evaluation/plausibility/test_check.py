"""Signs of a score that cannot be right: which are errors, which warnings, which nothing."""
import numpy as np
import pytest
from evaluation_files import make_annotation, perfect_results, renamed, scaled

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.evaluate import prepare_case
from sbp_tad.evaluation.options import EvaluationOptions
from sbp_tad.evaluation.plausibility.check import find_implausible, refuse_implausible
from sbp_tad.evaluation.plausibility.finding import ERROR, NOTE, WARNING, Finding
from sbp_tad.evaluation.plausibility.overlaps import overlap_findings

DATABASE = make_annotation()
RESULTS = perfect_results(DATABASE)


def annotations(with_timing=True):
    return {name: VideoAnnotation(
        name, 'test', video['duration'] if with_timing else None,
        video['fps'] if with_timing else None, None,
        np.array([item['segment'] for item in video['annotations']]),
        tuple(item['label'] for item in video['annotations']))
        for name, video in DATABASE.items() if video['subset'] == 'test'}


def find(results, with_timing=True, all_subsets=None, **options):
    return find_implausible(annotations(with_timing), Detections.from_results(results),
                            EvaluationOptions(**options), all_subsets)


def levels(findings):
    return [finding.level for finding in findings]


def test_good_detections_have_no_finding():
    assert find(RESULTS) == [] and find(RESULTS, with_timing=False) == []


def test_a_few_detections_elsewhere_are_no_finding():
    """Evaluators count them as false positives, which the summary says."""
    results = {**RESULTS, 'other_1': RESULTS['video_000'][:2]}
    assert find(results) == []


def test_half_of_the_detections_elsewhere_are_warned_of():
    found = find({**RESULTS, **renamed(RESULTS, lambda name: 'other_' + name[::-1])})
    assert levels(found) == [WARNING] and found[0].fault.startswith('50% of the detections')
    assert found[0].option == '--outside-videos'


def test_a_copy_under_another_name_is_not_mapped_onto_a_video_that_has_detections():
    found = find({**RESULTS, **renamed(RESULTS, 'v_{}'.format)})
    assert levels(found) == [WARNING] and '--map-video-ids' not in found[0].sentence(
        ['--map-video-ids'])


def test_one_of_six_videos_under_another_name_is_an_error():
    results = {('v_' if name == 'video_003' else '') + name: found
               for name, found in RESULTS.items()}
    found = find(results)
    assert levels(found) == [ERROR] and found[0].option == '--map-video-ids'


def test_excluded_videos_are_known():
    assert find(RESULTS, excluded_videos=('video_000', 'video_001')) == []


def test_the_subset_of_the_videos_is_named():
    results = {'video_006': RESULTS['video_000'], 'video_007': RESULTS['video_001']}
    found = find(results, all_subsets=lambda: dict.fromkeys(DATABASE, 'training'))
    assert levels(found)[0] == ERROR and found[0].cure == 'Give --subset training to score them.'


@pytest.mark.parametrize('factor, words', [
    (1000, 'milliseconds'), (25, 'like frames.'), (30, 'like frames or feature steps, 30 per sec'),
    (7.5, 'like frames or feature steps, 7.5 per second.')])
def test_units_are_told_apart(factor, words):
    for with_timing in (True, False) if factor > 10 else (True, ):
        found = find(scaled(RESULTS, lambda _: factor), with_timing)
        assert levels(found) == [ERROR]
        assert words in found[0].fault or (not with_timing and 'frames' in found[0].fault)


def test_a_little_beyond_the_end_is_allowed():
    results = {name: [dict(row, segment=[row['segment'][0], DATABASE[name]['duration'] + 0.9])
                      for row in found] for name, found in RESULTS.items()}
    assert find(results) == []


def test_some_detections_beyond_the_end_are_warned_of():
    results = {**RESULTS, 'video_000': scaled({'video_000': RESULTS['video_000']},
                                              lambda _: 100)['video_000']}
    assert levels(find(results)) == [WARNING]  # 4 of 24


def test_weak_detections_may_leave_their_videos():
    """Anchors of detectors that do not clip are longer than short videos."""
    results = {name: [*found, *[dict(row, segment=[0, 10_000], score=0.01) for row in found * 3]]
               for name, found in RESULTS.items()}
    assert find(results) == []


def test_short_videos_may_have_short_times():
    truth = {'v': VideoAnnotation('v', 'test', 2.0, None, None, np.array([[0., .5]]), ('a', ))}
    found = find_implausible(truth, Detections.from_results(
        {'v': [dict(segment=[0, 0.5], label='a', score=1.0)] * 6}), EvaluationOptions())
    assert found == []


def test_equal_scores_are_warned_of():
    results = {name: [dict(row, score=1.0) for row in found] for name, found in RESULTS.items()}
    found = find(results)
    assert levels(found) == [WARNING] and 'have the score 1, so that mAP depends' in found[0].fault


def test_missing_classes_and_videos():
    results = {name: [row for row in found if row['label'] != 'Diving']
               for name, found in RESULTS.items() if name != 'video_000'}
    found = find(results)
    assert levels(found) == [NOTE, NOTE]
    assert "1 of 3 classes has no detection, which gives AP 0: 'Diving'." == found[0].fault


def test_a_cure_is_named_where_the_tool_offers_it():
    findings = [Finding(ERROR, 'Bad.', 'Add --x.', '--x'), Finding(WARNING, 'Odd.')]
    with pytest.raises(EvaluationError, match=r'^Bad\. Add --x\. To score .* --implausible warn'):
        refuse_implausible(findings, ['--x', '--implausible'])
    with pytest.raises(EvaluationError, match=r'^Bad\.$'):
        refuse_implausible(findings, [])
    refuse_implausible(findings[1:], [])


def test_labels_of_overlapping_instances():
    truth = annotations()

    def order(results, **options):
        return overlap_findings(prepare_case(truth, Detections.from_results(results)),
                                **options)
    assert order(RESULTS) == []
    following = {'Clean and Jerk': 'Diving', 'Diving': 'Golf_Swing',
                 'Golf_Swing': 'Clean and Jerk'}
    shifted = {name: [dict(row, label=following[row['label']]) for row in found]
               for name, found in RESULTS.items()}
    assert levels(order(shifted)) == [WARNING]
    assert levels(order(shifted, labels_by_index=True)) == [ERROR]
    assert order({'video_000': shifted['video_000']}) == []  # too few to tell
    assert order(shifted, with_labels=False) == []
    assert order(scaled(RESULTS, lambda _: 0.04)) == []  # 24 may all miss


@pytest.mark.parametrize('with_labels', [True, False])
def test_many_detections_nowhere_near_an_instance_are_only_warned_of(with_labels):
    places = np.stack([np.arange(0, 600, 10.0), np.arange(0, 600, 10.0) + 4], axis=1)
    truth = {'v': VideoAnnotation('v', 'test', 600.0, 25.0, None, places, ('a', ) * 60)}
    found = Detections.from_results({'v': [dict(segment=[start + 5, end + 5], label='a', score=1.0)
                                           for start, end in places]})
    finding, = overlap_findings(prepare_case(truth, found), with_labels=with_labels)
    assert finding.level == WARNING and '0% of the 60 best detections overlap' in finding.fault
    assert 'seconds' not in finding.fault and finding.cure == ''
