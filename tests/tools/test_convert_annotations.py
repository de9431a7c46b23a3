"""``tools/convert_annotations.py`` as it is called."""
from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from sbp_tad.annotations import read_annotations

EAF = '''<ANNOTATION_DOCUMENT><TIME_ORDER><TIME_SLOT TIME_SLOT_ID="a" TIME_VALUE="{0}"/>
<TIME_SLOT TIME_SLOT_ID="b" TIME_VALUE="9000"/></TIME_ORDER>
<TIER TIER_ID="t"><ANNOTATION><ALIGNABLE_ANNOTATION TIME_SLOT_REF1="a" TIME_SLOT_REF2="b">
<ANNOTATION_VALUE>pour</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
</ANNOTATION_DOCUMENT>'''


@pytest.fixture
def run(call_tool):
    """Call the tool in this process; returns (status, stdout, stderr)."""
    return partial(call_tool, 'convert_annotations')


def test_csv(run, tmp_path):
    table, out = tmp_path / 'in.csv', tmp_path / 'out.json'
    table.write_text('video;start;end;label\nv;1;2;pour\nv;3;4;stir\nw;;;\n')
    status, printed, errors = run('csv', table, out, '--delimiter', ';', '--subset', 'test')
    assert (status, errors) == (0, '')
    assert '2 videos, 2 segments, 2 classes' in printed
    assert "metainfo=dict(classes=['pour', 'stir'])" in printed
    assert f'tools/check_dataset.py {out}' in printed
    assert read_annotations(out, ['test'])['v'].labels == ('pour', 'stir')


def test_segments_that_cannot_be_are_warned_of(run, tmp_path):
    table, out = tmp_path / 'in.csv', tmp_path / 'out.json'
    table.write_text('video,start,end,label\nv,1,2,pour\nv,5,3,pour\nv,4,4,stir\n')
    status, _, errors = run('csv', table, out)
    assert status == 0 and out.is_file()
    assert "Warning: 1 of 3 segments ends before it starts; the first is [5, 3]" \
        in errors and 'Warning: 1 of 3 segments has no length' in errors
    table.write_text('video,start,end,label\nv,5,3,pour\n')
    status, _, errors = run('csv', table, tmp_path / 'none.json')
    assert status == 2 and 'Check which columns are start and end.' in errors
    assert not (tmp_path / 'none.json').exists()


def test_a_delimiter_as_typed_in_a_shell(run, tmp_path):
    table, out = tmp_path / 'in.tsv', tmp_path / 'out.json'
    table.write_text('video\tstart\tend\tlabel\nv\t1\t2\tpour\n')
    for options in ([], ['--delimiter', '\\t'], ['--delimiter', 'tab']):
        assert run('csv', table, out, *options)[0] == 0
        assert read_annotations(out)['v'].labels == ('pour',)
    status, _, errors = run('csv', table, out, '--delimiter', '::')
    assert status == 2 and 'the delimiter must be one character' in errors


def test_what_is_left_out_is_printed(run, tmp_path):
    eaf, out = tmp_path / 'v.eaf', tmp_path / 'out.json'
    eaf.write_text(EAF.format(1000).replace(
        '</TIER>', '</TIER><TIER TIER_ID="what"><ANNOTATION><REF_ANNOTATION ANNOTATION_REF="x">'
        '<ANNOTATION_VALUE>stir</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION></TIER>').replace(
        '<ALIGNABLE_ANNOTATION', '<ALIGNABLE_ANNOTATION ANNOTATION_ID="x"'))
    status, _, errors = run('elan', eaf, out)
    assert status == 0 and "Note: " in errors and "['what'] depend on others" in errors
    status, _, errors = run('elan', eaf, out, '--tiers', 'what', '--media', 'v')
    assert (status, errors) == (0, '')
    assert read_annotations(out)['v'].labels == ('stir',)


def test_several_elan_files(run, tmp_path):
    for number in (1, 2):
        (tmp_path / f'v{number}.eaf').write_text(EAF.format(1000 * number))
    out = tmp_path / 'out.json'
    assert run('elan', tmp_path / 'v1.eaf', tmp_path / 'v2.eaf', out, '--tiers', 't')[0] == 0
    videos = read_annotations(out)
    assert [video.segments_seconds.tolist() for video in videos.values()] == [[[1, 9]], [[2, 9]]]


def test_epic_and_via_take_their_options(run, tmp_path):
    table, out = tmp_path / 'in.csv', tmp_path / 'out.json'
    table.write_text('video_id,start_timestamp,stop_timestamp,verb_class,noun_class\n'
                     'P01_01,00:00:01.00,00:00:02.50,3,4\n')
    assert run('epic', table, out, '--label', 'action')[0] == 0
    assert read_annotations(out)['P01_01'].labels == ('3,4',)
    table.write_text('# CSV_HEADER = file_list,temporal_coordinates,metadata\n'
                     '"[""a.mp4""]","[1,2]","{""1"":""x"",""2"":""y""}"\n')
    assert run('via', table, out, '--attribute', '2')[0] == 0
    assert read_annotations(out)['a'].labels == ('y',)


@pytest.mark.parametrize('arguments, message', [
    (['csv', 'none.csv', 'out.json'], 'Error: none.csv: cannot be read (No such file'),
    (['csv', 'in.csv', 'none/out.json'],
     'Error: OUT.json none/out.json cannot be written: the folder none'),
    (['toml', 'in.csv', 'out.json'], 'invalid choice'),
])
def test_faults_are_a_sentence_and_status_2(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path('in.csv').write_text('video,start,end,label\nv,1,2,pour\n')
    status, _, errors = run(*arguments)
    assert status == 2 and message in errors
