"""Each video alone scores what it scores among others."""
import numpy as np
import pytest
from evaluation_cases import annotations_of, cases, detections_of, score
from hypothesis import given, settings

from sbp_tad.evaluation.evaluate import prepare_case
from sbp_tad.evaluation.options import EvaluationOptions
from sbp_tad.evaluation.per_video import score_videos

TIOU = (0.3, 0.6)


def videos_of(instances, detections, videos=(), **options):
    return score_videos(prepare_case(annotations_of(instances, videos), detections_of(detections),
                                     EvaluationOptions(tiou_thresholds=TIOU, **options)))


@pytest.mark.parametrize('protocol', ['activitynet', 'thumos14-official'])
@settings(deadline=None, max_examples=40)
@given(case=cases())
def test_equals_an_evaluation_of_that_video_alone(protocol, case):
    instances, detections = case
    found = videos_of(instances, detections, protocol=protocol)
    for name, row in zip(found.video_names, found.mean_average_precision):
        own = [x for x in instances if x[0] == name]
        if not any(x[1] != 'Ambiguous' for x in own):
            assert np.isnan(row).all()
            continue
        alone = score(own, [x for x in detections if x[0] == name], tiou_thresholds=TIOU,
                      protocol=protocol)
        np.testing.assert_allclose(row, alone.mean_average_precision, rtol=0, atol=1e-9)


def test_counts_and_json():
    found = videos_of([('w', 'a', 0, 10), ('w', 'b', 20, 30), ('v', 'a', 0, 10)],
                      [('w', 'a', 0, 5, .9), ('w', 'b', 50, 60, .9), ('u', 'a', 0, 1, .9),
                       ('v', 'b', 0, 10, .9)], videos=['empty'])
    assert found.to_json() == {
        'empty': {'mAP': {'0.30': None, '0.60': None}, 'num_ground_truth': 0,
                  'num_predictions': 0},
        'v': {'mAP': {'0.30': 0, '0.60': 0}, 'num_ground_truth': 1, 'num_predictions': 1},
        'w': {'mAP': {'0.30': .5, '0.60': 0}, 'num_ground_truth': 2, 'num_predictions': 2}}
