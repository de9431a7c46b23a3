"""Reading, checking and selecting annotations."""
from __future__ import annotations

import copy
import gzip
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp_tad.annotations import (
    AnnotationError,
    VideoAnnotation,
    check_annotation,
    num_out_of_range,
    read_annotations,
    scan_annotations,
)
from sbp_tad.errors import UserError

CLASSES = ('jump', 'throw')


def entry(*items: tuple, subset: str = 'training', **timing) -> dict:
    annotations = [{'segment': list(item[:2]), 'label': item[2]} for item in items]
    return {'subset': subset, **timing, 'annotations': annotations}


def video(*items: tuple, duration: float | None = 10.0) -> VideoAnnotation:
    segments = np.array([item[:2] for item in items], dtype=np.float64).reshape(-1, 2)
    return VideoAnnotation('v', 'test', duration, 10.0, None, segments,
                           tuple(item[2] for item in items))


def test_reads_segments_in_file_order_with_every_label(write_annotation):
    path = write_annotation({'v': entry((5, 7, 'jump'), (1, 2.5, 'Ambiguous'), duration=9,
                                        fps=25, frames=225)})
    result = read_annotations(path)['v']
    np.testing.assert_array_equal(result.segments_seconds, [[5, 7], [1, 2.5]])
    assert result.segments_seconds.dtype == np.float64
    assert result.labels == ('jump', 'Ambiguous')
    assert (result.duration_seconds, result.fps, result.num_frames) == (9.0, 25.0, 225)
    assert len(result) == 2


def test_video_without_actions_has_an_empty_array(write_annotation):
    result = read_annotations(write_annotation({'v': entry(duration=3)}))['v']
    assert result.segments_seconds.shape == (0, 2)
    assert result.fps is None and result.num_frames is None


@pytest.mark.parametrize('timing, expected', [
    (dict(fps=10, num_frames=50), (5.0, 10.0, 50)),
    (dict(duration=5, frame=50), (5.0, 10.0, 50)),
    (dict(duration=5, fps=10), (5.0, 10.0, None)),
    (dict(duration=5, fps=None), (5.0, None, None)),
])
def test_timing_follows_from_the_other_two(write_annotation, timing, expected):
    result = read_annotations(write_annotation({'v': entry(**timing)}))['v']
    assert (result.duration_seconds, result.fps, result.num_frames) == expected


def test_reads_gzip(tmp_path):
    path = tmp_path / 'a.json.gz'
    with gzip.open(path, 'wt') as file:
        json.dump({'database': {'v': entry((0, 1, 'jump'))}}, file)
    assert read_annotations(path)['v'].labels == ('jump',)


def test_subsets_match_in_any_case_only_where_none_is_equal(write_annotation):
    path = write_annotation({'a': entry(subset='Validation'), 'b': entry(subset='Test')})
    assert [video.subset for video in read_annotations(path, ['test']).values()] == ['test']
    path = write_annotation({'a': entry(subset='test'), 'b': entry(subset='Test')})
    assert list(read_annotations(path, ['Test'])) == ['b']


def test_subsets_match_by_equality(write_annotation):
    path = write_annotation({'a': entry(subset='training'), 'b': entry(subset='train'),
                             'c': entry(subset='test')})
    assert list(read_annotations(path, ['train'])) == ['b']
    assert list(read_annotations(path, 'train')) == ['b']
    assert list(read_annotations(path, ['training', 'test'])) == ['a', 'c']
    with pytest.raises(AnnotationError, match=r"no video is in subset 'tests'.*"
                                              r"\['test', 'train', 'training'\]"):
        read_annotations(path, ['tests'])
    with pytest.raises(AnnotationError, match='none given'):
        read_annotations(path, [])


GOOD_ITEM = {'segment': [0, 1], 'label': 'jump'}


@pytest.mark.parametrize('change, message', [
    (lambda e: e['annotations'].append('x'), r"\['v'\]\.annotations\[1\]: expected an object"),
    (lambda e: e['annotations'].append({**GOOD_ITEM, 'segment': [1]}),
     r"\.annotations\[1\]: 'segment' must be two finite numbers"),
    (lambda e: e['annotations'].append({**GOOD_ITEM, 'segment': [1, float('nan')]}),
     'two finite numbers.*nan'),
    (lambda e: e['annotations'].append({**GOOD_ITEM, 'segment': [0, float('inf')]}), 'inf'),
    (lambda e: e['annotations'].append({**GOOD_ITEM, 'segment': ['0', '1']}), 'two finite'),
    (lambda e: e['annotations'].append({**GOOD_ITEM, 'segment': [False, True]}), 'two finite'),
    (lambda e: e['annotations'].append({'segment': [0, 1]}), "'label' must be a string, got None"),
    (lambda e: e['annotations'].append({**GOOD_ITEM, 'label': 3}), 'must be a string, got 3'),
    (lambda e: e.update(annotations=None), r"'annotations' must be a list \(\[\]"),
    (lambda e: e.pop('annotations'), "'annotations' must be a list"),
    (lambda e: e.pop('subset'), "'subset' must be a string, got None"),
    (lambda e: e.update(duration=0), "'duration' must be a number above 0, got 0"),
    (lambda e: e.update(fps=float('nan')), "'fps' must be a number above 0, got nan"),
    (lambda e: e.update(frames='many'), "'frames' must be a number above 0, got 'many'"),
])
def test_structural_faults_name_file_video_and_entry(write_annotation, change, message):
    fault = copy.deepcopy(entry((0, 1, 'jump')))
    change(fault)
    path = write_annotation({'v': fault})
    with pytest.raises(AnnotationError, match=message) as error:
        read_annotations(path)
    assert str(path) in str(error.value) and "'v'" in str(error.value)


