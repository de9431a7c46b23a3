"""The hook draws the first videos, with the detections that the metric scores."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.engine.detection_visualization import first_videos
from sbp_tad.engine.errors import HookError
from sbp_tad.evaluation.metrics import TADMetric
from sbp_tad.registry import HOOKS, VISUALIZERS
from sbp_tad.segments.merging import PostProcessing
from sbp_tad.structures import TADDataSample, Window


class Dataset(list):
    metainfo = dict(classes=('run', 'jump'))
    get_data_info = list.__getitem__


def dataset(duration=20.0):
    return Dataset(dict(annotation=VideoAnnotation(
        name, 'test', duration, 10.0, None, np.array([[1.0, 5.0]]), ('jump', )))
        for name in 'aabbc')


def window_sample(video_id, start_frame, rows):
    table = torch.tensor(rows).reshape(-1, 4)
    made = TADDataSample(metainfo=dict(video_id=video_id, error=None, window=Window(
        video_id, start_frame, 100, 1, 10.0, 100)))
    made.pred_instances = InstanceData(segments_seconds=table[:, :2], scores=table[:, 2],
                                       labels=table[:, 3].long())
    return made


@pytest.fixture
def drawn(monkeypatch):
    """Function that returns the calls of the visualizer in a validation."""
    def run(validations=1, data=None, of_detector=None, of_metric=None, **options):
        calls = []
        visualizer = SimpleNamespace(add_datasample=lambda *args, **kwargs: calls.append(
            (args, kwargs)))
        metric = TADMetric(post_processing=of_metric or dict(method='hard'))
        runner = SimpleNamespace(
            iter=12, visualizer=visualizer, val_loop=SimpleNamespace(
                evaluator=SimpleNamespace(metrics=[metric])),
            val_dataloader=SimpleNamespace(dataset=dataset() if data is None else data))
        hook = HOOKS.build(dict(type='DetectionVisualizationHook', **options))
        for _ in range(validations):
            hook.before_val_epoch(runner)
            samples = [window_sample('a', 50.0, [[1, 5, 0.8, 0], [6, 9, 0.7, 1.0]]),
                       window_sample('a', 0.0, [[1, 5, 0.9, 0.0]]),
                       window_sample('c', 0.0, [])]
            for sample in samples if of_detector else ():
                sample.set_metainfo(dict(post_processing=of_detector))
            hook.after_val_iter(runner, 0, None, samples[:2])
            hook.after_val_iter(runner, 1, None, samples[2:])
            hook.after_val_epoch(runner)
        return calls
    return run


def test_first_videos_with_merged_windows(drawn):
    (first, options), (second, _) = drawn(num_videos=2)
    assert [first[0], second[0]] == ['detections/a', 'detections/b']
    assert (options['step'], options['duration_seconds']) == (12, 20.0)
    found = first[2].pred_instances
    assert found.segments_seconds.tolist() == [[1, 5], [6, 9]]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])  # the double of .8 is suppressed
    assert first[2].gt_instances.labels.tolist() == [1]
    assert len(second[2].pred_instances) == 0


@pytest.mark.parametrize('of_metric, scores', [
    (dict(min_score=0.1), [0.9, 0.8, 0.7]), (dict(method='hard'), [0.9, 0.7]),
    (dict(max_detections=1), [0.9])])
def test_rules_are_the_detectors_but_for_what_the_metric_overrides(drawn, of_metric, scores):
    ((_, _, sample), _), = drawn(num_videos=1, of_detector=PostProcessing(method='none'),
                                 of_metric=of_metric)
    assert sample.pred_instances.scores.tolist() == pytest.approx(scores)


def test_one_validation_in_so_many(drawn):
    assert len(drawn(validations=5, num_videos=1, interval=2)) == 2


def test_a_video_of_unknown_length_ends_with_its_last_segment(drawn):
    (_, options), = drawn(num_videos=1, data=dataset(None))
    assert options['duration_seconds'] == 9.0


def test_videos_are_those_of_the_first_items():
    assert list(first_videos(dataset(), 2)) == ['a', 'b']
    assert list(first_videos(dataset(), 9)) == ['a', 'b', 'c']


def test_refusals(tmp_path):
    hook = HOOKS.build(dict(type='DetectionVisualizationHook'))
    with pytest.raises(HookError, match="type='TimelineVisualizer', .*got str"):
        hook.before_train(SimpleNamespace(visualizer=''))
    hook.before_train(SimpleNamespace(visualizer=VISUALIZERS.build(dict(
        type='TimelineVisualizer', name=str(tmp_path)))))
    with pytest.raises(HookError, match='must be at least 1, got 0 and 1'):
        HOOKS.build(dict(type='DetectionVisualizationHook', num_videos=0))
