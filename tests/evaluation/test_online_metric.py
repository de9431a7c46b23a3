"""The Runner's online metric: every frame once, whoever brought it, and nothing lost."""
import numpy as np
import pytest
import torch
from frame_score_cases import frame_scores
from processes import run_processes

from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.frame_evaluation import evaluate_frames
from sbp_tad.evaluation.frame_scores import read_frame_scores
from sbp_tad.evaluation.online_metric import OnlineMetric
from sbp_tad.registry import METRICS
from sbp_tad.structures import OnlineDataSample, Window

FRAMES = frame_scores(lengths=(11, 20))
META = dict(classes=FRAMES.class_names)
NUM_FRAMES = 8


def sample(video, start, error=None, frames=FRAMES):
    """The window of 8 frames that starts there, its padding filled with what must not count."""
    first, length = (0, 11) if video == 'v0' else (11, 20)
    rows = slice(first + start, first + min(start + NUM_FRAMES, length))
    valid = rows.stop - rows.start
    window = Window(video, start * 7.5, NUM_FRAMES, 7.5, 30.0, valid)
    found = OnlineDataSample(metainfo=dict(window=window, video_id=video, error=error))
    if error is None:
        found.pred_scores = torch.full((NUM_FRAMES, 4), 9.0)
        found.pred_scores[:valid] = torch.from_numpy(frames.scores[rows, :-1])
        found.frame_targets = torch.ones(NUM_FRAMES, 4)
        found.frame_targets[:valid] = torch.from_numpy(frames.targets[rows, :-1])
        found.frame_valid = torch.zeros(NUM_FRAMES, dtype=torch.bool)
        found.frame_valid[:valid] = torch.from_numpy(~frames.targets[rows, -1])
    return found.to_dict()


def samples():
    return [sample('v1', 16), sample('v0', 0), sample('v1', 0), sample('v0', 8), sample('v1', 8)]


def evaluate(metric, found):
    metric.dataset_meta = META
    for one in found:
        metric.process({}, [one])
    return metric.evaluate(len(found))


@pytest.mark.parametrize('smooth', [False, True])
def test_scores_are_those_of_the_frames(smooth):
    metric = METRICS.build(dict(type='OnlineMetric', smooth=smooth))
    expected = evaluate_frames(FRAMES, smooth)
    assert evaluate(metric, samples()) == {
        'online/mAP': expected.mean_average_precision,
        'online/calibrated_mAP': expected.mean_calibrated_average_precision}
    assert metric.result.num_frames == expected.num_frames


def test_repeated_and_overlapping_windows_count_once():
    once = evaluate(OnlineMetric(), samples())
    assert evaluate(OnlineMetric(), samples() + samples() + [sample('v1', 3)]) == once


def test_the_file_gives_the_same_score(tmp_path):
    path = tmp_path / 'deep' / 'frames.npz'
    scores = evaluate(OnlineMetric(out_file=str(path)), samples())
    frames = read_frame_scores(path)
    assert (frames.targets == FRAMES.targets).all() and frames.class_names == FRAMES.class_names
    assert (frames.scores[:, :-1] == FRAMES.scores[:, :-1]).all()
    assert evaluate_frames(frames).mean_average_precision == scores['online/mAP']


def test_unreadable_videos_end_the_test_after_the_others_are_written(tmp_path):
    path = tmp_path / 'frames.npz'
    found = [*samples(), sample('v2', 0, error='v2.mp4: cut off')]
    with pytest.raises(EvaluationError, match=r'1 test videos .*\n  v2: v2.mp4: cut off\n'
                       rf'.*in {path}. .*\(their frames do not count\)'):
        evaluate(OnlineMetric(out_file=str(path)), found)
    assert read_frame_scores(path).video_names == ('v0', 'v1')
    assert evaluate(OnlineMetric(unreadable='report'), found) == evaluate(OnlineMetric(), samples())
    with pytest.raises(EvaluationError, match='No test window could be read'):
        evaluate(OnlineMetric(unreadable='report'), found[-1:])


def test_options_and_predictions_that_cannot_be():
    with pytest.raises(EvaluationError, match="unreadable must be one of .*, got 'skip'"):
        OnlineMetric(unreadable='skip')
    bad = samples()
    bad[0]['pred_scores'] = bad[0]['pred_scores'] * np.nan
    with pytest.raises(EvaluationError, match='Scores must be finite'):
        evaluate(OnlineMetric(), bad)


def score_share(rank):
    """Two processes share five windows as a sampler does: the last one is given twice."""
    metric = OnlineMetric()
    metric.dataset_meta = META
    metric.process({}, [*samples(), samples()[0]][rank::2])
    return metric.evaluate(5)


@pytest.mark.slow
def test_two_processes_give_the_score_of_one():
    expected = evaluate(OnlineMetric(), samples())
    assert run_processes(score_share) == [expected, expected]
