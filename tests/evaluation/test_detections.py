"""Result files: every form is read, every fault is a sentence, nothing is rounded."""
import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp_tad.evaluation.detections import Detections, read_detections, write_detections
from sbp_tad.evaluation.errors import EvaluationError

ENTRY = {'segment': [1.0, 2.5], 'label': 'jump', 'score': 0.25}
RESULTS = {'v': [ENTRY, {'segment': [0, 3], 'label': 'run', 'score': 1}], 'w': [],
           'x': [{'segment': [0.5, 4], 'label': 'jump', 'score': -2.5}]}


def write(path, content):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == '.gz' else text)
    return path


@pytest.mark.parametrize('name', ['pred.json', 'pred.json.gz'])
@pytest.mark.parametrize('wrap', [True, False])
def test_all_forms_give_the_same_columns(tmp_path, name, wrap):
    content = {'version': 'any', 'results': RESULTS, 'external_data': {}} if wrap else RESULTS
    detections = read_detections(write(tmp_path / name, content))
    assert detections.video_ids == ('v', 'w', 'x')
    assert detections.labels == ('jump', 'run')
    assert detections.video_index.tolist() == [0, 0, 2]
    assert detections.label_index.tolist() == [0, 1, 0]
    assert detections.segments_seconds.tolist() == [[1, 2.5], [0, 3], [.5, 4]]
    assert detections.scores.tolist() == [.25, 1, -2.5]
    assert detections.segments_seconds.dtype == detections.scores.dtype == np.float64
    assert len(detections) == 3


def test_a_video_may_be_called_results(tmp_path):
    assert read_detections(write(tmp_path / 'p.json', {'results': [ENTRY]})).video_ids == (
        'results',)


@pytest.mark.parametrize('content', [{}, {'results': {}}, {'v': []}])
def test_no_detections_is_no_fault(tmp_path, content):
    detections = read_detections(write(tmp_path / 'p.json', content))
    assert len(detections) == 0
    assert detections.segments_seconds.shape == (0, 2)


times = st.floats(allow_nan=False, allow_infinity=False)
entries = st.fixed_dictionaries(
    dict(segment=st.lists(times, min_size=2, max_size=2), label=st.text(max_size=2), score=times))


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.text(max_size=3), st.lists(entries, max_size=4), max_size=3))
def test_what_is_written_is_read_bit_for_bit(tmp_path_factory, results):
    path = tmp_path_factory.mktemp('detections') / 'p.json.gz'
    write_detections(path, Detections.from_results(results))
    assert read_detections(path).to_results() == results


def test_equal_detections_give_equal_bytes(tmp_path):
    detections = Detections.from_results(RESULTS)
    for name in ('a.json.gz', 'b.json.gz'):
        write_detections(tmp_path / name, detections)
    assert (tmp_path / 'a.json.gz').read_bytes() == (tmp_path / 'b.json.gz').read_bytes()
    write_detections(tmp_path / 'c.json', detections)
    assert json.loads((tmp_path / 'c.json').read_text())['results'] == RESULTS


def test_arrays_of_videos_are_joined():
    videos = {'v': (np.array([[0, 1], [2, 3]]), np.array([.5, .25], dtype=np.float32),
                    np.array([1, 0])), 'w': (np.empty((0, 2)), np.empty(0), np.empty(0, int))}
    results = Detections.from_videos(videos, ['jump', 'run']).to_results()
    assert results == {'v': [{'segment': [0., 1.], 'label': 'run', 'score': .5},
                             {'segment': [2., 3.], 'label': 'jump', 'score': .25}], 'w': []}


@pytest.mark.parametrize('segment, score', [([0, np.inf], 1.), ([0, 1], np.nan)])
def test_arrays_must_be_finite(segment, score):
    with pytest.raises(EvaluationError, match="must be finite; video 'v' has"):
        Detections.from_videos({'v': (np.array([segment]), np.array([score]), np.array([0]))},
                               ['jump'])


