"""CSV tables to ActivityNet's form and back through the reader."""
from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp_tad.annotations import read_annotations
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.csv_tables import parse_delimiter, read_csv
from sbp_tad.datasets.formats.rows import Row, parse_seconds, to_database

TABLE = '''\
video,label,start,end,subset,fps,duration,who
a,pour,1.5,4,training,25,60,me
b, stir ,0:10,1:02.5,test,,,me

a,"stir, slowly",00:00:05,6,,,60.0,you
c,,,,test,30,12.5,
'''


def test_csv_round_trip(write, back):
    videos = back(read_csv(write(TABLE, 'table.csv')), subset='other')
    assert list(videos) == ['a', 'b', 'c']
    a, b, c = videos.values()
    assert (a.subset, a.fps, a.duration_seconds) == ('training', 25, 60)
    assert a.labels == ('pour', 'stir, slowly')
    assert a.segments_seconds.tolist() == [[1.5, 4], [5, 6]]
    assert (b.subset, b.fps, b.labels) == ('test', None, ('stir',))
    assert b.segments_seconds.tolist() == [[10, 62.5]]
    assert (c.subset, len(c), c.duration_seconds) == ('test', 0, 12.5)


def test_subset_of_rows_that_name_none(write, back):
    path = write('video;start;end;label\nv;1;2;x\n', 'table.csv')
    assert back(read_csv(path, ';'), 'validation')['v'].subset == 'validation'


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.sampled_from('uvw'), st.integers(0, 10**7), st.integers(0, 10**7),
                          st.sampled_from(['x', 'y,"z', 'ö']))))
def test_any_segments_come_back(tmp_path_factory, items):
    rows = [Row(str(i), video, label, start / 1000, end / 1000)
            for i, (video, start, end, label) in enumerate(items)] + [Row('last', 'v')]
    folder = tmp_path_factory.mktemp('rows')
    path = folder / 'out.json'
    path.write_text(json.dumps(to_database(rows)))
    videos = read_annotations(path)
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
    ('video,start,end,label,label\n', r"line 1: the columns \['label'\] occur more than once"),
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
        to_database(read_csv(write(text, 'table.csv')))
    assert 'table.csv' in str(error.value) or 'no annotated' in message


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DatasetError, match='none.csv: cannot be read .No such file'):
        list(read_csv(tmp_path / 'none.csv'))
    (tmp_path / 'binary.csv').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(DatasetError, match='binary.csv: not text in UTF-8 or UTF-16 .*Save it as'):
        list(read_csv(tmp_path / 'binary.csv'))


LINES = 'video,start,end,label\na,1,2,"x y"\n'


@pytest.mark.parametrize('separator', [',', ';', '\t', '|'])
def test_the_delimiter_is_detected(write, separator):
    path = write(LINES.replace(',', separator), 'table.txt')
    row, = read_csv(path)
    assert (row.video_id, row.start, row.end, row.label) == ('a', 1, 2, 'x y')


@pytest.mark.parametrize('typed, separator', [
    ('\\t', '\t'), ('\t', '\t'), ('tab', '\t'), ('TAB', '\t'), (';', ';'), ("';'", ';'),
    ('semicolon', ';'), ('comma', ','), (', ', ','), ('pipe', '|'), ('|', '|'), (' ', ' '),
    ('space', ' '), ('"\\t"', '\t')])
def test_delimiters_as_users_type_them(write, typed, separator):
    assert parse_delimiter(typed) == separator
    path = write(LINES.replace(',', separator), 'table.txt')
    assert [row.label for row in read_csv(path, typed)] == ['x y']


@pytest.mark.parametrize('typed', ['', '::', 'x', '"', '\\n', '1', '\n', '.'])
def test_what_cannot_be_a_delimiter(write, typed):
    with pytest.raises(DatasetError, match='the delimiter must be one character such as'):
        list(read_csv(write(LINES, 'table.csv'), typed))


def test_another_delimiter_is_named(write):
    with pytest.raises(DatasetError, match=r"absent.*separated by ','.*give this delimiter"):
        list(read_csv(write(LINES, 'table.csv'), ';'))


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le-mark'])
def test_encodings_of_spreadsheets(tmp_path, encoding):
    text = 'video\tstart\tend\tlabel\nv\t1\t2\tgießen\n'
    content = b'\xff\xfe' + text.encode('utf-16-le') if encoding == 'utf-16-le-mark' else \
        text.encode(encoding)
    (tmp_path / 'a.csv').write_bytes(content)
    assert [row.label for row in read_csv(tmp_path / 'a.csv')] == ['gießen']


def test_latin_1_is_told_how_to_save(tmp_path):
    (tmp_path / 'a.csv').write_bytes('video,start,end,label\nv,1,2,gießen\n'.encode('latin-1'))
    with pytest.raises(DatasetError, match='Save it as UTF-8; spreadsheets call this "CSV UTF-8"'):
        list(read_csv(tmp_path / 'a.csv'))
