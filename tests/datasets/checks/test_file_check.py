"""Faults of video files, planted and found."""
from __future__ import annotations

import numpy as np
import pytest

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.checks.annotation_check import Expectations
from sbp_tad.datasets.checks.file_check import check_files, find_files, unlisted_files
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.frame_clock import FrameClock
from sbp_tad.datasets.readers.video_header import VideoHeader, probe_video


def video(*segments, duration=4.0, fps=10.0, labels=None):
    segments = np.array(segments or [(1, 2)], dtype=float)
    return VideoAnnotation('v', 'training', duration, fps, None, segments,
                           labels or ('x',) * len(segments))


def found(annotation, path, expected=Expectations(), **options):  # noqa: B008, frozen
    return list(check_files({'v': annotation}, {'v': path}, expected, **options))


def test_a_file_like_its_annotation_has_no_finding(small_video):
    assert found(video(), small_video) == []


@pytest.mark.parametrize('kind, annotation, message', [
    ('fps-mismatch', video(fps=12.0), 'says 12 fps, the file has 10'),
    ('duration-mismatch', video(duration=5.5), 'says 5.5 s, the file lasts 4 s'),
    ('beyond-file', video((4.2, 4.5), duration=4.6), r"\[4.2, 4.5\] s 'x' begins after .* at 4 s"),
    ('outside-segment', video((3, 6), (1, 2), duration=None), 'leaves the video, which lasts 4 s'),
])
def test_differences(small_video, kind, annotation, message):
    finding, = found(annotation, small_video)
    assert finding.kind == kind and finding.subject == 'v'
    with pytest.raises(ValueError, match=message):
        raise ValueError(finding.message)


def test_ignored_labels_may_lie_anywhere(small_video):
    assert found(video((5, 6), (1, 2), duration=None, labels=('Ambiguous', 'x')),
                 small_video) == []


def test_missing_and_unreadable(tmp_path):
    finding, = found(video(), tmp_path / 'none.mp4')
    assert finding.kind == 'missing-file' and str(tmp_path / 'none.mp4') in finding.message
    (tmp_path / 'broken.mp4').write_bytes(b'no video')
    finding, = found(video(), tmp_path / 'broken.mp4')
    assert finding.kind == 'unreadable-file' and 'not a readable video' in finding.message


def test_other_sources_bring_their_own_header(tmp_path):
    seen = []

    def inspect(path, annotation):
        seen.append((path, annotation.video_id))
        return VideoHeader(FrameClock(40, 20.0))

    kinds = [finding.kind for finding in found(video(), tmp_path, inspect=inspect)]
    assert kinds == ['fps-mismatch', 'duration-mismatch'] and seen == [(tmp_path, 'v')]
    assert found(video(), tmp_path, inspect=lambda *_: None) == []


@pytest.mark.parametrize('name, kinds, message', [
    ('phone.mp4', ['variable-frame-rate'], 'variable frame rate: 60 frames, from 0.03 to 0.2 s'),
    ('screen.webm', ['variable-frame-rate'], 'variable frame rate: 60 frames, from 0.02 to 1 s'),
    ('gap.ts', ['variable-frame-rate'], 'from 0.04 to 1.64 s apart'),
    ('late.mp4', ['late-track'], 'the first frame is shown at second 1.6'),
    ('cover.mp4', ['variable-frame-rate'], 'variable frame rate'),
    ('steady.mp4', [], ''), ('raw_30.h264', [], '')])
def test_times_of_frames_are_a_note(name, kinds, message, timed_files):
    """Whatever rate an annotation gives, a variable one is no fault of the file."""
    path, _ = timed_files[name]
    header = probe_video(path)
    for fps in (None, 30.0) if kinds else (None,):
        annotated = video((0.1, 0.5), duration=header.duration_seconds, fps=fps)
        findings = found(annotated, path)
        assert [finding.kind for finding in findings] == kinds
        assert all(finding.severity == 'note' and message in finding.message
                   for finding in findings)


def test_files_are_found_whatever_their_extension(tmp_path):
    for name in ('a.webm', 'b.MKV', 'c.mp4', 'c.avi', 'd.v2.mp4', 'notes.txt'):
        (tmp_path / name).touch()
    files = find_files(tmp_path, ['a', 'b', 'c', 'd.v2', 'c.mp4', 'e'])
    assert [path.name for path in files.values()] == [
        'a.webm', 'b.MKV', 'c.mp4', 'd.v2.mp4', 'c.mp4', 'e.mp4']
    with pytest.raises(DatasetError, match='none: no such folder of videos'):
        find_files(tmp_path / 'none', ['a'])


def test_files_that_no_annotation_lists(tmp_path):
    for name in ('a.mp4', 'b.mp4', 'notes.txt'):
        (tmp_path / name).touch()
    finding, = unlisted_files([tmp_path / 'a.mp4', tmp_path / 'elsewhere' / 'c.mp4'])
    assert (finding.kind, finding.subject) == ('unlisted-file', 'b.mp4')
