"""Projects and exports of VIA 3, hand-written as VIA writes them."""
from __future__ import annotations

import copy

import pytest

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.rows import to_database
from sbp_tad.datasets.formats.via import read_via

VIA = {
    'project': {'pid': '__VIA_PROJECT_ID__', 'vid_list': ['1', '2']},
    'attribute': {
        '1': {'aname': 'action', 'anchor_id': 'FILE1_Z2_XY0', 'type': 4,
              'options': {'0': 'pour', '1': 'stir'}, 'default_option_id': ''},
        '2': {'aname': 'note', 'anchor_id': 'FILE1_Z2_XY0', 'type': 1, 'options': {}},
        '3': {'aname': 'box', 'anchor_id': 'FILE1_Z1_XY1', 'type': 1, 'options': {}}},
    'file': {'1': {'fid': '1', 'fname': 'morning 01.mp4', 'type': 4, 'loc': 1, 'src': ''},
             '2': {'fid': '2', 'fname': 'https://host/x/evening%2002.webm', 'type': 4, 'loc': 2}},
    'metadata': {
        '1_a': {'vid': '1', 'flg': 0, 'z': [1.25, 3.5], 'xy': [], 'av': {'1': '0', '2': 'messy'}},
        '1_b': {'vid': '1', 'flg': 0, 'z': [2.5], 'xy': [2, 1, 2, 3, 4], 'av': {'3': 'cup'}},
        '1_c': {'vid': '1', 'flg': 0, 'z': [4, 6], 'xy': [], 'av': {'1': 'shake', '2': ''}}},
    'view': {'1': {'fid_list': ['1']}, '2': {'fid_list': ['2']}},
}
VIA_CSV = '''\
# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)
# ATTRIBUTE = {"1":{"aname":"action","type":4,"options":{"0":"pour","1":"stir"}}}
# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata
"1_a","[""morning 01.mp4""]",0,"[1.25,3.5]","[]","{""1"":""0""}"
"1_b","[""morning 01.mp4""]",0,"[2.5]","[2,1,2,3,4]","{""3"":""cup""}"
"1_c","[""morning 01.mp4""]",0,"[4,6]","[]","{""1"":""shake""}"
'''
VIA_OLD_CSV = '''\
# CSV_HEADER = metadata_id, file_list, temporal_segment_start, temporal_segment_end, metadata
"1_a","[""morning 01.mp4""]",1.25,3.5,"{""TEMPORAL-SEGMENTS"":""pour""}"
"1_c","[""morning 01.mp4""]",4,6,"{""TEMPORAL-SEGMENTS"":""shake""}"
'''
SEGMENTS = [dict(segment=[1.25, 3.5], label='pour'), dict(segment=[4, 6], label='shake')]


@pytest.mark.parametrize('attribute', ['action', '1'])
def test_via_project(write, attribute):
    database = to_database(read_via(write(VIA, 'p.json'), attribute))['database']
    assert list(database) == ['morning 01', 'evening 02']
    assert database['morning 01'] == dict(subset='training', annotations=SEGMENTS)
    assert database['evening 02']['annotations'] == []


def test_entries_that_are_no_segments_are_counted(write):
    notes, project = [], copy.deepcopy(VIA)
    list(read_via(write(project, 'p.json'), 'action', notes.append))
    assert '1 entry left out: not a temporal segment' in notes[0]
    project['metadata'] = {'1_b': dict(VIA['metadata']['1_b'], z=[1, 2, 3, 4])}
    with pytest.raises(DatasetError, match='none of 1 entry is a temporal segment'):
        list(read_via(write(project, 'p.json')))


def test_via_asks_which_attribute(write):
    path = write(VIA, 'p.json')
    with pytest.raises(DatasetError, match=r"got 2. Name one of \['action', 'note'\]"):
        list(read_via(path))
    with pytest.raises(DatasetError, match='got 0'):
        list(read_via(path, 'box'))
    with pytest.raises(DatasetError, match='got 0'):
        list(read_via(path, 'acton'))
    single = copy.deepcopy(VIA)
    single['metadata']['1_a']['av'].pop('2')
    labels = [row.label for row in read_via(write(single, 'p.json')) if row.label]
    assert labels == ['pour', 'shake']


@pytest.mark.parametrize('text', [VIA_CSV, VIA_OLD_CSV, VIA_CSV.replace(
    '{"1":{"aname":"action","type":4,"options":{"0":"pour","1":"stir"}}}', '{"1":"action"}')
    .replace('""0""', '""pour""')])
def test_via_csv(write, text):
    database = to_database(read_via(write(text, 'export.csv')))['database']
    assert database == {'morning 01': dict(subset='training', annotations=SEGMENTS)}