@pytest.mark.parametrize('text, message', [
    ('{', 'cannot be read as JSON'),
    ('[]', 'expected.*database.*got a list'),
    ('{"results": {}}', r"got an object with the keys \['results'\]"),
    ('{"database": {}}', 'at least one video'),
    ('{"database": {"v": 3}}', 'expected an object, got 3'),
])
def test_broken_files_are_named(tmp_path, text, message):
    path = tmp_path / 'broken.json'
    path.write_text(text)
    with pytest.raises(AnnotationError, match=message) as error:
        read_annotations(path)
    assert str(path) in str(error.value)


def test_scan_reads_the_sound_part_and_lists_every_fault(tmp_path):
    good = '{"segment": [0, 1], "label": "jump"}'
    path = tmp_path / 'faulty.json'
    path.write_text(
        f'{{"database": {{"a": {{"subset": "x", "annotations": [3, {good}, {{"segment": [1]}}]}},'
        ' "b": {"annotations": []}, "c": {"subset": "x", "annotations": [], "subset": "y"},'
        f' "d": 5, "a": {{"subset": "x", "fps": 25, "annotations": [3, {good}]}}}}}}')
    videos, faults = scan_annotations(path)
    assert list(videos) == ['a', 'c'] and videos['a'].labels == ('jump',)
    assert videos['c'].subset == 'y'
    assert [video_id for video_id, _ in faults] == ['subset', 'a', 'a', 'b', 'd']
    for (_, sentence), part in zip(faults, ("'subset' occurs 2 times", "'a' occurs 2 times",
                                            r"annotations[0]: expected", "'subset' must be",
                                            'expected an object, got 5')):
        assert part in sentence and str(path) in sentence


def test_scan_of_a_sound_file_is_reading_it(thumos14_sample):
    videos, faults = scan_annotations(thumos14_sample)
    assert faults == [] and list(videos) == list(read_annotations(thumos14_sample))
    with pytest.raises(AnnotationError, match='no such annotation file'):
        scan_annotations('nothing.json')


def test_missing_or_truncated_file(tmp_path):
    with pytest.raises(AnnotationError, match='nothing.json: no such annotation file'):
        read_annotations(tmp_path / 'nothing.json')
    path = tmp_path / 'cut.json.gz'
    path.write_bytes(gzip.compress(b'{"database": {}}' * 99)[:20])
    with pytest.raises(AnnotationError, match='cannot be read as JSON'):
        read_annotations(path)


def test_select_without_only():
    sample = video((0, 1, 'jump'), (1, 2, 'Ambiguous'), (2, 3, 'throw'))
    assert sample.without({'Ambiguous'}).labels == ('jump', 'throw')
    np.testing.assert_array_equal(sample.only(['throw']).segments_seconds, [[2, 3]])
    assert len(sample) == 3, 'the original is untouched'


def test_check_takes_out_ignored_labels_whatever_they_hold():
    checked = check_annotation(video((0, 1, 'jump'), (8, 2, 'Ambiguous')), CLASSES, ['Ambiguous'])
    assert checked.labels == ('jump',)


@pytest.mark.parametrize('item, message', [
    ((0, 1, 'Jump'), r"\['v'\]\.annotations\[1\]: unknown label 'Jump'; the classes are"),
    ((2, 2, 'jump'), r'annotations\[1\]: a segment must start before it ends, got \[2, 2\]'),
    ((3, 2, 'jump'), 'must start before it ends'),
    ((9, 10.5, 'jump'), r"\[9, 10.5\] s lies outside the video, which lasts 10 s.*'clip'"),
    ((-0.5, 1, 'jump'), 'lies outside the video'),
])
def test_check_refuses(item, message):
    with pytest.raises(AnnotationError, match=message):
        check_annotation(video((0, 1, 'Ambiguous'), item), CLASSES, ['Ambiguous'])


def test_check_clips_or_drops_when_asked():
    sample = video((9, 12, 'jump'), (11, 12, 'throw'), (-1, 1, 'throw'))
    checked = check_annotation(sample, CLASSES, out_of_range='clip')
    np.testing.assert_array_equal(checked.segments_seconds, [[9, 10], [0, 1]])
    assert checked.labels == ('jump', 'throw')
    assert num_out_of_range(sample) == 3
    with pytest.raises(AnnotationError, match="'error' or 'clip', got 'cut'"):
        check_annotation(sample, CLASSES, out_of_range='cut')


