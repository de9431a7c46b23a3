"""The printed tables hold every figure, in percent, and are never cut."""
import io

from evaluation_cases import score

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
    assert 'activitynet protocol, subset : 2 instances in 1 videos, 1 detections.' in text
    assert '1 detections under the rule outside_videos: drop.' in text
    assert '1 detections under the rule unknown_labels: drop.' in text
    assert 'excluded_videos' not in text


def test_many_thresholds_are_not_cut_in_a_file():
    text = printed(tiou_thresholds=[i / 20 for i in range(1, 20)])
    assert '…' not in text
    assert all(f'{i / 20:.2f}' in text for i in range(1, 20))