def without(key):
    return {name: value for name, value in VIA.items() if name != key}


@pytest.mark.parametrize('content, name, message', [
    ('{\n"a": 1,\n}', 'p.json', 'p.json, line 3: not JSON'),
    ('[]', 'p.json', 'not a VIA 3 project'),
    (without('view'), 'p.json', "not a VIA 3 project: .*failed at 'view'"),
    ({**VIA, 'file': {}}, 'p.json', "failed at '1'"),
    ('a,b\n', 'e.csv', "e.csv: not a VIA 3 export: there is no line '# CSV_HEADER"),
    (VIA_CSV.replace('temporal_coordinates', 't'), 'e.csv', 'temporal_coordinates.* are absent'),
    (VIA_CSV.replace('[4,6]', '[4,6'), 'e.csv', "line 6: expected JSON in this column, got '.4,6'"),
    (VIA_CSV.replace('[4,6]', '[4,null]'), 'e.csv', "line 6: expected seconds .* got 'None'"),
])
def test_via_faults(write, content, name, message):
    with pytest.raises(DatasetError, match=message):
        list(read_via(write(content, name), 'action'))


def boxes(**values):
    """Return a project with a checkbox attribute 'action' and one segment per value."""
    project = copy.deepcopy(VIA)
    project['attribute'] = {'1': {
        'aname': 'action', 'anchor_id': 'FILE1_Z2_XY0', 'type': 2,
        'options': {'0': 'jump', '1': 'run', '2': 'wave'}, 'default_option_id': ''}}
    project['metadata'] = {
        key: {'vid': '1', 'flg': 0, 'z': [place, place + 1], 'xy': [], 'av': {'1': value}}
        for place, (key, value) in enumerate(values.items())}
    return project


def test_each_marked_box_is_a_label(write):
    notes = []
    path = write(boxes(a='0,2', b='1', c='2,2,', d=''), 'p.json')
    rows = [(row.start, row.end, row.label) for row in read_via(path, report=notes.append)
            if row.label]
    assert rows == [(0, 1, 'jump'), (0, 1, 'wave'), (1, 2, 'run'), (2, 3, 'wave')]
    assert len(notes) == 1 and "1 of 4 temporal segments left out: no value of 'action'" in notes[0]


def test_marked_boxes_of_an_export(write):
    text = VIA_CSV.replace('"type":4', '"type":2').replace('""0""', '""0,1""').replace(
        '""shake""', '""1""')
    labels = [row.label for row in read_via(write(text, 'e.csv'))]
    assert labels == ['pour', 'stir', 'stir']


def test_text_with_a_comma_is_one_label(write):
    project = boxes(a='pour, slowly')
    project['attribute']['1'].update(type=1, options={})
    assert [row.label for row in read_via(write(project, 'p.json'))][0] == 'pour, slowly'


def test_options_that_are_not_named_are_refused(write):
    with pytest.raises(DatasetError, match=r"metadata 'a': 'action' has no option '7'; .*'jump'"):
        list(read_via(write(boxes(a='0,7'), 'p.json')))
    single = boxes(a='0,2')
    single['attribute']['1'].update(type=4)  # a select box has one value
    with pytest.raises(DatasetError, match="'action' has no option '0,2'; its options are"):
        list(read_via(write(single, 'p.json')))
    old = VIA_OLD_CSV.replace('pour', '0,2')
    with pytest.raises(DatasetError, match="'0,2' are numbers of options.*Convert the JSON"):
        list(read_via(write(old, 'e.csv')))


@pytest.mark.parametrize('attribute', [None, 'action', '1'])
def test_a_project_without_segments_gives_videos_without_actions(write, attribute):
    for project in (boxes(), {**boxes(), 'attribute': {}}):
        database = to_database(read_via(write(project, 'p.json'), attribute))['database']
        assert {key: video['annotations'] for key, video in database.items()} == {
            'morning 01': [], 'evening 02': []}


def test_an_attribute_that_no_segment_has_is_said(write):
    notes, project = [], copy.deepcopy(VIA)
    project['attribute']['4'] = {**VIA['attribute']['1'], 'aname': 'unused'}
    rows = list(read_via(write(project, 'p.json'), 'unused', notes.append))
    assert not any(row.label for row in rows)
    assert "2 of 2 temporal segments left out: no value of 'unused'" in notes[0]


def test_two_files_of_one_name_are_refused(write):
    project = copy.deepcopy(VIA)
    project['file']['2']['fname'] = 'https://host/other/morning%2001.mp4'
    with pytest.raises(DatasetError, match="both give the video 'morning 01'"):
        list(read_via(write(project, 'p.json'), 'action'))