def test_tolerance_forgives_rounding():
    sample = video((9, 10.04, 'jump'))
    checked = check_annotation(sample, CLASSES, tolerance_seconds=0.05)
    np.testing.assert_array_equal(checked.segments_seconds, [[9, 10]])
    assert num_out_of_range(sample, 0.05) == 0 and num_out_of_range(sample) == 1


def test_unknown_duration_has_no_end():
    sample = video((5, 500, 'jump'), duration=None)
    np.testing.assert_array_equal(
        check_annotation(sample, CLASSES).segments_seconds, [[5, 500]])
    with pytest.raises(AnnotationError, match='lasts an unknown time'):
        check_annotation(video((-5, 5, 'jump'), duration=None), CLASSES)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(-20, 30), st.floats(0.01, 20), st.sampled_from(CLASSES))))
def test_clipped_segments_lie_inside_and_keep_their_label(items):
    sample = video(*((start, start + length, label) for start, length, label in items))
    checked = check_annotation(sample, CLASSES, out_of_range='clip')
    starts, ends = checked.segments_seconds.T
    assert (0 <= starts).all() and (starts < ends).all() and (ends <= 10).all()
    inside = [label for start, length, label in items
              if max(start, 0) < min(start + length, 10)]
    assert list(checked.labels) == inside


def test_error_survives_a_worker():
    error = pickle.loads(pickle.dumps(AnnotationError('a sentence')))
    assert str(error) == 'a sentence'
    assert isinstance(error, UserError) and isinstance(error, ValueError)


def test_real_sample(thumos14_sample):
    validation = read_annotations(thumos14_sample, ['validation'])
    test = read_annotations(thumos14_sample, ['test'])
    assert len(validation) == len(test) == 6
    assert set(test['video_test_0001292'].labels) == {'Ambiguous'}
    assert num_out_of_range(test['video_test_0000270']) == 22
    assert validation['video_validation_0000311'].fps == 25


def test_videos_of_other_subsets_need_no_annotations(write_annotation):
    """Published files often list their unlabelled test videos without any."""
    path = write_annotation(dict(a=dict(subset='val', annotations=[]), b=dict(subset='test')))
    assert list(read_annotations(path, 'val')) == ['a']
    with pytest.raises(AnnotationError, match="'b'.*'annotations' must be a list"):
        read_annotations(path)
    with pytest.raises(AnnotationError, match=r"holds the subsets \['test', 'val'\]"):
        read_annotations(path, 'train')


def test_numbers_may_be_strings(write_annotation):
    """HACS Segments writes its durations so."""
    entry = dict(subset='val', duration='92.166667', annotations=[])
    assert read_annotations(write_annotation(dict(a=entry)))['a'].duration_seconds == 92.166667
    for wrong in ('long', '-1', 'nan'):
        with pytest.raises(AnnotationError, match=f"must be a number above 0, got '{wrong}'"):
            read_annotations(write_annotation(dict(a=dict(entry, duration=wrong))))


@pytest.mark.parametrize('text, key', [
    ('{"database": {"a": {"subset": "x", "annotations": []}, "a": {"subset": "x"}}}', 'a'),
    ('{"database": {"a": {"subset": "x", "annotations": [], "annotations": []}}}', 'annotations'),
    ('{"database": {"a": {"subset": "x", "annotations": '
     '[{"segment": [0, 1], "label": "a", "label": "b"}]}}}', 'label'),
    ('{"database": {"b": {}}, "database": {"a": {"subset": "x", "annotations": []}}}', 'database')])
def test_a_key_that_occurs_twice_is_refused(tmp_path, text, key):
    """JSON readers keep the last value alone, so annotations would be lost."""
    path = tmp_path / 'twice.json'
    path.write_text(text)
    with pytest.raises(AnnotationError, match=f"twice.json: the key '{key}' occurs 2 times"):
        read_annotations(path)


def test_a_key_that_is_not_read_may_occur_twice(tmp_path):
    path = tmp_path / 'twice.json'
    path.write_text('{"note": 1, "note": 2, "database": {"a": {"subset": "x", "url": "", "url": "",'
                    '"annotations": []}}}')
    assert list(read_annotations(path)) == ['a']


def test_segments_of_zero_length_can_be_left_out(write_annotation):
    video = read_annotations(write_annotation({'a': dict(subset='x', annotations=[
        dict(segment=[1, 1], label='a'), dict(segment=[1, 2], label='b')])}))['a']
    assert len(video) == 2 and video.without_empty().labels == ('b', )


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_encodings_with_a_mark_are_read(tmp_path, encoding):
    path = tmp_path / 'a.json'
    path.write_text('{"database": {"gießen": {"subset": "test", "annotations": []}}}',
                    encoding=encoding)
    assert list(read_annotations(path)) == ['gießen']
    path.write_text('{"database": {"gießen": {}}}', encoding='latin-1')
    with pytest.raises(AnnotationError, match='not text in UTF-8 or UTF-16 .*Save it as UTF-8'):
        read_annotations(path)
