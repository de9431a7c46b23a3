"""Corrections of names and units, and what they refuse."""
import json

import numpy as np
import pytest

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.class_lists import numbers_of_annotation, read_class_list
from sbp_tad.evaluation.corrections import (
    convert_times,
    map_labels,
    map_video_ids,
    name_labels,
    unconvert_times,
)
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.time_units import TIME_UNITS, TimeUnit


def detections(**videos):
    return Detections.from_results({name: [
        dict(segment=list(segment), label=label, score=0.5) for label, *segment in rows]
        for name, rows in videos.items()})


def video(name, duration=None, fps=None):
    return VideoAnnotation(name, 'test', duration, fps, None, np.empty((0, 2)), ())


def test_videos_are_renamed_and_the_others_kept():
    found = map_video_ids(detections(v_a=[('x', 0, 1)], b=[], other=[('x', 2, 3)]), {'a', 'b'})
    assert found.video_ids == ('a', 'b', 'other')
    with pytest.raises(EvaluationError, match="no video id matches .* have 'c'; .* has 'a', 'b'"):
        map_video_ids(detections(c=[]), ['a', 'b'])
    with pytest.raises(EvaluationError, match="'a', 'v_a' are the same video 'a'"):
        map_video_ids(detections(a=[], v_a=[]), {'a'})


def test_labels_that_get_the_same_name_become_one():
    found = map_labels(detections(v=[('Long Jump', 0, 1), ('long_jump', 1, 2), ('x', 2, 3)]),
                       {'LongJump'})
    assert found.labels == ('LongJump', 'x') and found.label_index.tolist() == [0, 0, 1]
    with pytest.raises(EvaluationError, match='no label matches a class'):
        map_labels(detections(v=[('x', 0, 1)]), {'y'})


def test_numbers_become_names():
    found = name_labels(detections(v=[(1, 0, 1), ('0', 1, 2)]), {'0': 'a', '1': 'b'})
    assert [found.labels[i] for i in found.label_index] == ['b', 'a']
    with pytest.raises(EvaluationError, match="labels '2', but the 2 classes have the numbers 0 "):
        name_labels(detections(v=[(2, 0, 1)]), {'0': 'a', '1': 'b'})


def test_times_are_converted():
    found = detections(a=[('x', 10, 20)], b=[('x', 10, 20)], other=[('x', 1, 2)])
    truth = {'a': video('a', 40.0, 10.0), 'b': video('b', 80.0, 20.0)}

    def seconds(*unit):
        return convert_times(found, truth, TimeUnit(*unit)).segments_seconds.tolist()
    assert seconds('seconds') == [[10, 20], [10, 20], [1, 2]]
    assert seconds('milliseconds') == pytest.approx(np.array([[.01, .02], [.01, .02],
                                                              [.001, .002]]))
    assert seconds('frames') == [[1, 2], [0.5, 1], [1, 2]]
    assert seconds('frames', 5.0) == pytest.approx(np.array([[2, 4], [2, 4], [.2, .4]]))
    assert seconds('frames', None, 4) == [[4, 8], [2, 4], [1, 2]]
    assert seconds('fraction') == [[400, 800], [800, 1600], [1, 2]]
    assert seconds('percent')[:2] == pytest.approx(np.array([[4, 8], [8, 16]]))
    assert seconds('minutes') == [[600, 1200], [600, 1200], [60, 120]]


@pytest.mark.parametrize('name', TIME_UNITS)
def test_a_conversion_is_undone(name):
    found, unit = detections(a=[('x', 10, 20)], other=[('x', 1, 2)]), TimeUnit(name)
    truth = {'a': video('a', 40.0, 10.0)}
    there = convert_times(found, truth, unit)
    assert unconvert_times(there, truth, unit).segments_seconds == pytest.approx(
        found.segments_seconds)


@pytest.mark.parametrize('unit, message', [
    ('frames', "--time-unit frames: the annotation has no frame rate of 'a'. Give --fps, or add"),
    ('fraction', "--time-unit fraction: the annotation has no duration of 'a'. Add .duration.")])
def test_unknown_timing_is_named(unit, message):
    truth = {'a': video('a'), 'b': video('b')}  # b has no detection
    with pytest.raises(EvaluationError, match=message):
        convert_times(detections(a=[('x', 0, 1)], b=[]), truth, TimeUnit(unit))


@pytest.mark.parametrize('text', [
    'run\nlong jump\n', '0 run\n1 long jump', '1,long jump\n0,run\n', '["run", "long jump"]',
    '{"run": 0, "long jump": 1}', '{"0": "run", "1": "long jump"}',
    'id,key,instances\n0,run,"[1, 2]"\n1,long jump,[]\n'])
def test_class_lists(tmp_path, text):
    path = tmp_path / 'classes.txt'
    path.write_text(text)
    assert read_class_list(path) == {'0': 'run', '1': 'long jump'}


@pytest.mark.parametrize('text, message', [
    ('', 'got 0 lines'), ('1 a\n1 b', 'got 2 lines with 1 different numbers'),
    ('{"a": "b"}', 'expected a list of class names'), ('[1', 'is not valid JSON')])
def test_class_lists_that_are_refused(tmp_path, text, message):
    path = tmp_path / 'classes.txt'
    path.write_text(text)
    with pytest.raises(EvaluationError, match=message):
        read_class_list(path)
    with pytest.raises(EvaluationError, match='Cannot read the class names in .*No such file'):
        read_class_list(tmp_path / 'none.txt')


def test_label_ids_of_the_annotation(tmp_path):
    items = [dict(segment=[0, 1], label='b', label_id=1), dict(segment=[0, 1], label='a',
                                                               label_id=0)]
    path = tmp_path / 'gt.json'
    path.write_text(json.dumps(dict(database=dict(v=dict(annotations=items)))))
    assert list(numbers_of_annotation(path).items()) == [('0', 'a'), ('1', 'b')]
    items[1]['label_id'] = 1
    path.write_text(json.dumps(dict(database=dict(v=dict(annotations=items)))))
    with pytest.raises(EvaluationError, match="label_id 1 is both 'b' and 'a'"):
        numbers_of_annotation(path)
