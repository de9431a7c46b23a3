"""Scores of a video-level classifier: the published arithmetic, the files, the refusals."""
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.score_fusion import ScoreFusion, fuse_scores, read_video_scores

CLASSES = ('jump', 'run', 'throw')
FOUND = (np.array([[0, 1], [2, 3], [4, 6.]]), np.array([0.9, 0.8, 0.4]), np.array([0, 1, 1]))


@pytest.mark.parametrize('method, scores', [('product', [0.4, 0.2, 0.09]),
                                            ('geometric_mean', np.sqrt([0.4, 0.2, 0.09]))])
def test_each_detection_meets_its_own_class(method, scores):
    segments, fused, labels = fuse_scores(FOUND, np.array([0.1, 0.5, 0.4]), method)
    np.testing.assert_allclose(fused, scores)
    assert labels.tolist() == [1, 1, 0] and segments.tolist() == [[2, 3], [4, 6], [0, 1]]


def test_proposals_get_the_best_classes_of_the_video():
    segments, fused, labels = fuse_scores(FOUND, np.array([0.1, 0.5, 0.4]), top_k=2)
    np.testing.assert_allclose(fused, [.45, .40, .36, .32, .20, .16])
    assert labels.tolist() == [1, 1, 2, 2, 1, 2]
    assert segments[:, 0].tolist() == [0, 2, 0, 2, 4, 4]


def test_more_classes_than_there_are_give_all():
    labels = fuse_scores(FOUND, np.array([0.1, 0.5, 0.4]), top_k=9)[2]
    assert sorted(labels) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 20), st.integers(0, 1000), st.sampled_from([None, 1, 2, 3]),
       st.sampled_from(['product', 'geometric_mean']))
def test_fusion_is_the_double_loop(number, seed, top_k, method):
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 9, number)
    found = np.stack([start, start + 1], 1), rng.random(number), rng.integers(0, 3, number)
    classes = rng.random(3)
    best = sorted(range(3), key=lambda name: -classes[name])[:top_k]
    slow = [(score * classes[name], name, *segment) for segment, score, label in zip(*found)
            for name in (best if top_k else [label])]
    segments, fused, labels = fuse_scores(found, classes, method, top_k)
    power = 2 if method == 'geometric_mean' else 1
    rows = np.column_stack([fused ** power, labels, segments]).reshape(-1, 4)
    np.testing.assert_allclose(sorted(rows.tolist()), sorted(slow), atol=1e-12)
    assert (np.diff(fused) <= 0).all()


@pytest.mark.parametrize('options, scores, message', [
    (dict(method='sum'), [1, 1, 1], "method of .*got 'sum' and None"),
    (dict(top_k=0), [1, 1, 1], "got 'product' and 0"),
    ({}, [1, -2, 1], 'finite and not negative .*got -2'),
    ({}, [1, np.nan, 1], 'finite and not negative')])
def test_what_cannot_be_fused(options, scores, message):
    with pytest.raises(EvaluationError, match=message):
        fuse_scores(FOUND, np.array(scores, dtype=float), **options)


def write_json(tmp_path, content):
    path = tmp_path / 'scores.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def write_table(tmp_path, scores, classes):
    path = tmp_path / 'scores.npz'
    np.savez(path, scores=scores, video_names=['a', 'b'], class_names=list(classes))
    return path


def test_the_three_forms_of_file_say_the_same(tmp_path):
    table = np.array([[0.2, 0.5, 0.0], [0.0, 0.1, 0.9]])
    forms = [write_table(tmp_path, table[:, ::-1], CLASSES[::-1]),
             write_json(tmp_path, {'a': {'jump': 0.2, 'run': 0.5}, 'b': {'run': 0.1, 'throw': .9}})]
    found = [read_video_scores(path, CLASSES) for path in forms]
    found.append(read_video_scores(write_json(tmp_path, {
        'class': ['run', 'jump', 'throw'], 'results': {'a': [.5, .2, 0], 'b': [.1, 0, .9]}}),
        CLASSES))
    for scores in found:
        np.testing.assert_array_equal([scores['a'], scores['b']], table)


def test_every_video_is_fused_with_its_own_scores(tmp_path):
    path = write_json(tmp_path, {'a': {'jump': 1.0}, 'b': {'run': 0.5}})
    fused = ScoreFusion(path, CLASSES, top_k=1).apply({'a': FOUND, 'b': FOUND})
    assert set(fused['a'][2]) == {0} and fused['a'][1].tolist() == [0.9, 0.8, 0.4]
    assert set(fused['b'][2]) == {1} and fused['b'][1].tolist() == [0.45, 0.4, 0.2]


def test_a_video_without_scores_is_named(tmp_path):
    fusion = ScoreFusion(write_json(tmp_path, {'a': {}}), CLASSES)
    with pytest.raises(EvaluationError, match='scores of 1 video, but not of 2 tested '
                       'videos: b, c. Give'):
        fusion.apply({'a': FOUND, 'b': FOUND, 'c': FOUND})


@pytest.mark.parametrize('content, message', [
    ({'a': {'swim': 0.5}}, 'scores of 1 class that the dataset does not have: swim. The'),
    ({'a': [0.5]}, 'expected {video: {class: score}}, or {"class"'),
    ({'class': ['run'], 'results': {'a': [1, 2]}}, 'expected {video'),
    ([1], 'expected {video'), ({'a': {'run': 'x'}}, 'finite numbers'), ('{', 'not valid JSON')])
def test_files_that_are_refused(tmp_path, content, message):
    with pytest.raises(EvaluationError, match=message):
        read_video_scores(write_json(tmp_path, content), CLASSES)


def test_tables_that_are_refused(tmp_path):
    with pytest.raises(EvaluationError, match=r'per class \(2, 3\), got \(2, 2\)'):
        read_video_scores(write_table(tmp_path, np.ones((2, 2)), CLASSES), CLASSES)
    with pytest.raises(EvaluationError, match='has no scores of the classes throw'):
        read_video_scores(write_table(tmp_path, np.ones((2, 2)), CLASSES[:2]), CLASSES)
    with pytest.raises(EvaluationError, match='Cannot read the scores in .*No such file'):
        read_video_scores(tmp_path / 'none.json', CLASSES)
    with pytest.raises(EvaluationError, match='no such file of video-level scores'):
        read_video_scores(tmp_path / 'none.npz', CLASSES)
