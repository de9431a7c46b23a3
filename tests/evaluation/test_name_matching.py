"""Names that differ in prefix, extension, case or punctuation alone match; no others do."""
import pytest

from sbp_tad.evaluation.name_matching import match_labels, match_videos, plain_video_id

KNOWN = ['video_test_0000004', 'abc-DEF_12', 'v_already']


@pytest.mark.parametrize('found, known', [
    ('v_abc-DEF_12', 'abc-DEF_12'), ('abc-DEF_12.mp4', 'abc-DEF_12'),
    ('rawframes/test/v_abc-DEF_12', 'abc-DEF_12'), ('C:\\videos\\ABC-def_12.AVI', 'abc-DEF_12'),
    ('already', 'v_already'), (' video_test_0000004 ', 'video_test_0000004')])
def test_ids_match(found, known):
    assert match_videos([found], KNOWN) == {found: known}


def test_ids_that_are_known_or_of_others_do_not_match():
    assert match_videos([*KNOWN, 'video_test_0000005', 'abc'], KNOWN) == {}


def test_two_known_ids_that_look_alike_are_left_alone():
    assert match_videos(['a.mp4'], ['A', 'a_', 'a']) == {}
    assert match_videos(['B.mp4'], ['v_b', 'b.avi']) == {}


def test_a_common_prefix_and_suffix_are_taken_off():
    known = [f'clip{number:02d}' for number in range(20)]
    found = [f'thumos-{name}-rgb' for name in known]
    assert match_videos(found, known) == dict(zip(found, known))
    assert match_videos(['xx-clip01', 'other', 'another', 'third'], known) == {}


def test_labels_match():
    assert match_labels(['clean_and-jerk', 'DIVING', 'x'], ['Clean and Jerk', 'Diving']) == {
        'clean_and-jerk': 'Clean and Jerk', 'DIVING': 'Diving'}
    assert match_labels(['ab'], ['a b', 'A-B']) == {}


def test_names_with_dots_keep_them():
    assert plain_video_id('P01_101.5') == 'p01_101.5'
