"""Content of the report page, and the files that are written."""
from __future__ import annotations

import numpy as np
import pytest
from report_cases import small_annotations, small_detections

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.options import EvaluationOptions
from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.report_page import link_videos, report_content, write_page


def test_excluded_videos_and_unknown_labels_are_left_out():
    content = report_content(small_detections(), small_annotations(),
                             EvaluationOptions(excluded_videos=('second',)))
    assert [video['name'] for video in content['videos']] == ['first', 'third']
    assert content['labels'] == ('jump', 'run', 'Ambiguous') and content['numClasses'] == 2
    assert content['notes'][1:] == ['Detections that are in excluded videos: 1.']


def test_annotation_without_classes_is_a_sentence():
    empty = {'first': VideoAnnotation('first', 'test', 9.0, None, None, np.empty((0, 2)), ())}
    with pytest.raises(EvaluationError, match='no ground truth to find'):
        report_content(small_detections(), empty)


def test_links_never_leave_the_folder(tmp_path):
    (tmp_path / 'videos').mkdir()
    (tmp_path / 'secret.mp4').write_bytes(b'x')
    links = link_videos(tmp_path / 'report', tmp_path / 'videos', {
        '../secret.mp4': tmp_path / 'videos' / '../secret.mp4',
        'absent': tmp_path / 'videos' / 'absent.mp4'}, copy=True)
    assert links == {} and not (tmp_path / 'report').exists()


def test_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(VisualizationError, match='Cannot write the report into .*Give a folder'):
        write_page(tmp_path / 'file', report_content(small_detections()))
    (tmp_path / 'videos').mkdir()
    (tmp_path / 'videos' / 'a.mp4').write_bytes(b'x')
    with pytest.raises(VisualizationError, match='Cannot copy .*Leave out --copy-videos'):
        link_videos(tmp_path / 'file', tmp_path / 'videos',
                    {'a': tmp_path / 'videos' / 'a.mp4'}, copy=True)
