"""mAP of frames: which frames and classes count, and the expected figures of a real file."""
import io
import json

import numpy as np
import pytest
from frame_score_cases import frame_scores
from sklearn.metrics import average_precision_score

from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.frame_evaluation import evaluate_frames
from sbp_tad.evaluation.frame_scores import read_frame_scores
from sbp_tad.evaluation.report import print_frame_result


def test_ambiguous_frames_and_background_do_not_count():
    frames = frame_scores()
    result = evaluate_frames(frames)
    counted = ~frames.targets[:, -1]
    assert 0 < result.num_ambiguous_frames == (~counted).sum()
    assert (result.num_frames, result.num_videos) == (counted.sum(), 3)
    expected = [average_precision_score(frames.targets[counted, c], frames.scores[counted, c])
                for c in (1, 2, 3)]
    assert result.average_precision == pytest.approx(expected, abs=1e-12)
    assert result.mean_average_precision == pytest.approx(np.mean(expected), abs=1e-12)


def test_a_class_that_no_frame_shows_is_named_and_counts_with_zero():
    frames = frame_scores()
    frames.targets[:, 2] = False
    result = evaluate_frames(frames)
    assert result.absent_classes == ('action 1',) and result.average_precision[1] == 0
    written = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert written['calibrated_per_class']['action 1'] is written['calibrated_mAP'] is None
    assert written['per_class']['action 1'] == 0.0 and written['absent_classes'] == ['action 1']
    assert written['mAP'] == pytest.approx(sum(written['per_class'].values()) / 3)


def test_nothing_to_find_is_an_error():
    frames = frame_scores()
    frames.targets[:, 1:-1] &= frames.targets[:, -1:]
    with pytest.raises(EvaluationError, match='no action to find in .* frames of 3 videos'):
        evaluate_frames(frames)


def test_smoothing_changes_scores_and_is_said():
    frames = frame_scores(names=False)
    result = evaluate_frames(frames, smooth=True)
    plain = evaluate_frames(frames.smoothed())
    assert result.average_precision.tolist() == plain.average_precision.tolist()
    assert result.to_json()['smoothed'] and not plain.to_json()['smoothed']
    assert result.class_names == ('class 1', 'class 2', 'class 3')


def test_every_figure_is_printed():
    frames = frame_scores()
    frames.targets[:, 2] = False
    file = io.StringIO()
    result = evaluate_frames(frames, smooth=True)
    print_frame_result(result, file)
    text = file.getvalue()
    rows = [[cell.strip() for cell in line.split('│')[1:-1]] for line in text.splitlines()
            if line.startswith('│')]
    percent = [f'{100 * value:.2f}' for value in result.average_precision]
    assert [row[:2] for row in rows[:3]] == [[f'action {i}', percent[i]] for i in range(3)]
    assert rows[1][2] == '-' and rows[3] == [
        'mean of 3 classes', f'{100 * result.mean_average_precision:.2f}', '-']
    assert f'{result.num_ambiguous_frames} ambiguous frames left out' in text
    assert 'their calibrated AP is undefined: action 1.' in text and 'future frames' in text


@pytest.mark.parametrize('smooth', [False, True])
def test_real_labels_give_the_figures_of_the_published_evaluation(shared_data, smooth):
    expected = json.loads((shared_data / 'eval/expected/oad3.json').read_text())
    figures = expected['cases']['oad3_absent_classes']['expected']
    frames = read_frame_scores(shared_data / 'eval/oad3_absent_classes.npz')
    result = evaluate_frames(frames, smooth)
    name = 'AP_smooth1_switch0' if smooth else 'AP_no_postprocessing'
    assert result.mean_average_precision == pytest.approx(figures[name]['mean'], abs=1e-9)
    per_class = list(figures[name]['per_class'].values())
    assert result.average_precision == pytest.approx(per_class, abs=1e-9)
    # Smoothing makes ties, which the published calibrated AP breaks by an unstable sort.
    calibrated = [np.nan if value is None else value
                  for value in figures['c' + name]['per_class'].values()]
    assert result.calibrated_average_precision == pytest.approx(
        calibrated, abs=5e-3 if smooth else 1e-9, nan_ok=True)
    mean = result.mean_calibrated_average_precision
    assert np.isnan(mean) == (figures['c' + name]['mean'] is None)
