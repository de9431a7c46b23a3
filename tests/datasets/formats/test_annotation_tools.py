"""Exports of VIA 3 and ELAN, hand-written as the tools write them."""
from __future__ import annotations

import copy
import json

import pytest

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.annotation_tools import read_elan, read_via
from sbp_tad.datasets.formats.tables import to_database

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


@pytest.fixture
def write(tmp_path):
    def write(content, name):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path
    return write


@pytest.mark.parametrize('attribute', ['action', '1'])
def test_via_project(write, attribute):
    database = to_database(read_via(write(VIA, 'p.json'), attribute))['database']
    assert list(database) == ['morning 01', 'evening 02']
    assert database['morning 01'] == dict(subset='training', annotations=SEGMENTS)
    assert database['evening 02']['annotations'] == []


def test_via_asks_which_attribute(write):
    path = write(VIA, 'p.json')
    with pytest.raises(DatasetError, match=r"got 2. Name one of \['action', 'note'\]"):
        list(read_via(path))
    with pytest.raises(DatasetError, match='got 0'):
        list(read_via(path, 'box'))
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


EAF = '''\
<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0">
    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///home/me/my%20kitchen.mp4" MIME_TYPE="video/mp4"/>
    </HEADER>
    <TIME_ORDER>
        <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1250"/>
        <TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="3500"/>
        <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="60001"/>
    </TIME_ORDER>
    <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="left hand">
        <ANNOTATION>
            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
                <ANNOTATION_VALUE>pour &amp; stir</ANNOTATION_VALUE>
            </ALIGNABLE_ANNOTATION>
        </ANNOTATION>
    </TIER>
    <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="right hand">
        <ANNOTATION>
            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts3">
                <ANNOTATION_VALUE>hold</ANNOTATION_VALUE>
            </ALIGNABLE_ANNOTATION>
        </ANNOTATION>
    </TIER>
    <TIER LINGUISTIC_TYPE_REF="note" PARENT_REF="right hand" TIER_ID="note">
        <ANNOTATION>
            <REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a2">
                <ANNOTATION_VALUE>hot</ANNOTATION_VALUE>
            </REF_ANNOTATION>
        </ANNOTATION>
    </TIER>
</ANNOTATION_DOCUMENT>
'''
POUR, HOLD = (dict(segment=[1.25, 3.5], label='pour & stir'),
              dict(segment=[3.5, 60.001], label='hold'))


@pytest.mark.parametrize('tiers, expected', [
    (None, [POUR, HOLD]), (['right hand'], [HOLD]), (['right hand', 'left hand'], [POUR, HOLD])])
def test_elan(write, tiers, expected):
    database = to_database(read_elan(write(EAF, 'x.eaf'), tiers), 'test')['database']
    assert database == {'my kitchen': dict(subset='test', annotations=expected)}


def test_elan_media(write):
    offset = EAF.replace('MIME_TYPE', 'TIME_ORIGIN="500" MIME_TYPE')
    assert [row.start for row in read_elan(write(offset, 'x.eaf'))][1:] == [1.75, 4.0]
    unlinked = EAF.replace('MEDIA_DESCRIPTOR', 'LINKED_FILE_DESCRIPTOR')
    assert {row.video_id for row in read_elan(write(unlinked, 'kitchen 7.eaf'))} == {'kitchen 7'}


def test_elan_without_annotations_is_a_video_without_actions(write):
    empty = EAF[:EAF.index('    <TIER')] + '</ANNOTATION_DOCUMENT>'
    database = to_database(read_elan(write(empty, 'x.eaf')))['database']
    assert database['my kitchen']['annotations'] == []


BOMB = '''<?xml version="1.0"?>
<!DOCTYPE ANNOTATION_DOCUMENT [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>
'''


@pytest.mark.parametrize('content, message', [
    (BOMB + EAF[EAF.index('<ANN'):].replace('hold', '&b;'), 'line 2: a document type .DTD. with'),
    ('<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', 'line 1: a document'),
    (EAF.replace('hold', '&b;'), 'line 21: not XML .undefined entity'),
    (EAF.replace('</HEADER>', ''), 'not XML .mismatched tag'),
    ('<html><body/></html>', 'not an ELAN file: expected ANNOTATION_DOCUMENT .* got html'),
    (EAF.replace('TIME_VALUE="60001"', ''),
     "line 20: annotation 'a2' of tier 'right hand' has no time"),
    (EAF.replace('hold', '  '), "annotation 'a2' of tier 'right hand' has no text"),
    (EAF.replace('60001', '60.5'), "line 20: expected whole milliseconds, got '60.5'"),
    (EAF.replace('"milliseconds"', '"PAL-frames"'), "in milliseconds, got 'PAL-frames'"),
])
def test_elan_faults(write, content, message):
    with pytest.raises(DatasetError, match='x.eaf.*' + message):
        list(read_elan(write(content, 'x.eaf')))


def test_elan_tier_that_is_not_there(write):
    with pytest.raises(DatasetError, match=r"tiers \['note'\] have no time-aligned.*"
                       r"\['left hand', 'right hand'\]"):
        list(read_elan(write(EAF, 'x.eaf'), ['note']))
