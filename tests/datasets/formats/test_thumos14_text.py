"""The published files of THUMOS'14 become the annotation that this project reads."""
from __future__ import annotations

import json

import pytest

from sbp_tad.annotations import AnnotationError, read_annotations
from sbp_tad.datasets.formats.thumos14_text import convert_official_annotation


@pytest.fixture
def official(tmp_path):
    """Two classes and Ambiguous of validation, one of test, as they are published."""
    files = {'annotation/Diving_val.txt': 'video_validation_0000161  11.3 14.1\n\n'
                                          'video_validation_0000051  1.0 2.5\n',
             'annotation/Ambiguous_val.txt': 'video_validation_0000161  0.5 0.9\n',
             'annotation/Billiards_val.txt': 'video_validation_0000161  7.0 8.0\n',
             'annotations/Diving_test.txt': 'video_test_0000004 3 4\n',
             'annotations/detclasslist.txt': '1 Billiards\n2 Diving\n'}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / 'info.csv').write_text('video,fps,sample_fps,count,sample_count\n'
                                       'video_validation_0000161,25.0,10.0,1000.0,400\n')
    return tmp_path


def test_small_files_as_published(official):
    database = convert_official_annotation(official, [official / 'info.csv'])['database']
    assert list(database) == ['video_test_0000004', 'video_validation_0000051',
                              'video_validation_0000161']
    assert database['video_validation_0000161'] == dict(
        subset='validation', duration=40.0, fps=25.0, frames=1000, annotations=[
            dict(label='Billiards', segment=[7.0, 8.0]), dict(label='Diving', segment=[11.3, 14.1]),
            dict(label='Ambiguous', segment=[0.5, 0.9])])
    assert database['video_test_0000004'] == dict(
        subset='test', annotations=[dict(label='Diving', segment=[3.0, 4.0])])


def test_what_is_written_can_be_read(official):
    path = official / 'thumos14.json'
    path.write_text(json.dumps(convert_official_annotation(official)))
    videos = read_annotations(path, 'validation')
    assert videos['video_validation_0000161'].labels == ('Billiards', 'Diving', 'Ambiguous')
    assert videos['video_validation_0000161'].duration_seconds is None


def test_files_that_are_not_there_or_not_of_the_form(official):
    (official / 'annotation' / 'Diving_val.txt').write_text('video_validation_0000161 11.3\n')
    with pytest.raises(AnnotationError, match='Diving_val.txt, line 1: expected `video start end`'):
        convert_official_annotation(official)
    (official / 'info.csv').write_text('video,fps\na,30\n')
    with pytest.raises(AnnotationError, match='columns video, fps and count .frames., got KeyErr'):
        convert_official_annotation(official, [official / 'info.csv'])
    with pytest.raises(AnnotationError, match='info.csv: expected a csv file .* FileNotFound'):
        convert_official_annotation(official, [official / 'none' / 'info.csv'])
    (official / 'empty').mkdir()
    with pytest.raises(AnnotationError, match='such as Diving_test.txt, found none. Unpack TH14'):
        convert_official_annotation(official / 'empty')


def test_the_published_files_give_the_shared_annotation(shared_data):
    """Video 1292 is not in the published csv, so it has no timing of its own."""
    folder = shared_data / 'thumos14'
    found = convert_official_annotation(
        folder / 'official_txt', [folder / f'{name}_video_info.csv' for name in ('val', 'test')])
    expected = json.loads((folder / 'thumos14_official_with_ambiguous.json').read_text())
    for name in ('duration', 'fps', 'frames'):
        del expected['database']['video_test_0001292'][name]
    assert found['database'] == expected['database']
    assert list(found['database']) == list(expected['database'])
