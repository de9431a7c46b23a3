"""AR@AN against a slow reference, by hand, and on real results."""
from pathlib import Path

import numpy as np
import pytest
from evaluation_cases import annotations_of, cases, detections_of
from hypothesis import given, settings
from reference.average_recall import average_recall_at

from sbp_tad.annotations import read_annotations
from sbp_tad.evaluation.average_recall import TIOU_THRESHOLDS, average_recall
from sbp_tad.evaluation.detections import read_detections
from sbp_tad.evaluation.evaluate import prepare_case

SHARED = Path(__file__).parents[2] / '..' / 'shared' / 'data'
INSTANCES = [('v', 'a', 0, 10), ('v', 'b', 20, 30), ('w', 'a', 0, 10)]


def recall_of(instances, detections):
    return average_recall(prepare_case(annotations_of(instances), detections_of(detections)))


@settings(deadline=None, max_examples=40)
@given(cases())
def test_equals_the_slow_reference(case):
    instances, detections = case
    instances = [x for x in instances if x[1] != 'Ambiguous']
    detections = detections * 12  # more than AN 100 keeps; labels do not matter
    expected = average_recall_at(instances, detections, TIOU_THRESHOLDS)
    np.testing.assert_allclose(recall_of(instances, detections).recall, expected, atol=1e-9)


def test_thresholds_and_numbers_are_those_of_the_protocol():
    found = recall_of(INSTANCES, [])
    assert TIOU_THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    assert found.average_number.tolist() == list(range(1, 101))
    assert found.area_under_curve == found.recall.max() == 0


def test_labels_play_no_part_and_one_proposal_may_find_several():
    instances = [('v', 'a', 0, 10), ('v', 'b', 0, 10), ('v', 'c', 0, 9)]
    found = recall_of(instances, [('v', 'a', 0, 10, .5)])
    assert found.average_recall[-1] == pytest.approx((10 + 10 + 9) / 30)  # tIoU 0.9 of the third
    assert found.to_json()['AR@100'] == pytest.approx(29 / 30)


def test_every_video_keeps_the_same_share():
    """Of 100 proposals in each the second of one video and the third of the other are right."""
    def proposals(video, right):
        return [(video, 'a', *((0, 10) if i == right else (50, 60)), 1 - i / 10)
                for i in range(100)]
    found = recall_of([('v', 'a', 0, 10), ('w', 'a', 0, 10)],
                      proposals('v', right=1) + proposals('w', right=2)).to_json()
    assert [found[f'AR@{number}'] for number in (1, 2, 3, 100)] == [0, 0.5, 1, 1]
    # 0, .5, then ones: trapezoids 0.25 + 0.75 + 97, over AN 100
    assert found['AUC'] == pytest.approx((0.25 + 0.75 + 97) / 100)


@pytest.mark.skipif(not SHARED.is_dir(), reason='the shared data folder ../shared/data is absent')
def test_real_results_rise_with_the_number_of_proposals():
    case = prepare_case(read_annotations(SHARED / 'eval' / 'stpn_gt_210.json', ['test']),
                        read_detections(SHARED / 'eval' / 'stpn_reproduced.json.gz'))
    found = average_recall(case)
    assert (np.diff(found.recall, axis=1) >= 0).all() and (np.diff(found.recall, axis=0) <= 0).all()
    assert 0.1 < found.area_under_curve < found.average_recall[-1] < 0.4
