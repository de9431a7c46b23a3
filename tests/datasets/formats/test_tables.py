"""CSV and EPIC tables to ActivityNet's form and back through the reader."""
from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp_tad.annotations import read_annotations
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.tables import Row, parse_seconds, read_csv, read_epic, to_database

TABLE = '''\
video,label,start,end,subset,fps,duration,who
a,pour,1.5,4,training,25,60,me
b, stir ,0:10,1:02.5,test,,,me

a,"stir, slowly",00:00:05,6,,,60.0,you
c,,,,test,30,12.5,
'''


@pytest.fixture
def write(tmp_path):
    def write(text, name='table.csv'):
        path = tmp_path / name
        path.write_text(text)
        return path
    return write


def back(tmp_path, rows, subset='training'):
    """Through the file to what the dataset will see."""
    path = tmp_path / 'out.json'
    path.write_text(json.dumps(to_database(rows, subset)))
    return read_annotations(path)


def test_csv_round_trip(write, tmp_path):
    videos = back(tmp_path, read_csv(write(TABLE)), subset='other')
    assert list(videos) == ['a', 'b', 'c']
    a, b, c = videos.values()
    assert (a.subset, a.fps, a.duration_seconds) == ('training', 25, 60)
    assert a.labels == ('pour', 'stir, slowly')
    assert a.segments_seconds.tolist() == [[1.5, 4], [5, 6]]
    assert (b.subset, b.fps, b.labels) == ('test', None, ('stir',))
    assert b.segments_seconds.tolist() == [[10, 62.5]]
    assert (c.subset, len(c), c.duration_seconds) == ('test', 0, 12.5)


def test_subset_of_rows_that_name_none(write, tmp_path):
    path = write('video;start;end;label\nv;1;2;x\n')
    assert back(tmp_path, read_csv(path, ';'), 'validation')['v'].subset == 'validation'


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.sampled_from('uvw'), st.integers(0, 10**7), st.integers(0, 10**7),
                          st.sampled_from(['x', 'y,"z', 'ö']))))
def test_any_segments_come_back(tmp_path_factory, items):
    rows = [Row(str(i), video, label, start / 1000, end / 1000)
            for i, (video, start, end, label) in enumerate(items)] + [Row('last', 'v')]
    folder = tmp_path_factory.mktemp('rows')
    videos = back(folder, rows)
    found = [(key, *segment, label) for key, video in videos.items()
             for segment, label in zip(video.segments_seconds.tolist(), video.labels)]
    assert sorted(found) == sorted((row.video_id, row.start, row.end, row.label)
                                   for row in rows if row.label)


@pytest.mark.parametrize('text, seconds', [
    ('3', 3), ('3.25', 3.25), ('1:02.5', 62.5), ('00:08:01.47', 481.47), ('1:00:00', 3600),
    ('-2', -2), ('75.5', 75.5)])
def test_seconds(text, seconds):
    assert parse_seconds(text, '') == seconds


@pytest.mark.parametrize('text', ['', 'x', '1:2:3:4', '1:-2', 'nan', 'inf', '1.5:2', '1:x'])
def test_what_is_no_time(text):
    with pytest.raises(DatasetError, match='f.csv, line 3: expected seconds or .*got'):
        parse_seconds(text, 'f.csv, line 3')


HEADER = 'video,start,end,label\n'


