"""Annotation files of ELAN, hand-written as ELAN writes them."""
from __future__ import annotations

import pytest

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.elan import read_elan
from sbp_tad.datasets.formats.rows import to_database

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
    (BOMB + EAF[EAF.index('<ANN'):].replace('hold', '&b;'), 'line 2: a document type .DTD. is'),
    ('<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', 'line 1: a document'),
    (EAF.replace('hold', '&b;'), 'line 21: not XML .undefined entity'),
    (EAF.replace('</HEADER>', ''), 'not XML .mismatched tag'),
    ('<html><body/></html>', 'not an ELAN file: expected ANNOTATION_DOCUMENT .* got html'),
    (EAF.replace('TIME_VALUE="60001"', ''),
     "line 20: annotation 'a2' of tier 'right hand' has no time"),
    (EAF.replace('hold', '  '), "annotation 'a2' of tier 'right hand' has no text"),
    (EAF.replace('60001', '60.5'), "line 9: expected whole milliseconds, got '60.5'"),
    (EAF.replace('"milliseconds"', '"PAL-frames"'), "in milliseconds, got 'PAL-frames'"),
])
def test_elan_faults(write, content, message):
    with pytest.raises(DatasetError, match='x.eaf.*' + message):
        list(read_elan(write(content, 'x.eaf')))


def test_a_dependent_tier_has_the_times_of_its_parent(write):
    notes, path = [], write(EAF, 'x.eaf')
    database = to_database(read_elan(path, ['note'], report=notes.append))['database']
    assert database['my kitchen']['annotations'] == [dict(segment=[3.5, 60.001], label='hot')]
    assert not notes
    list(read_elan(path, report=notes.append))
    assert len(notes) == 1 and "the tiers ['note'] depend on others and are left out" in notes[0]


def test_unknown_tiers_are_refused_unless_nothing_is_annotated(write):
    with pytest.raises(DatasetError, match=r"no tiers \['nte'\]; the file has \['left hand', "
                       r"'right hand', 'note'\]"):
        list(read_elan(write(EAF, 'x.eaf'), ['nte']))
    empty = EAF[:EAF.index('    <TIER')] + '<TIER TIER_ID="a"/></ANNOTATION_DOCUMENT>'
    assert [row.label for row in read_elan(write(empty, 'x.eaf'), ['note'])] == [None]
    filled_elsewhere = EAF.replace('</ANNOTATION_DOCUMENT>', '<TIER TIER_ID="a"/>'
                                   '</ANNOTATION_DOCUMENT>')
    assert [row.label for row in read_elan(write(filled_elsewhere, 'x.eaf'), ['a'])] == [None]


def document(tiers, media='', slots=(1000, None, None, 4000)):
    """Return a document with slots t0, t1, ... (None: unaligned), tiers (XML) and types."""
    order = ''.join(f'<TIME_SLOT TIME_SLOT_ID="t{i}"'
                    + ('' if value is None else f' TIME_VALUE="{value}"') + '/>'
                    for i, value in enumerate(slots))
    types = ''.join(
        f'<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="{name}" CONSTRAINTS="{name}"/>'
        for name in ('Time_Subdivision', 'Symbolic_Subdivision', 'Symbolic_Association'))
    return (f'<ANNOTATION_DOCUMENT><HEADER TIME_UNITS="milliseconds">{media}</HEADER>'
            f'<TIME_ORDER>{order}</TIME_ORDER>{tiers}{types}</ANNOTATION_DOCUMENT>')


def tier(name, kind, *annotations):
    return (f'<TIER TIER_ID="{name}" LINGUISTIC_TYPE_REF="{kind}">'
            + ''.join(f'<ANNOTATION>{each}</ANNOTATION>' for each in annotations) + '</TIER>')


def aligned(key, first, last, text):
    return (f'<ALIGNABLE_ANNOTATION ANNOTATION_ID="{key}" TIME_SLOT_REF1="t{first}" '
            f'TIME_SLOT_REF2="t{last}"><ANNOTATION_VALUE>{text}</ANNOTATION_VALUE>'
            '</ALIGNABLE_ANNOTATION>')


def referring(key, parent, text, previous=None):
    before = f' PREVIOUS_ANNOTATION="{previous}"' if previous else ''
    return (f'<REF_ANNOTATION ANNOTATION_ID="{key}" ANNOTATION_REF="{parent}"{before}>'
            f'<ANNOTATION_VALUE>{text}</ANNOTATION_VALUE></REF_ANNOTATION>')