@pytest.mark.parametrize('change, message', [
    ({'score': float('nan')}, '"score" must be a finite number, got nan'),
    ({'score': float('inf')}, '"score" must be a finite number, got inf'),
    ({'score': '0.5'}, '"score" must be a finite number, got \'0.5\''),
    ({'score': None}, '"score" must be a finite number, got None'),
    ({'score': True}, '"score" must be a finite number, got True'),
    ({'score': [0.5]}, '"score" must be a finite number'),
    ({'score': 10 ** 400}, '"score" must be a finite number'),
    ({'segment': [1.0]}, '"segment" must be [start, end], two finite numbers'),
    ({'segment': [1.0, 2.0, 3.0]}, '"segment" must be [start, end]'),
    ({'segment': [1.0, float('nan')]}, '"segment" must be [start, end]'),
    ({'segment': ['1', '2']}, '"segment" must be [start, end]'),
    ({'segment': 3}, '"segment" must be [start, end]'),
    ({'segment': None}, '"segment" must be [start, end]'),
    ({'label': 7.5}, '"label" must be a string or an integer, got 7.5'),
    ({'label': ['jump']}, '"label" must be a string'),
])
@pytest.mark.parametrize('before', [[], [ENTRY]])
def test_malformed_entries_are_named(tmp_path, change, message, before):
    path = write(tmp_path / 'p.json', {'results': {'v': [*before, {**ENTRY, **change}]}})
    with pytest.raises(EvaluationError) as caught:
        read_detections(path)
    assert f"{path}: 'v', entry {len(before)}: {message}" in str(caught.value)


@pytest.mark.parametrize('entry', [[0, 1], 'x', None, {'segment': [0, 1], 'label': 'jump'}])
def test_entries_need_all_three_keys(tmp_path, entry):
    with pytest.raises(EvaluationError, match='entry 0: expected an object with "segment"'):
        read_detections(write(tmp_path / 'p.json', {'v': [entry]}))


@pytest.mark.parametrize('content, message', [
    ([ENTRY], 'is a list whose entry 0 names no video'),
    ({'results': 3}, r'expected \{"results": .* got int'),
    ({'v': ENTRY}, "'v': expected a list of detections, got dict"),
    ({'version': '1'}, 'has a "version" but no "results"; it holds version'),
    ({'database': {'v': {}}}, r'holds annotations \("database"\), not detections'),
    (b'{"v": [', 'is not valid JSON'),
    (b'\xff\xfe\x00', 'is not text in UTF-8: .*Save it as UTF-8'),
    (b'[' * 100_000, 'is not valid JSON'),
    (b'\x1f\x8b cut off', 'Cannot read the detections in'),
])
def test_malformed_files_are_named(tmp_path, content, message):
    path = write(tmp_path / 'p.json', content)
    with pytest.raises(EvaluationError, match=message) as caught:
        read_detections(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_unwritable_folder(tmp_path):
    with pytest.raises(EvaluationError, match='Cannot read .*none.json: No such file'):
        read_detections(tmp_path / 'none.json')
    with pytest.raises(EvaluationError, match='Cannot write .*No such file'):
        write_detections(tmp_path / 'none' / 'p.json', Detections.from_results({}))


def test_integers_beyond_64_bits_are_numbers(tmp_path):
    path = write(tmp_path / 'p.json', {'v': [{**ENTRY, 'score': 10 ** 30}]})
    assert read_detections(path).scores.tolist() == [1e30]


@pytest.mark.parametrize('label', [2, -1])
def test_a_label_index_beyond_the_classes_is_named(label):
    """A head with more classes than the dataset has."""
    columns = np.array([[0., 1.], [2., 3.]]), np.array([.5, .4]), np.array([1, label])
    with pytest.raises(EvaluationError, match=f"Detection 1, in video 'v', has label index {label}"
                       ', but there are 2 labels.*Set num_classes of the head'):
        Detections.from_videos({'v': columns}, ['jump', 'run'])


def test_numbers_of_numpy_are_numbers():
    found = Detections.from_results({'v': [dict(segment=[np.float64(1), 2], label='a',
                                                score=np.float64(0.5))]})
    assert found.segments_seconds.tolist() == [[1, 2]] and found.scores.tolist() == [0.5]
