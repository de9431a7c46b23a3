"""The printed tables hold every figure, in percent, and are never cut."""
import io

import pytest
from evaluation_cases import annotations_of, detections_of, score

from sbp_tad.evaluation.average_recall import average_recall
from sbp_tad.evaluation.bootstrap import bootstrap_intervals
from sbp_tad.evaluation.evaluate import evaluate_case, prepare_case
from sbp_tad.evaluation.per_video import score_videos
from sbp_tad.evaluation.report import print_result

INSTANCES = [('v', 'a', 0, 10), ('v', 'a[bold]', 20, 30)]
DETECTIONS = [('v', 'a', 0, 10, .9), ('u', 'a', 0, 10, .1), ('v', 'z', 0, 1, .5)]


def printed(**options):
    file = io.StringIO()
    print_result(score(INSTANCES, DETECTIONS, **options), file)
    return file.getvalue()


def test_classes_thresholds_and_means_are_printed():
    text = printed(tiou_thresholds=(0.3, 0.75))
    rows = [line.split('│')[1:-1] for line in text.splitlines() if line.startswith('│')]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ['a', '100.00', '100.00', '100.00'], ['a[bold]', '0.00', '0.00', '0.00'],
        ['mAP of 2 classes', '50.00', '50.00', '50.00']]
    assert '0.30' in text and '0.75' in text and 'average' in text


def test_rules_that_applied_are_said():
    text = printed(outside_videos='drop')
    assert 'activitynet protocol, subset : 2 instances in 1 video, 1 detection.' in text
    assert ('1 detection in videos that are not in the ground truth was dropped '
            '(rule outside_videos: drop).') in text
    assert ('1 detection whose label is no class of the ground truth was dropped '
            '(rule unknown_labels: drop).') in text
    assert 'excluded_videos' not in text


def test_many_thresholds_are_not_cut_in_a_file():
    text = printed(tiou_thresholds=[i / 20 for i in range(1, 20)])
    assert '…' not in text
    assert all(f'{i / 20:.2f}' in text for i in range(1, 20))


@pytest.fixture(scope='module')
def case():
    return prepare_case(annotations_of([*INSTANCES, ('w', 'a', 0, 1)], ['x']),
                        detections_of([*DETECTIONS, ('w', 'a', 0, 9, .5)]))


def rows_of(case, **details):
    file = io.StringIO()
    print_result(evaluate_case(case), file, **details)
    return [[cell.strip() for cell in line.split('│')[1:-1]]
            for line in file.getvalue().splitlines() if line.startswith('│')]


def test_intervals_stand_under_the_mean(case):
    intervals = bootstrap_intervals(case, 20)
    mean, lower, upper = rows_of(case, bootstrap=intervals)[-3:]
    assert mean[0] == 'mAP of 2 classes'
    assert (lower[0], upper[0]) == ('95 % lower, 20 draws', '95 % upper, 20 draws')
    assert lower[-1] == f'{100 * intervals.average_mean_average_precision[0]:.2f}'
    assert upper[1] == f'{100 * intervals.mean_average_precision[1, 0]:.2f}'


def test_average_recall_is_printed(case):
    recall = average_recall(case)
    shown = [f'{100 * recall.average_recall[number - 1]:.2f}' for number in (1, 5, 10, 50, 100)]
    assert [*shown, f'{100 * recall.area_under_curve:.2f}'] in rows_of(case, average_recall=recall)


def test_videos_are_printed_the_worst_first(case):
    rows = rows_of(case, per_video=score_videos(case))[:3]
    assert [row[0] for row in rows] == ['w', 'v', 'x']
    assert rows[0][1:] == ['0.00'] * 6 + ['1', '1']
    assert rows[1][1:] == ['50.00'] * 6 + ['2', '1']
    assert rows[2][1:] == ['-'] * 6 + ['0', '0']  # nothing to find there
