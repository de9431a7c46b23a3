"""Video files as a source: timing from the annotation, else from the file."""
from __future__ import annotations

import numpy as np
import pytest

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets import VideoFiles, VideoReadError
from sbp_tad.datasets.frame_clock import clock_of_ticks
from sbp_tad.datasets.readers import video_files
from sbp_tad.datasets.readers.frame_folders import FrameFolders
from sbp_tad.datasets.readers.video_header import VideoHeader
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


def test_a_stride_in_a_file_of_variable_rate_counts_in_its_nominal_rate(monkeypatch):
    """As an annotation with that fps; one warning names the rate and how to set it."""
    ticks = np.r_[np.arange(0, 24, 2), np.arange(24, 48)]  # frames of the first 2 s are dropped
    header = VideoHeader(clock_of_ticks(ticks, 1 / 12, 0, 48, [9.0, 12.0]))
    monkeypatch.setattr(video_files, 'probe_video', lambda name: header)
    notes = []
    monkeypatch.setattr(video_files, 'print_log', lambda text, *rest: notes.append(text))
    source, size = VideoFiles(), WindowSize(8, 2)
    video, windows = source.windows('a.mp4', annotation(), size, 0.5)
    assert (video.fps, windows) == (12, source.windows('a.mp4', annotation(12, 4), size, 0.5)[1])
    source.windows('b.mp4', annotation(), size, 0.5)
    assert len(notes) == 1
    assert 'a.mp4 has a variable frame rate' in notes[0] and '1/12 s' in notes[0]
    assert '--fps' in notes[0] and 'target_fps' in notes[0]
    VideoFiles().windows('a.mp4', annotation(), WindowSize(8, target_fps=6), 0.5)
    VideoFiles().windows('a.mp4', annotation(12), size, 0.5)
    assert len(notes) == 1
