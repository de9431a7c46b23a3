"""The report page computes the same in a browser as Python does."""
from __future__ import annotations

import json

import numpy as np
import pytest
from evaluation_cases import annotations_of, cases, detections_of
from hypothesis import HealthCheck, example, given, settings
from reference.average_precision import activitynet_ap
from report_cases import slide

from sbp_tad.annotations import read_annotations
from sbp_tad.evaluation.average_precision import activitynet_matches
from sbp_tad.evaluation.detections import Detections, read_detections
from sbp_tad.evaluation.evaluate import evaluate_detections, prepare_case
from sbp_tad.evaluation.options import EvaluationOptions
from sbp_tad.visualization.report_page import report_content

THRESHOLDS = (0.1, 0.3, 0.5, 0.6, 0.75)

# Matches and AP of every threshold by the page's functions, from the content alone.
SCORE_IN_PAGE = '''(({videos, numClasses}, thresholds) => {
  const prepared = videos.map((video) => matching.prepareVideo(video, numClasses));
  const counts = Array.from({length: numClasses}, (_, label) => videos.reduce(
    (sum, {truth}) => sum + truth.label.filter((other) => other === label).length, 0));
  return thresholds.map((tiou) => {
    const matches = prepared.map((video) => matching.matchVideo(video, tiou));
    const ranked = matching.rankClasses(videos, numClasses);
    return {found: matches.map(({truthOf}) => Array.from(truthOf)),
            ap: matching.classCurves(ranked, matches, counts).map((x) => x.averagePrecision)};
  });
})'''


def grouped(detections: Detections) -> Detections:
    """In the order of a file, which has the detections of a video together."""
    return Detections.from_results(detections.to_results())


@settings(deadline=None, max_examples=60,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
@example(case=([('v', 'a', 3.0, 5.0), ('v', 'a', 2.0, 4.0)],  # equal tIoU, the second starts alike
               [('v', 'a', 2.0, 6.0, 1.0)]))
@example(case=([('v', 'a', 1.0, 2.0), ('v', 'a', 3.0, 4.0)],  # equal tIoU and gap, equal scores
               [('v', 'a', 1.0, 4.0, 0.5), ('v', 'a', 1.0, 4.0, 0.5)]))
def test_matching_in_the_page_equals_python(small_page, case):
    instances, drawn = case
    annotations, detections = annotations_of(instances), grouped(detections_of(drawn))
    options = EvaluationOptions(tiou_thresholds=THRESHOLDS)
    content = report_content(detections, annotations, options)
    results = small_page.run(f'{SCORE_IN_PAGE}({json.dumps(content)}, {list(THRESHOLDS)})')
    result = evaluate_detections(annotations, detections, options)
    expected_found = found_by_python(annotations, detections, content, options)
    rows = [(video, label, *segment, score) for video, entries in detections.to_results().items()
            for segment, label, score in (entry.values() for entry in entries)]
    for column, (tiou, scored) in enumerate(zip(THRESHOLDS, results)):
        assert scored['ap'] == pytest.approx(result.average_precision[:, column].tolist(),
                                             abs=1e-12)
        assert scored['ap'] == pytest.approx([activitynet_ap(instances, rows, label, tiou)
                                              for label in result.class_names], abs=1e-12)
        assert scored['found'] == expected_found[column]


def found_by_python(annotations, detections, content, options):
    """Per threshold and video of the page: the ground truth each detection finds, -1 for none."""
    case = prepare_case(annotations, detections, options)
    order = np.lexsort((-case.comparison.scores, case.comparison.detections.class_index))
    truth_video = case.comparison.ground_truth.video_index
    # the page numbers the truth of a video with ambiguous segments in between
    place = np.array([row for name in case.truth
                      for row, label in enumerate(case.truth[name].labels)
                      if label in case.class_names], dtype=int)
    assert len(place) == len(truth_video)
    results = []
    for found in activitynet_matches(case.comparison.ranked(), options.tiou_thresholds):
        in_file_order = np.empty(len(order), dtype=int)
        in_file_order[order] = np.where(found >= 0, place[found], -1)
        video = case.comparison.detections.video_index
        results.append([in_file_order[video == case.video_names.index(entry['name'])].tolist()
                        for entry in content['videos']])
    return results


def test_real_results_give_the_scores_of_python(page, shared_data):
    folder = shared_data / 'eval'
    browser = page(read_detections(folder / 'stpn_reproduced.json.gz'),
                   read_annotations(folder / 'stpn_gt_210.json'))
    expected = browser.run('model.data.evaluation.per_class')
    for tiou in ('0.30', '0.40', '0.50', '0.60', '0.70'):
        slide(browser, 'tiou', tiou)
        rows = browser.run('charts.classRows()')
        assert len(rows) == 20
        for row in rows:
            assert row['live'] == pytest.approx(expected[row['name']][tiou], abs=1e-12)
