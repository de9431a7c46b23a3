"""Results keep every digit in every form, and a folder knows what is done."""
import csv
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp_tad.apis.errors import InferenceError
from sbp_tad.apis.inference.inputs import InputVideo
from sbp_tad.apis.inference.results import Detection, ResultFolder, VideoDetections, write_results
from sbp_tad.evaluation.detections import read_detections

FOUND = VideoDetections('deep/a', 'videos/deep/a.mp4', 12.3, (
    Detection(0.1 + 0.2, 7.0, 'pour, slowly', 1 / 3), Detection(1.0, 2.0, 'stir', 0.25)))
BAD = VideoDetections('Z', 'videos/Z.mp4', None, (), 'videos/Z.mp4: not a readable video')

times = st.floats(0, 1e5)
detections = st.builds(Detection, times, times, st.text(max_size=5), st.floats(0, 1))


@settings(deadline=None, max_examples=50)
@given(st.builds(VideoDetections, st.text(max_size=5), st.none() | st.text(max_size=5),
                 st.none() | times, st.lists(detections, max_size=5).map(tuple),
                 st.none() | st.text(max_size=5)))
def test_json_gives_back_what_it_got(result):
    assert VideoDetections.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_segments_as_an_array():
    assert FOUND.segments_seconds().tolist() == [[0.1 + 0.2, 7.0], [1.0, 2.0]]
    assert BAD.segments_seconds().shape == (0, 2)


def test_every_form_holds_every_digit(tmp_path):
    paths = write_results(tmp_path / 'new', [FOUND, BAD], ['activitynet', 'csv', 'json'])
    assert [path.name for path in paths] == ['detections.json', 'detections.csv', 'videos.json']
    found = read_detections(paths[0])
    assert found.video_ids == ('Z', 'deep/a')  # also the one without a detection
    np.testing.assert_array_equal(found.segments_seconds, FOUND.segments_seconds())
    assert found.scores.tolist() == [1 / 3, 0.25]
    with paths[1].open(newline='') as file:
        first, second = csv.DictReader(file)
    assert first == dict(video_id='deep/a', start_seconds=repr(0.1 + 0.2), end_seconds='7.0',
                         label='pour, slowly', score=repr(1 / 3))
    assert second['label'] == 'stir'
    assert [VideoDetections.from_json(entry) for entry in json.loads(paths[2].read_text())] == [
        FOUND, BAD]


def test_results_that_cannot_be_written(tmp_path):
    with pytest.raises(InferenceError, match='the formats are activitynet, csv, json, got xml'):
        write_results(tmp_path, [FOUND], ['xml'])
    (tmp_path / 'file').touch()
    with pytest.raises(InferenceError, match='detections.json: cannot be written .*another folder'):
        write_results(tmp_path / 'file', [FOUND])


@pytest.fixture
def video(tmp_path):
    path = tmp_path / 'a.mp4'
    path.write_bytes(b'frames')
    return InputVideo('deep/a', str(path))


def test_a_folder_gives_back_what_this_detector_found_in_this_file(video, tmp_path):
    folder = ResultFolder(tmp_path / 'out', dict(checkpoint_sha256='1'))
    assert folder.read(video) is None
    folder.write(video, FOUND)
    assert folder.read(video) == FOUND
    assert ResultFolder(tmp_path / 'out', dict(checkpoint_sha256='2')).read(video) is None
    stat = os.stat(video.filename)
    os.utime(video.filename, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert folder.read(video) is None
    assert [path.name for path in (tmp_path / 'out' / 'videos' / 'deep').iterdir()] == ['a.json']


def test_what_is_not_done(video, tmp_path):
    folder = ResultFolder(tmp_path / 'out', {})
    folder.write(video, replace(FOUND, error='cut off'))
    assert not folder.path(video).exists()
    array = InputVideo('deep/a', None, np.zeros((1, 2, 2, 3), np.uint8))
    folder.write(array, FOUND)
    assert folder.read(array) is None  # nothing says whether it is the same
    for content in ('{', '[]', '{"made_from": {}, "result": {}}'):
        folder.path(video).write_text(content)
        assert folder.read(video) is None


def test_without_a_folder_nothing_is_kept(video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob('*'))
    ResultFolder(None, {}).write(video, FOUND)
    assert ResultFolder(None, {}).read(video) is None
    assert sorted(tmp_path.rglob('*')) == before
