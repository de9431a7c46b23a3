"""Segments that the datasets refuse or drop are reported at the conversion."""
import pytest

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.rows import Row
from sbp_tad.datasets.formats.segment_faults import report_segment_faults


def faults(*segments, timing=()):
    sentences = []
    report_segment_faults([Row(f'a.csv, line {number}', 'v', 'pour', *segment, timing)
                           for number, segment in enumerate([(1, 2), *segments], 2)],
                          sentences.append)
    return sentences


def test_good_segments_and_videos_without_one_are_silent():
    assert faults((3, 4)) == []
    report_segment_faults([Row('a.csv, line 2', 'v')], pytest.fail)


@pytest.mark.parametrize('segment, words', [
    ((5, 3), "1 of 3 segments ends before it starts; the first is [5, 3] 'pour' of "
             "video 'v' (a.csv, line 3). Correct such segments: the datasets refuse the file."),
    ((5, 5), 'has no length'), ((-2, 3), 'starts before 0'), ((3, 12), 'ends after its video')])
def test_each_kind_is_counted_with_its_first_segment(segment, words):
    found = faults(segment, (6, 7), timing=(('duration', 10.0), ))
    assert len(found) == 1 and words in found[0]


def test_several_segments_are_counted():
    assert faults((5, 3), (4, 2))[0].startswith("2 of 3 segments end before they start; the first")


def test_nothing_sensible_is_an_error():
    rows = [Row('a.csv, line 2', 'v', 'pour', 5, 3), Row('a.csv, line 3', 'v', 'pour', 4, 4)]
    with pytest.raises(DatasetError, match=r'No segment of 2 segments starts .*\[5, 3\].* columns'):
        report_segment_faults(rows, pytest.fail)
