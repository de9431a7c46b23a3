"""A sweep scores each setting once, as the metric does with that setting."""
import io
import json

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from sbp_tad.annotations import read_annotations
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.metrics import TADMetric
from sbp_tad.evaluation.raw_predictions import read_raw_predictions
from sbp_tad.evaluation.score_fusion import ScoreFusion
from sbp_tad.evaluation.tuning import grid_settings, parse_grid, print_settings, sweep
from sbp_tad.segments.merging import PostProcessing
from sbp_tad.structures import TADDataSample, Window

CLASSES = ('jump', 'run')


@pytest.fixture
def meta(write_annotation):
    database = {video: dict(subset='test', duration=60.0, annotations=[
        dict(segment=[start, start + 8], label=CLASSES[start % 2]) for start in (3, 20, 41)])
        for video in 'ab'}
    return dict(classes=CLASSES, ann_file=str(write_annotation(database)), subsets=('test', ),
                ignored_labels=('Ambiguous', ), excluded_videos=(), out_of_range='error',
                tiou_thresholds=(0.3, 0.5))


def samples():
    rng = np.random.default_rng(0)
    for video in 'ab':
        for start in (0.0, 50.0):
            begin = rng.choice([3, 20, 41], 40) + rng.normal(0, 2, 40)
            found = TADDataSample(metainfo=dict(
                video_id=video, window=Window(video, start, 100, 1, 10.0, 100), error=None))
            found.pred_instances = InstanceData(
                segments_seconds=torch.from_numpy(np.stack([begin, begin + 8], 1)),
                scores=torch.from_numpy(rng.random(40).astype(np.float32)),
                labels=torch.from_numpy(rng.integers(0, 2, 40)))
            yield found.to_dict()


def scores_of(meta, rules, **options):
    metric = TADMetric(post_processing=rules, **options)
    metric.dataset_meta = meta
    metric.process({}, list(samples()))
    return metric.evaluate(4)


SETTINGS = [dict(sigma=0.5), dict(sigma=0.1), dict(method='hard', iou_threshold=0.3),
            dict(method='nmw', voting_iou=0.7), dict(method='none', max_detections=9)]


@pytest.mark.parametrize('processes', [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_sweep_gives_what_testing_gives(meta, tmp_path, processes):
    scores_of(meta, dict(method='linear'), raw_file=str(tmp_path / 'deep' / 'raw.npz'))
    raw = read_raw_predictions(tmp_path / 'deep' / 'raw.npz')
    assert raw.rules.method == 'linear' and raw.options.tiou_thresholds == (0.3, 0.5)
    settings = [PostProcessing(**options) for options in SETTINGS]
    found = list(sweep(raw, read_annotations(meta['ann_file'], raw.subsets), settings,
                       raw.options, processes=processes))
    expected = [scores_of(meta, options) for options in SETTINGS]
    assert [one.rules for one in found] == settings
    assert [one.result.average_mean_average_precision for one in found] == [
        one['tad/average_mAP'] for one in expected]
    assert len({one['tad/average_mAP'] for one in expected}) > 2
    assert found[0].to_json()['mAP'] == {name[-4:]: value for name, value in expected[0].items()
                                         if '@' in name}


def test_fusion_in_a_sweep_is_that_of_the_metric(meta, tmp_path):
    path = tmp_path / 'scores.json'
    path.write_text(json.dumps({'a': dict(jump=0.9, run=0.3), 'b': dict(jump=0.2, run=0.6)}))
    plain = scores_of(meta, {}, raw_file=str(tmp_path / 'raw.npz'))
    fused = scores_of(meta, {}, score_fusion=dict(path=str(path), top_k=1))
    raw = read_raw_predictions(tmp_path / 'raw.npz')
    found, = sweep(raw, read_annotations(meta['ann_file'], ['test']), [raw.rules], raw.options,
                   ScoreFusion(path, CLASSES, top_k=1))
    assert found.result.average_mean_average_precision == fused['tad/average_mAP']
    assert fused != plain
    path.write_text('{"a": {}}')
    with pytest.raises(EvaluationError, match='not of 1 tested video: b'):
        scores_of(meta, {}, score_fusion=dict(path=str(path)))


def test_grid_words():
    assert parse_grid(['method=hard,nmw', 'sigma=0.3,1', 'voting_iou=None,0.7',
                       'class_agnostic=True']) == dict(
        method=['hard', 'nmw'], sigma=[0.3, 1], voting_iou=[None, 0.7], class_agnostic=[True])


@pytest.mark.parametrize('word', ['sigma', 'sigma=', 'width=3'])
def test_wrong_grid_words(word):
    with pytest.raises(EvaluationError, match=f'takes words like sigma=0.3,0.5.*got {word!r}'):
        parse_grid([word])


def test_settings_without_another_effect_are_scored_once():
    found = grid_settings(PostProcessing(), parse_grid(['method=gaussian,hard', 'sigma=0.5,0.7',
                                                        'iou_threshold=0.4,0.5']))
    assert [(one.method, one.sigma, one.iou_threshold) for one in found] == [
        ('gaussian', 0.5, 0.5), ('gaussian', 0.7, 0.4), ('hard', 0.5, 0.4), ('hard', 0.5, 0.5)]
    assert grid_settings(PostProcessing(), {}) == [PostProcessing()]


def test_values_of_the_wrong_type_or_range():
    with pytest.raises(EvaluationError, match="the grid .*'wide'.* cannot be used: .*wrong type"):
        grid_settings(PostProcessing(), dict(sigma=['wide']))
    with pytest.raises(EvaluationError, match='sigma must be positive'):
        grid_settings(PostProcessing(), dict(sigma=[0]))


def test_the_table_shows_what_varied(meta, tmp_path):
    scores_of(meta, {}, raw_file=str(tmp_path / 'raw.npz'))
    raw = read_raw_predictions(tmp_path / 'raw.npz')
    found = list(sweep(raw, read_annotations(meta['ann_file'], ['test']),
                       grid_settings(raw.rules, dict(method=['hard'], sigma=[0.25])),
                       raw.options))
    file = io.StringIO()
    print_settings(found, ['method', 'sigma'], file)
    for text in ('method', 'sigma', '0.30', '0.50', 'average', 'hard', ' - ', '0.5 ',
                 f'{100 * found[0].result.average_mean_average_precision:.2f}'):
        assert text in file.getvalue()
