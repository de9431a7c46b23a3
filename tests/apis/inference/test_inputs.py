"""Inputs of the inferencer become videos with unique names, or a sentence."""
from pathlib import Path

import numpy as np
import pytest

from sbp_tad.apis.errors import InferenceError
from sbp_tad.apis.inference.inputs import list_videos


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names(inputs, kind='video'):
    return [video.video_id for video in list_videos(inputs, kind)]


def frames(num_frames=3, dtype=np.uint8):
    return np.zeros((num_frames, 4, 5, 3), dtype=dtype)


def test_a_folder_is_all_videos_below_it_in_order(tmp_path):
    touch(tmp_path, 'b.mp4', 'a.MKV', 'deep/c.avi', 'notes.txt', '.hidden.mp4', '.trash/d.mp4')
    assert names(tmp_path) == ['a', 'b', 'deep/c']
    assert [Path(video.filename).name for video in list_videos(str(tmp_path), 'video')] == [
        'a.MKV', 'b.mp4', 'c.avi']


def test_a_list_mixes_files_folders_and_arrays(tmp_path):
    touch(tmp_path, 'one.mp4', 'more/two.mp4', 'no_suffix')
    assert names([tmp_path / 'one.mp4', frames(), tmp_path / 'more', tmp_path / 'no_suffix']) == [
        'one', 'array_1', 'two', 'no_suffix']
    touch(tmp_path, 'one.v2.mp4')
    assert names((tmp_path / 'one.v2.mp4', )) == ['one.v2']


def test_files_of_one_name_keep_their_suffix(tmp_path):
    touch(tmp_path, 'a.mp4', 'a.avi', 'b.avi', 'deep/a.mp4')
    assert names(tmp_path) == ['a.avi', 'a.mp4', 'b', 'deep/a']
    with pytest.raises(InferenceError, match="2 inputs have the same name 'b.avi'.*Rename them"):
        list_videos([tmp_path / 'b.avi', tmp_path / 'b.avi'], 'video')


def test_folders_of_frames_are_videos_of_a_detector_that_reads_such(tmp_path):
    touch(tmp_path, 'x/img_00001.jpg', 'deep/y/img_00001.png', 'empty/readme.txt')
    assert names(tmp_path, 'frames') == ['deep/y', 'x']
    assert names(tmp_path / 'x', 'frames') == ['x']
    with pytest.raises(InferenceError, match='no video in this folder; .* reads folders of images'):
        list_videos(tmp_path / 'empty', 'frames')


def test_feature_files_are_videos_of_a_detector_that_reads_such(tmp_path):
    touch(tmp_path, 'x.npy', 'x.json', 'y.mp4')
    assert names(tmp_path, 'features') == ['x']


def test_a_file_is_known_by_its_size_and_its_time(tmp_path):
    path = tmp_path / 'a.mp4'
    path.write_bytes(b'12345')
    video, = list_videos(path, 'video')
    assert video.fingerprint == dict(num_bytes=5, modified_ns=path.stat().st_mtime_ns)
    assert video.weight == 5
    array, = list_videos([frames(7)], 'video')
    assert (array.fingerprint, array.weight) == (None, 7)
    path.unlink()
    assert (video.fingerprint, video.weight) == (None, 1)


@pytest.mark.parametrize('inputs, kind, message', [
    ([], 'video', 'no input; give'),
    ('absent', 'video', 'no such file or folder: absent. Give existing videos'),
    (list('abcde'), 'video', 'no such file or folder: a, b, c and 2 more. Give'),
    (7, 'video', 'must be a path, a folder or an array .*got int'),
    (frames()[0], 'video', r'must hold the frames of a video.*got uint8 of shape \(4, 5, 3\)'),
    (frames(0), 'video', 'T above 0'),
    (frames(dtype=np.float32), 'video', 'got float32'),
    (frames(), 'features', 'reads feature files, not frames')])
def test_what_is_no_video(inputs, kind, message):
    with pytest.raises(InferenceError, match=message):
        list_videos(inputs, kind)


def test_a_folder_without_videos(tmp_path):
    touch(tmp_path, 'notes.txt')
    with pytest.raises(InferenceError, match=r'no video in this folder.*\.mp4'):
        list_videos(tmp_path, 'video')