@pytest.mark.parametrize('text, message', [
    ('', r"line 1: the columns \['video', 'start', 'end', 'label'\] are absent"),
    ('video,begin,end,label\n', r"line 1: the columns \['start'\] are absent.*got \['video', 'beg"),
    (HEADER + 'v,1,2,x\nv,1,2\n', 'line 3: expected 4 values, got 3. Quote'),
    (HEADER + 'v,1,2,x,y\n', 'line 2: expected 4 values, got 5'),
    (HEADER + 'v,1,,x\n', 'line 2: end is empty'),
    (HEADER + ',1,2,x\n', 'line 2: video is empty'),
    (HEADER + 'v,one,2,x\n', "line 2: expected seconds .* got 'one'"),
    (HEADER + 'v,1,2,"x\n', 'line 2: not a table .*Check the quotes'),
    ('fps,' + HEADER + '0,v,1,2,x\n', "line 2: fps must be a number above 0, got '0'"),
    ('fps,' + HEADER + '5,v,1,2,x\n5,v,1,2,x\n6,v,3,4,x\n',
     "line 4: fps of video 'v' is 6.0, but .*line 2 says 5.0. Write the same"),
    ('subset,' + HEADER + 'train,v,1,2,x\ntest,v,1,2,x\n', 'line 3: subset of video'),
    (HEADER, 'no annotated video was found'),
])
def test_csv_faults_name_file_and_line(write, text, message):
    with pytest.raises(DatasetError, match=message) as error:
        to_database(read_csv(write(text)))
    assert 'table.csv' in str(error.value) or 'no annotated' in message


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DatasetError, match='none.csv: cannot be read .No such file'):
        list(read_csv(tmp_path / 'none.csv'))
    (tmp_path / 'binary.csv').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(DatasetError, match='binary.csv: cannot be read'):
        list(read_csv(tmp_path / 'binary.csv'))


EPIC = '''\
narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,\
start_frame,stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes
P01_01_0,P01,P01_01,00:00:01.089,00:00:00.14,00:00:03.37,8,202,open door,open,3,door,3,\
['door'],[3]
P01_01_1,P01,P01_01,00:00:02.629,00:00:04.37,00:01:06.17,262,370,"turn on light, left",turn-on,6,\
light,114,"['light', 'left']","[114, 2]"
P02_03_0,P02,P02_03,00:00:00.500,01:00:00.00,01:00:01.50,1,2,open tap,open,3,tap,0,['tap'],[0]
'''
VERBS = '''\
id,key,instances,category
3,open,"['open', 'unlock']",access
6,turn-on,[],manipulate
'''
INFO = 'video_id,duration,fps,resolution\nP01_01,1652.152817,59.94,1920x1080\n'


@pytest.mark.parametrize('label, labels', [
    ('verb', ('3', '6')), ('noun', ('3', '114')), ('action', ('3,3', '6,114'))])
def test_epic_round_trip(write, tmp_path, label, labels):
    videos = back(tmp_path, read_epic(write(EPIC), label, video_info=write(INFO, 'info.csv')))
    first, second = videos['P01_01'], videos['P02_03']
    assert first.labels == labels
    assert first.segments_seconds.tolist() == [[0.14, 3.37], [4.37, 66.17]]
    assert (first.fps, first.duration_seconds) == (59.94, 1652.152817)
    assert (second.fps, second.segments_seconds.tolist()) == (None, [[3600, 3601.5]])


def test_epic_class_names(write, tmp_path):
    videos = back(tmp_path, read_epic(write(EPIC), class_names=write(VERBS, 'verbs.csv')))
    assert videos['P01_01'].labels == ('open', 'turn-on')
    with pytest.raises(DatasetError, match="line 3: class '114' is not in .*verbs.csv"):
        list(read_epic(write(EPIC), 'noun', write(VERBS, 'verbs.csv')))


@pytest.mark.parametrize('text, options, message', [
    (EPIC, dict(label='food'), 'label must be one of'),
    (EPIC, dict(label='action', class_names='x.csv'), 'the last without class names'),
    (EPIC.replace('verb_class', 'v'), {}, r"line 1: the columns \['verb_class'\] are absent"),
    (EPIC.replace('00:00:04.37', '4s'), {}, "line 3: expected seconds .* got '4s'"),
])
def test_epic_faults(write, text, options, message):
    with pytest.raises(DatasetError, match=message):
        list(read_epic(write(text), **options))
