"""Annotation, conversion and check of THUMOS'14 as functions."""
from __future__ import annotations

import numpy as np
import pytest

from sbp_tad.annotations import AnnotationError, VideoAnnotation, read_annotations
from sbp_tad.apis.thumos14_preparation import check_videos, convert_videos, make_annotation
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.ffmpeg import Conversion


def video(name, duration=4.0, fps=10.0):
    return VideoAnnotation(name, 'test', duration, fps, None, np.array([[1.0, 2.0], [0.0, 1.0]]),
                           ('Diving', 'Ambiguous'))


@pytest.fixture
def folder(tmp_path, write_video):
    """One good file of 4 s at 10 fps, one that cannot be read, one that is not annotated."""
    for name in ('good', 'extra'):
        write_video(tmp_path / f'{name}.mp4', 40)
    (tmp_path / 'broken.mp4').write_bytes(b'no video')
    return tmp_path


def test_every_kind_of_mismatch_is_found(folder, write_video):
    write_video(folder / 'fast.mp4', 100, fps=25)
    write_video(folder / 'short.mp4', 10)
    names = ('good', 'broken', 'fast', 'short', 'missing')
    report = check_videos({name: video(name) for name in names}, folder)
    found = {(finding.subject, finding.kind) for finding in report.findings}
    assert found == {('broken', 'unreadable-file'), ('fast', 'fps-mismatch'),
                     ('short', 'duration-mismatch'), ('short', 'beyond-file'),
                     ('missing', 'missing-file'), ('extra.mp4', 'unlisted-file')}
    assert report.counts == {'test': (5, 5)}, 'Ambiguous does not count'


def test_files_of_another_rate_are_fine_when_they_were_converted_to_it(folder):
    videos = {name: video(name, fps=30.0) for name in ('good', 'extra')}
    assert {found.kind for found in check_videos(videos, folder).findings} == {
        'fps-mismatch', 'unlisted-file'}
    kinds = [found.kind for found in check_videos(videos, folder, fps=10.0).findings]
    assert kinds == ['unlisted-file']  # the broken one, which is not annotated here


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DatasetError, match='no such folder of videos'):
        check_videos({'a': video('a')}, tmp_path / 'none')


def test_conversion_takes_what_is_there_and_names_what_fails(folder, tmp_path, monkeypatch):
    monkeypatch.setattr('sbp_tad.datasets.ffmpeg.find_ffmpeg', lambda: 'ffmpeg')
    calls = []

    def convert(source, target, conversion):
        calls.append((source.name, target.name))
        if source.stem == 'broken':
            raise DatasetError('cannot be read')
        return True

    videos = {name: video(name) for name in ('good', 'broken', 'missing')}
    found, = convert_videos(convert, videos, folder, tmp_path / 'out', '.mkv', Conversion(), 1)
    assert calls == [('good.mp4', 'good.mkv'), ('broken.mp4', 'broken.mkv')]
    assert (found.subject, found.kind, found.message) == ('broken', 'unreadable-file',
                                                          'cannot be read')


def test_the_annotation_is_made_once(tmp_path):
    for name in ('Diving_val.txt', 'Diving_test.txt'):
        (tmp_path / name).write_text(f'{name[7:-4]}_1 1 2\n')
    target = tmp_path / 'annotations' / 'thumos14.json'
    make_annotation(target, tmp_path, [])
    assert list(read_annotations(target, 'validation')) == ['val_1']
    with pytest.raises(AnnotationError, match='exists already. Move it away'):
        make_annotation(target, tmp_path, [])
    (tmp_path / 'file').write_text('')
    with pytest.raises(AnnotationError, match='cannot be written .(Not a directory|File exists)'):
        make_annotation(tmp_path / 'file' / 'thumos14.json', tmp_path, [])
