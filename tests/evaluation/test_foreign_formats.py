"""Tables, text and pickles of other code bases: what is read and what is refused."""
import json
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from sbp_tad.evaluation.detections import read_detections
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.json_files import read_json

EXPECTED = {'v': [dict(segment=[1.0, 2.5], label='run', score=0.5),
                  dict(segment=[3.0, 4.0], label='7', score=0.25)]}


def read(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_detections(path).to_results()


@pytest.mark.parametrize('name, text', [
    ('p.csv', 'video-id,t-start,t-end,label,score\nv,1,2.5,run,.5\nv,3,4,7,.25\n'),
    ('p.csv', '\ufeffscore;label;end;start;video\n.5;run;2.5;1;v\n\n.25;7.0;4;3;v\n'),
    ('p.tsv', 'Video_Name\tStart Time\tEnd Time\tClass\tConfidence\nv\t1\t2.5\trun\t.5\n'
              'v\t3\t4\t7\t.25'),
    ('p.txt', 'v 1.0 2.5 run 0.5\nv\t3 4 7 .25\n'),
    ('p.txt', 'v, 1.0, 2.5, run, 0.5\n\nv,3,4,7,.25')])
def test_tables(tmp_path, name, text):
    assert read(tmp_path, name, text) == EXPECTED


@pytest.mark.parametrize('name, text, message', [
    ('p.csv', 'xmin,xmax,score\n1,2,.5\n', 'no column for video, start, end; it is xmin, xmax'),
    ('p.csv', 't-start,t-end,score\n1,2,.5\n', 'no column for video; .* join the tables of all'),
    ('p.csv', '', 'no column for video, start, end, score; it is empty'),
    ('p.csv', 'video,start,end,score\nv,1,2\n', 'line 2: expected at least 4 columns, got 3'),
    ('p.csv', 'video,start,end,score\nv,1,x,.5\n', "line 2: end must be a finite number, got 'x'"),
    ('p.csv', 'video,start,end,score\nv,1,2,nan\n', 'line 2: score must be a finite number'),
    ('p.csv', b'\xe9', 'is not text in UTF-8 .*Save it as UTF-8; spreadsheets'),
    ('p.csv', b'\xff\xfe\xe9', 'is not text in UTF-8 or UTF-16'),
    ('p.json', b'{"\xe9": []}', 'is not text in UTF-8.*Save it as UTF-8'),
    ('p.txt', 'v 1 2 .5\n', 'line 1: expected "video start end class score", got 4 values')])
def test_tables_that_are_refused(tmp_path, name, text, message):
    with pytest.raises(EvaluationError, match=f'{name}.*{message}'):
        read(tmp_path, name, text)


def columns(**changes):
    return {'video-id': ['v', 'v'], 't-start': np.array([1, 3], np.float32),
            't-end': np.array([2.5, 4]), 'label': np.array(['run', '7']),
            'score': [np.float64(0.5), 0.25], **changes}


@pytest.mark.parametrize('protocol', [0, 2, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize('content', [
    columns(), OrderedDict(columns()), columns(label=np.array(['run', 7], dtype=object)),
    {'results': EXPECTED}, EXPECTED])
def test_pickles(tmp_path, protocol, content):
    assert read(tmp_path, 'p.pkl', pickle.dumps(content, protocol)) == EXPECTED


def test_a_pickle_without_labels_holds_proposals(tmp_path):
    content = columns()
    del content['label']
    assert [found['label'] for found in read(tmp_path, 'p.pkl', pickle.dumps(content))['v']] == \
        ['', '']


class Attack:
    def __reduce__(self):
        return os.mkdir, ('attacked', )


@pytest.mark.parametrize('content, message', [
    (Attack(), r'not a pickle of plain columns \((posix|nt).mkdir\)'),
    (columns(score=np.array([Attack(), 0], dtype=object)), 'plain columns .*mkdir'),
    (columns(score=[0.5]), "columns differ in length: .*'score': 1"),
    (columns(score=[0.5, None]), 'row 1: score must be a finite number, got None'),
    ([1, 2], 'got a list. Raw predictions of OpenTAD hold no video names'),
    (dict(verb=1), 'got the keys verb')])
def test_pickles_that_are_refused(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EvaluationError, match=message):
        read(tmp_path, 'p.pkl', pickle.dumps(content))
    assert not (tmp_path / 'attacked').exists()


def test_pickled_tensors_are_named(tmp_path):
    torch = pytest.importorskip('torch')
    with pytest.raises(EvaluationError, match='torch: convert tensors with .numpy'):
        read(tmp_path, 'p.pkl', pickle.dumps([torch.zeros(2, 2)]))


@pytest.mark.parametrize('content', [b'', b'text', pickle.dumps(columns())[:60]])
def test_damaged_pickles_are_named(tmp_path, content):
    with pytest.raises(EvaluationError, match='p.pkl is not a pickle'):
        read(tmp_path, 'p.pkl', content)


def test_an_absent_file_is_named(tmp_path):
    for name in ('p.pkl', 'p.csv', 'p.txt'):
        with pytest.raises(EvaluationError, match=f'Cannot read .*{name}: No such file'):
            read_detections(tmp_path / name)


def test_lists_of_mmaction(tmp_path):
    text = ('[{"video_name": "v", "proposal_list": [{"score": 0.5, "segment": [1, 2]}]}, '
            '{"video": "w", "t-start": 1, "t-end": 2, "label": "a", "confidence": 1}]')
    found = read(tmp_path, 'p.json', text)
    assert found['v'] == [dict(segment=[1.0, 2.0], label='', score=0.5)]
    assert found['w'] == [dict(segment=[1.0, 2.0], label='a', score=1.0)]


def test_the_list_of_inference(tmp_path):
    detection = dict(start_seconds=1.0, end_seconds=2.5, label='run', score=0.5)
    text = json.dumps([dict(video_id='v', duration_seconds=9.0, detections=[detection]),
                       dict(video_id='w', duration_seconds=9.0, detections=[])])
    assert read(tmp_path, 'videos.json', text) == {'v': EXPECTED['v'][:1], 'w': []}


@pytest.mark.parametrize('content, message', [
    (pickle.dumps(columns()), 'It is a pickle: name it .pkl'),
    (b'PK\x03\x04...', 'tools/tune_nms.py reads raw predictions'),
    (b'\x89HDF...', 'HDF5'), (b'\x93NUMPY...', 'a numpy array')])
def test_other_files_under_the_name_of_json(tmp_path, content, message):
    with pytest.raises(EvaluationError, match=f'p.json is not JSON. .*{message}'):
        read(tmp_path, 'p.json', content)


@pytest.mark.parametrize('entry', [3, None, [1], dict(video_id='v', segment=3, score=1)])
def test_lists_of_something_else_are_refused(tmp_path, entry):
    with pytest.raises(EvaluationError, match='names no video|must be .start, end.'):
        read(tmp_path, 'p.json', json.dumps([entry]))


def test_keys_that_occur_twice_are_named(tmp_path):
    (tmp_path / 'p.json').write_text('{"a": 1, "b": {"a": 2, "a": 3, "a": 4}, "b": 2}')
    with pytest.raises(EvaluationError, match=r"more than once: 'a' \(3 times\), 'b' \(2 times\)"):
        read_json(tmp_path / 'p.json', 'detections')


def test_a_column_that_occurs_twice_is_refused(tmp_path):
    path = tmp_path / 'pred.csv'
    path.write_text('video_id,start,end,label,label,score\nv,0,1,a,b,0.5\n')
    with pytest.raises(EvaluationError, match='a column more than once: label. Remove'):
        read_detections(path)
