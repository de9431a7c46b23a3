"""The Runner's metric: right figures, each window once, nothing lost when a video fails."""
import json
import logging

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from sbp_tad.annotations import read_annotations
from sbp_tad.evaluation.detections import read_detections
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.evaluate import evaluate_detections
from sbp_tad.evaluation.metrics import TADMetric
from sbp_tad.evaluation.raw_predictions import read_raw_predictions
from sbp_tad.segments.merging import PostProcessing
from sbp_tad.structures import TADDataSample, Window

CLASSES = ('jump', 'run')
TRUTH = {
    'a': [([1.0, 3.0], 'jump'), ([5.0, 9.0], 'run')],
    'b': [([2.0, 4.0], 'jump'), ([0.0, 1.0], 'Ambiguous')],
}


@pytest.fixture
def dataset_meta(tmp_path):
    database = {video: dict(subset='test', duration=10.0, annotations=[
        dict(segment=segment, label=label) for segment, label in entries])
        for video, entries in TRUTH.items()}
    path = tmp_path / 'truth.json'
    path.write_text(json.dumps(dict(database=database)))
    return dict(classes=CLASSES, ann_file=str(path), subsets=('test', ),
                ignored_labels=('Ambiguous', ), excluded_videos=(), out_of_range='error')


def sample(video_id, start_frame, rows, error=None, **rules):
    """A data sample as the detector returns it; rows of (start, end, score, label)."""
    window = Window(video_id, start_frame, 100, 1, 10.0, 100)
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 4)
    found = TADDataSample(metainfo=dict(video_id=video_id, window=window, error=error))
    if rules:  # what a detector adds
        found.set_metainfo(dict(post_processing=PostProcessing(**rules)))
    found.pred_instances = InstanceData(segments_seconds=table[:, :2], scores=table[:, 2].float(),
                                        labels=table[:, 3].long())
    return found.to_dict()


def perfect():
    return [sample('a', 0.0, [(1, 3, 0.9, 0)]), sample('a', 50.0, [(5, 9, 0.8, 1)]),
            sample('b', 0.0, [(2, 4, 0.7, 0)])]


def evaluate(metric, samples, dataset_meta):
    metric.dataset_meta = dataset_meta
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def test_perfect_detections(dataset_meta):
    found = evaluate(TADMetric(), perfect(), dataset_meta)
    assert set(found) == {'tad/average_mAP', *(f'tad/mAP@0.{n}0' for n in range(3, 8))}
    assert set(found.values()) == {1.0}


def test_thresholds_are_those_of_the_dataset_unless_given(dataset_meta):
    declared = dict(dataset_meta, tiou_thresholds=(0.5, 0.95))
    found = evaluate(TADMetric(), perfect(), declared)
    assert set(found) == {'tad/average_mAP', 'tad/mAP@0.50', 'tad/mAP@0.95'}
    found = evaluate(TADMetric(tiou_thresholds=(0.2, )), perfect(), declared)
    assert set(found) == {'tad/average_mAP', 'tad/mAP@0.20'}
    with pytest.raises(EvaluationError, match='at least one, got'):
        evaluate(TADMetric(tiou_thresholds=()), perfect(), declared)


def test_a_score_that_cannot_be_right_is_warned_of(dataset_meta, monkeypatch):
    lines = []
    monkeypatch.setattr('sbp_tad.evaluation.metrics.print_log',
                        lambda text, *_: lines.append(text))
    evaluate(TADMetric(), perfect(), dataset_meta)
    assert not lines
    found = evaluate(TADMetric(), [sample('v_a', 0.0, [(1, 3, 0.9, 0)])], dataset_meta)
    assert found['tad/average_mAP'] == 0 and len(lines) == 1
    assert lines[0].startswith('The score cannot be right: 100% of the detections lie in videos')
    assert '--' not in lines[0]  # options of tools are no advice here


def test_equals_the_command_line_evaluation_of_what_it_writes(dataset_meta, tmp_path):
    out_file = tmp_path / 'deep' / 'found.json.gz'
    rng = np.random.default_rng(0)
    samples = [sample(video, start, [(s, s + d, score, label) for s, d, score, label in zip(
        rng.uniform(0, 8, 30), rng.uniform(0.5, 5, 30), rng.uniform(0, 1, 30),
        rng.integers(0, 2, 30))]) for video in 'ab' for start in (0.0, 50.0)]
    metric = TADMetric(tiou_thresholds=(0.1, 0.5), out_file=str(out_file))
    found = evaluate(metric, samples, dataset_meta)
    written = evaluate_detections(read_annotations(dataset_meta['ann_file'], ['test']),
                                  read_detections(out_file), metric.result.options)
    assert found['tad/average_mAP'] == written.average_mean_average_precision
    assert 0 < found['tad/average_mAP'] < 1


def test_padded_duplicates_count_once(dataset_meta):
    samples = [sample('a', 0.0, [(1, 3, 0.9, 0), (6, 7, 0.95, 0)]), *perfect()[1:]]
    rules = dict(method='none')
    once = evaluate(TADMetric(post_processing=rules), samples, dataset_meta)
    twice = evaluate(TADMetric(post_processing=rules), samples * 2, dataset_meta)
    assert once == twice and once['tad/average_mAP'] < 1


