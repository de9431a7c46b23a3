"""Every kind of fault that an annotation can have, planted and found, and nothing else with it."""
from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp_tad.annotations import VideoAnnotation, read_annotations
from sbp_tad.datasets.checks.annotation_check import (
    Expectations,
    check_annotations,
    overlapping_pairs,
    shared_subsets,
    unused_subsets,
)
from sbp_tad.datasets.checks.findings import KINDS, SEVERITIES, Finding, is_clean

EXPECTED = Expectations(('pour', 'stir'), ('training',))


def video(*items, name='planted', subset='training', duration=100.0, fps=25.0, frames=2500):
    segments = np.array([item[:2] for item in items], dtype=float).reshape(-1, 2)
    return VideoAnnotation(name, subset, duration, fps, frames, segments,
                           tuple(item[2] for item in items))


def clean_set():
    """20 segments of either class."""
    items = [(3 * i, 3 * i + 2, ('pour', 'stir')[i % 2]) for i in range(10)]
    return {name: video(*items, name=name) for name in 'abcd'}


def found(planted=None, expected=EXPECTED, **others):
    videos = clean_set()
    if planted is not None:
        videos['planted'] = planted
    return check_annotations({**videos, **others}, expected)


def test_a_clean_set_has_no_finding():
    assert found() == [] and is_clean([])


PLANTED = {
    'reversed-segment': (video((5, 3, 'pour')), r'\[5, 3\] s .pour. must start before'),
    'zero-length-segment': (video((5, 5, 'pour')), r'\[5, 5\] s .pour.'),
    'outside-segment': (video((98, 101, 'pour'), (1, 2, 'stir')), 'lasts 100 s'),
    'unknown-label': (video((1, 2, 'bake'), (3, 4, 'bake')), "2 segments .* 'bake', which is no"),
    'only-ignored-labels': (video((1, 2, 'Ambiguous')), 'holds only Ambiguous'),
    'duplicate-segment': (video((1, 2, 'pour'), (1, 2, 'pour')), 'are the same'),
    'overlap-same-label': (video((1, 4, 'pour'), (3, 5, 'pour')),
                           r"\[1, 4\] s 'pour' and \[3, 5\] s 'pour' overlap"),
    'overlap-other-label': (video((1, 4, 'pour'), (3, 5, 'stir')), r"overlap \(1 time\)"),
    'timing-mismatch': (video((1, 2, 'pour'), fps=30.0),
                        '2500 frames at 30 fps last 83.3333 s, but the duration is 100 s'),
    'implausible-fps': (video((1, 2, 'pour'), fps=1000.0, frames=None), '1000 fps'),
    'unknown-timing': (video((1, 2, 'pour'), fps=None), 'fps not given'),
    'video-without-segments': (video(), 'has no segment'),
    'label-spelling': (video((1, 2, 'Pour')), r"'pour' \(20 times\), 'Pour' \(1 time\)"),
    'subset-spelling': (video((1, 2, 'pour'), subset='Training'), "'training' .4 .*'Training'"),
}
ALSO = {'label-spelling': {'unknown-label'}}


@pytest.mark.parametrize('kind', PLANTED)
def test_planted_fault_is_found_alone(kind):
    planted, message = PLANTED[kind]
    findings = found(planted)
    assert {finding.kind for finding in findings} == {kind} | ALSO.get(kind, set())
    finding, = (finding for finding in findings if finding.kind == kind)
    assert re.search(message, finding.message)
    if 'spelling' not in kind:
        assert finding.subject == 'planted'


def test_clipping_makes_an_outside_segment_a_warning():
    clip = Expectations(('pour', 'stir'), ('training',), out_of_range='clip')
    findings = found(video((98, 101, 'pour'), (1, 2, 'stir')), clip)
    assert [finding.kind for finding in findings] == ['clipped-segment']
    assert is_clean(findings) and not is_clean(findings, strict=True)


def test_tolerance_of_the_dataset_counts():
    assert found(video((98, 100.05, 'pour'))) == []
    assert found(video((-0.2, 1, 'pour')))[0].kind == 'outside-segment'
    unknown = found(video((-0.2, 1, 'pour'), duration=None, frames=None))
    assert {finding.kind for finding in unknown} == {'outside-segment', 'unknown-timing'}