TIERS = (
    tier('word', 'Symbolic_Subdivision', referring('w3', 'a', 'third', 'w2'),
         referring('w1', 'a', 'first'), referring('w2', 'a', 'second', 'w1'))
    + tier('gloss', 'Symbolic_Association', referring('g2', 'w2', 'of second'))
    + tier('step', 'Time_Subdivision', aligned('s1', 0, 1, 's1'), aligned('s2', 1, 2, 's2'),
           aligned('s3', 2, 3, 's3'))
    + tier('whole', 'default-lt', aligned('a', 0, 3, 'whole')))


@pytest.mark.parametrize('name, expected', [
    ('word', [('third', 3, 4), ('first', 1, 2), ('second', 2, 3)]),
    ('gloss', [('of second', 2, 3)]),
    ('step', [('s1', 1, 2), ('s2', 2, 3), ('s3', 3, 4)]),
    ('whole', [('whole', 1, 4)]),
])
def test_times_of_subdivisions(write, name, expected):
    rows = read_elan(write(document(TIERS), 'x.eaf'), [name])
    assert [(row.label, row.start, row.end) for row in rows if row.label] == expected


def test_times_that_divide_unevenly_are_whole_milliseconds(write):
    tiers = tier('step', 'Time_Subdivision', aligned('s1', 0, 1, 'x'), aligned('s2', 1, 2, 'y'),
                 aligned('s3', 2, 3, 'z'))
    rows = read_elan(write(document(tiers, slots=(0, None, None, 1000)), 'x.eaf'))
    assert [(row.start, row.end) for row in rows if row.label] == [
        (0, 0.333), (0.333, 0.667), (0.667, 1)]


@pytest.mark.parametrize('tiers', [
    tier('t', 'Symbolic_Association', referring('a', 'absent', 'x')),
    tier('t', 'Symbolic_Association', referring('a', 'b', 'x'), referring('b', 'a', 'y')),
    tier('t', 'default-lt', aligned('a', 1, 2, 'x')),
    tier('t', 'default-lt', aligned('a', 0, 1, 'x'), aligned('b', 1, 1, 'y')),
])
def test_an_annotation_without_a_time_is_refused(write, tiers):
    with pytest.raises(DatasetError, match="of tier 't' has no time"):
        list(read_elan(write(document(tiers), 'x.eaf'), ['t']))


def linked(url, mime='video/mp4', origin=None):
    offset = '' if origin is None else f' TIME_ORIGIN="{origin}"'
    return f'<MEDIA_DESCRIPTOR MEDIA_URL="file:///{url}" MIME_TYPE="{mime}"{offset}/>'


WHOLE = tier('whole', 'default-lt', aligned('a', 0, 3, 'x'))
TWO = linked('s/sound.wav', 'audio/x-wav') + linked('front.mp4', origin=500) \
    + linked('side%202.mp4', origin=2000)


@pytest.mark.parametrize('media, expected, note', [
    (TWO, {'front': [1.5, 4.5], 'side 2': [3, 6]}, "links 2 videos, ['front', 'side 2']"),
    (linked('s.wav', 'audio/x-wav') + linked('v.mpg', 'video/mpeg'), {'v': [1, 4]}, None),
    (linked('v.wav', 'unknown', 7) + linked('v.mp4', 'unknown'), {'v': [1, 4]}, None),
    (linked('only.wav', 'audio/x-wav', 100), {'only': [1.1, 4.1]}, None),
    (linked('v.mp4', origin=-2000), {'v': [0, 2]}, '0 segments before it left out, 1 cut'),
    (linked('v.mp4', origin=-5000), {'v': None}, '1 segment before it left out, 0 cut'),
])
def test_each_linked_video_has_its_own_offset(write, media, expected, note):
    notes, path = [], write(document(WHOLE, media), 'x.eaf')
    database = to_database(read_elan(path, report=notes.append))['database']
    assert {key: [item['segment'] for item in video['annotations']]
            for key, video in database.items()} == {
        key: [segment] if segment else [] for key, segment in expected.items()}
    assert (note in notes[0]) if note else not notes


def test_linked_files_are_chosen(write):
    path = write(document(WHOLE, TWO), 'x.eaf')
    rows = [row for row in read_elan(path, media=['side 2.mp4']) if row.label]
    assert [(row.video_id, row.start) for row in rows] == [('side 2', 3)]
    with pytest.raises(DatasetError, match=r"links \['sound', 'front', 'side 2'\]"):
        list(read_elan(path, media=['back']))
    same = linked('a/v.mp4', origin=1) + linked('b/v.mp4', origin=2)
    with pytest.raises(DatasetError, match="two media files named 'v' have different offsets"):
        list(read_elan(write(document(WHOLE, same), 'x.eaf')))