def two_of_one_action(**rules):
    """The worse of two overlapping predictions is a false positive, unless it is suppressed."""
    return [sample('a', 0.0, [(1, 3, 0.95, 0), (1.1, 3, 0.9, 0)], **rules),
            sample('a', 50.0, [(5, 9, 0.8, 1)], **rules),
            sample('b', 0.0, [(2, 4, 0.7, 0)], **rules)]


@pytest.mark.parametrize('of_detector, of_metric, expected', [
    ({}, None, PostProcessing()),
    (dict(method='hard', min_score=0.3), None, PostProcessing(method='hard', min_score=0.3)),
    ({}, dict(method='hard'), PostProcessing(method='hard')),
    (dict(method='hard', min_score=0.3), dict(method='none'),
     PostProcessing(method='none', min_score=0.3))])
def test_rules_are_the_detectors_but_for_what_the_metric_overrides(
        dataset_meta, tmp_path, of_detector, of_metric, expected):
    raw_file = tmp_path / 'raw.npz'
    metric = TADMetric(post_processing=of_metric, raw_file=str(raw_file))
    found = evaluate(metric, two_of_one_action(**of_detector), dataset_meta)
    assert read_raw_predictions(raw_file).rules == expected
    doubles = expected.method == 'none'
    assert (found['tad/average_mAP'] < 1) == doubles


def test_windows_of_two_detectors_are_refused(dataset_meta):
    samples = [*two_of_one_action(method='hard')[:2], *two_of_one_action(method='nmw')[2:]]
    with pytest.raises(EvaluationError, match='must come from one detector, got 2 different'):
        evaluate(TADMetric(), samples, dataset_meta)


def test_wrong_options_are_refused_before_the_test():
    with pytest.raises(EvaluationError, match=r"post_processing of TADMetric: unknown .*'sigm'"):
        TADMetric(post_processing=dict(sigm=0.5))


def test_excluded_videos_do_not_count(dataset_meta):
    dataset_meta['excluded_videos'] = ('b', )
    assert evaluate(TADMetric(), perfect()[:2], dataset_meta)['tad/average_mAP'] == 1


def test_unreadable_videos_end_the_run_after_the_others_are_written(dataset_meta, tmp_path):
    out_file = tmp_path / 'found.json'
    samples = [*perfect()[:2], sample('b', 0.0, [], error='b.mp4: cannot be decoded')]
    metric = TADMetric(out_file=str(out_file))
    with pytest.raises(EvaluationError,
                       match='1 test videos could not be read:\n  b: b.mp4: cannot be decoded\n'
                             "The results of the others are in .*unreadable='report'"):
        evaluate(metric, samples, dataset_meta)
    assert len(read_detections(out_file)) == 2


def test_unreadable_videos_can_be_reported_and_count_as_missed(dataset_meta, caplog):
    samples = [*perfect()[:2], sample('b', 0.0, [], error='b.mp4: cannot be decoded')]
    with caplog.at_level(logging.WARNING):
        found = evaluate(TADMetric(unreadable='report'), samples, dataset_meta)
    assert found['tad/average_mAP'] == pytest.approx(0.75)  # jump: one of two found; run: all


def test_no_ground_truth_is_an_error(dataset_meta):
    dataset_meta['excluded_videos'] = ('a', 'b')
    with pytest.raises(EvaluationError, match='no ground truth to find'):
        evaluate(TADMetric(), perfect(), dataset_meta)


def test_scores_that_are_not_numbers_are_refused(dataset_meta):
    samples = [sample('a', 0.0, [(1, 3, float('nan'), 0)])]
    with pytest.raises(ValueError, match='must be finite numbers, got NaN'):
        evaluate(TADMetric(), samples, dataset_meta)


def test_a_head_with_more_classes_than_the_dataset_is_named(dataset_meta):
    with pytest.raises(EvaluationError, match="'b', has label index 2, but there are 2 labels"):
        evaluate(TADMetric(), [*perfect()[:2], sample('b', 0.0, [(2, 4, 0.7, 2)])], dataset_meta)


def test_wrong_rule_for_unreadable_videos():
    with pytest.raises(EvaluationError, match="unreadable must be one of .*got 'skip'"):
        TADMetric(unreadable='skip')


def test_segments_beyond_the_video_count_as_the_dataset_says(dataset_meta, tmp_path):
    truth = json.loads((tmp_path / 'truth.json').read_text())
    truth['database']['b']['annotations'].append(dict(segment=[11.0, 12.0], label='jump'))
    (tmp_path / 'truth.json').write_text(json.dumps(truth))
    assert evaluate(TADMetric(), perfect(), dataset_meta)['tad/average_mAP'] < 1
    dataset_meta['out_of_range'] = 'clip'
    assert evaluate(TADMetric(), perfect(), dataset_meta)['tad/average_mAP'] == 1
