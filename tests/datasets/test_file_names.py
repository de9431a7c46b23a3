"""File names of videos follow from their ids, and ids from file names."""
import pytest

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.file_names import (
    check_template,
    like_named,
    listed_names,
    template_of,
    video_id_of,
    with_suffix,
)


@pytest.mark.parametrize('path, template, folder, expected', [
    ('videos/abc.mp4', '{video_id}.mp4', None, 'abc'),
    ('videos/abc.mp4', '{video_id}.mp4', 'videos', 'abc'),
    ('videos/abc.d.webm', '{video_id}.mp4', None, 'abc.d'),  # any suffix
    ('videos/deep/abc.mp4', '{video_id}.mp4', 'videos', 'deep/abc'),
    ('videos/v_abc-0_XYZ.mp4', 'v_{video_id}.mp4', None, 'abc-0_XYZ'),
    ('videos/v_abc.mkv', 'v_{video_id}.mp4', 'videos', 'abc'),
    ('videos/deep/v_abc.mp4', 'v_{video_id}.mp4', 'videos', 'deep/abc'),
    ('videos/v_deep/abc.mp4', 'v_{video_id}.mp4', 'videos', 'deep/abc'),  # an id with a folder
    ('videos/v_v_abc.mp4', 'v_{video_id}.mp4', 'videos', 'v_abc'),
    ('videos/kitchen.mp4', 'v_{video_id}.mp4', 'videos', 'kitchen'),  # not a name of the data set
    ('videos/deep/kitchen.mp4', 'v_{video_id}.mp4', None, 'kitchen'),
    ('videos/v1.mp4', '{video_id}', 'videos', 'v1.mp4'),  # ids that are file names
    ('features/abc-i3d_rgb.npy', '{video_id}-i3d_rgb.npy', 'features', 'abc'),
    ('frames/abc.x', '{video_id}', 'frames', 'abc.x'),  # folders of frames
    ('frames/abc/rgb', '{video_id}/rgb', 'frames', 'abc'),
    ('frames/abc/rgb', '{video_id}/rgb', None, 'abc'),
    ('frames/abc/abc.mp4', '{video_id}/{video_id}.mp4', 'frames', 'abc'),
    ('frames/abc/other.mp4', '{video_id}/{video_id}.mp4', 'frames', 'abc/other'),
    ('videos/test/abc.mp4', 'test/{video_id}.mp4', 'videos/test', 'abc'),
    ('videos/test/abc.mp4', 'test/{video_id}.mp4', 'videos', 'abc'),
    ('features/all.h5', 'all.h5', 'features', 'all'),
    ('videos/00012.mp4', '{video_id:0>5}.mp4', 'videos', '00012')])
def test_the_id_of_a_file(path, template, folder, expected):
    assert video_id_of(path, template, folder) == expected


def test_names_are_listed_in_text_files(tmp_path):
    (tmp_path / 'missing_files.txt').write_text('video_1\nvideo_2\n')
    assert listed_names('video_0') == ('video_0', )
    assert listed_names(['video_0', 'missing_files.txt'], tmp_path) == (
        'video_0', 'video_1', 'video_2')
    with pytest.raises(DatasetError, match='other.txt: no such list of videos. Correct the path'):
        listed_names(('other.txt', ), tmp_path)


def test_suffixes_are_exchanged():
    assert with_suffix('v_{video_id}.mp4', '.npy') == 'v_{video_id}.npy'
    assert with_suffix('{video_id}', '.npy') == '{video_id}.npy'
    assert with_suffix('a.b/{video_id}.rgb.npz', '') == 'a.b/{video_id}.rgb'


def test_the_template_of_a_file():
    assert template_of('v_abc.mkv', 'abc') == 'v_{video_id}.mkv'
    assert template_of('v1.mp4', 'v1.mp4') == '{video_id}'
    assert template_of('other.mp4', 'abc') is None


@pytest.mark.parametrize('missing, there, told', [
    ('v2.npy', 'v_v2.npy', " v_v2.npy exists. Its name follows filename_template='v_{video_id}."),
    ('v2.npy', 'v2.npz', " v2.npz exists. Its name follows filename_template='{video_id}.npz'"),
    ('v_v2.npy', 'v2.npy', "filename_template='{video_id}.npy'"),
    ('v2-i3d.npy', 'v2.npy', ' v2.npy exists.'),
    ('v2.npy', 'v3.npy', ''), ('v2.npy', None, ''), ('v2.npy', 'v2.NPZ', ' v2.NPZ exists.')])
def test_a_file_with_another_name_of_the_video(missing, there, told, tmp_path):
    if there:
        (tmp_path / there).touch()
    found = like_named(tmp_path / missing, 'v2', ('.npy', '.npz'))
    assert told in found and bool(told) == bool(found)
    assert like_named('a' * 300, 'a' * 300, ('.npy', )) == ''


@pytest.mark.parametrize('template', ['{id}.mp4', '{}.mp4', '{video_id.mp4',
                                      '{video_id}_{index}.mp4'])
def test_a_template_that_cannot_work(template):
    assert check_template('v_{video_id}.mp4') == 'v_{video_id}.mp4'
    assert check_template('all.h5') == 'all.h5'
    with pytest.raises(DatasetError, match='may have {video_id} and no other field'):
        check_template(template)