def test_annotation_of_another_video():
    findings = found(video((1, 2, 'pour'), (110, 120, 'pour'), (130, 131, 'stir')))
    assert Counter(finding.kind for finding in findings) == {
        'outside-segment': 2, 'foreign-annotation': 1}
    assert '2 of 3 segments' in findings[-1].message


def test_balance():
    three = Expectations(('pour', 'stir', 'bake'), ('training',))
    assert [(finding.kind, finding.subject) for finding in found(expected=three)] == [
        ('class-without-segments', 'bake')]
    rare = found(video((1, 2, 'bake')), three)
    assert [finding.kind for finding in rare] == ['rare-class']
    many = video(*((2 * i, 2 * i + 1, 'bake') for i in range(410)), duration=900, frames=22500)
    ratio, = found(many, three)
    assert ratio.kind == 'class-imbalance' and "'bake' has 410 segments, 'pour' 20: 20" in \
        ratio.message
    testing = Expectations(('pour', 'stir', 'bake'), ('training',), training=False)
    assert found(video((1, 2, 'bake')), testing) == []


def test_subsets():
    absent = found(expected=Expectations(('pour', 'stir'), ('train',)))
    assert [finding.kind for finding in absent] == [
        'empty-subset', 'class-without-segments', 'class-without-segments']
    assert "no video is in subset 'train'; the file holds ['training']" in absent[0].message
    either = found(expected=Expectations(('pour', 'stir'), ('training', 'train')))
    assert [finding.kind for finding in either] == ['absent-subset'] and is_clean(either)
    assert [finding.kind for finding in shared_subsets(('a', 'b'), ('b',))] == ['shared-subset']
    upper = found(expected=Expectations(('pour', 'stir'), ('Training',)))
    assert upper == [] and unused_subsets(clean_set(), ('Training',)) == []
    unused, = unused_subsets(clean_set(), ('test',))
    assert (unused.kind, unused.message[:8]) == ('unused-subset', '4 videos')


def test_excluded_videos_are_not_checked():
    expected = Expectations(('pour', 'stir'), ('training',), excluded_videos=('planted',))
    finding, = found(video((5, 3, 'bake')), expected)
    assert finding.kind == 'excluded-video' and finding.severity == 'note'


def test_classes_and_subsets_follow_from_the_file_where_none_are_given():
    assert found(video((1, 2, 'bake')), Expectations(training=False)) == []


def test_ignored_labels_may_overlap_and_lie_anywhere():
    assert found(video((1, 2, 'pour'), (1, 3, 'Ambiguous'), (90, 120, 'Ambiguous'))) == []


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6)), max_size=12))
def test_overlapping_pairs_equal_the_slow_definition(items):
    segments = np.array([(start, start + length) for start, length in items],
                        dtype=float).reshape(-1, 2)
    slow = [(i, j) for i in range(len(items)) for j in range(i + 1, len(items))
            if min(segments[i][1], segments[j][1]) > max(segments[i][0], segments[j][0])
            or tuple(segments[i]) == tuple(segments[j])]
    assert list(overlapping_pairs(segments)) == slow


def test_severities_and_remedies_are_complete():
    for kind in KINDS:
        finding = Finding(kind, 'x', 'y')
        assert finding.severity in SEVERITIES and finding.remedy.endswith('.')
        assert is_clean([finding]) is (finding.severity != 'error')
        assert is_clean([finding], strict=True) is (finding.severity == 'note')


def test_known_quirks_of_thumos14(shared_data):
    path = shared_data / 'thumos14' / 'thumos14_official_with_ambiguous.json'
    findings = check_annotations(read_annotations(path), Expectations())
    subjects = {kind: Counter(finding.subject for finding in findings if finding.kind == kind)
                for kind in KINDS}
    outside = subjects['outside-segment']
    assert outside.total() == 30 and outside['video_test_0000270'] == 22
    assert list(subjects['foreign-annotation']) == ['video_test_0000270']
    assert list(subjects['only-ignored-labels']) == ['video_test_0001292']
    assert {finding.kind for finding in findings if finding.severity != 'note'} == {
        'outside-segment', 'foreign-annotation', 'only-ignored-labels', 'overlap-same-label'}
