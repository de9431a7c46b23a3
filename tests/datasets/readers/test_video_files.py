"""Video files as a source: timing from the annotation, else from the file."""
from __future__ import annotations

import numpy as np
import pytest

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets import VideoFiles, VideoReadError
from sbp_tad.datasets.readers.frame_folders import FrameFolders
from sbp_tad.datasets.windows import WindowSize


def annotation(fps: float | None = None, seconds: float | None = None) -> VideoAnnotation:
    return VideoAnnotation('a', 'test', seconds, fps, None, np.empty((0, 2)), ())


def test_the_file_fills_in_what_the_annotation_lacks(small_video):  # 40 frames at 10 fps
    video, windows = VideoFiles().windows(str(small_video), annotation(), WindowSize(8, 2), 0.5)
    assert (video.fps, video.duration_seconds) == (10, 4)
    assert [window.start_frame for window in windows] == [0, 8, 16, 24]


def test_a_known_timing_needs_no_file():
    video, windows = VideoFiles().windows('absent.mp4', annotation(10, 2), WindowSize(8, 2), 0.5)
    assert (video.fps, video.duration_seconds) == (10, 2)
    assert [window.start_frame for window in windows] == [0, 4]
    with pytest.raises(VideoReadError, match='absent.mp4: no such video file'):
        VideoFiles().windows('absent.mp4', annotation(10), WindowSize(8, 2), 0.5)


def test_a_missing_file_hints_at_one_with_another_name(tmp_path):
    (tmp_path / 'v_a.webm').touch()
    with pytest.raises(VideoReadError, match="a.mp4: no such video file .* v_a.webm exists. Its "
                                             "name follows filename_template='v_{video_id}.webm'"):
        VideoFiles().inspect(str(tmp_path / 'a.mp4'), annotation())
    (tmp_path / 'v_a').mkdir()
    with pytest.raises(VideoReadError, match='a: no such folder of frames .* v_a exists'):
        FrameFolders().inspect(str(tmp_path / 'a'), annotation())
