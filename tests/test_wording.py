"""Numbers in sentences."""
from sbp_tad.wording import agreeing, count_of


def test_one_has_no_plural():
    assert count_of(1, 'video') == '1 video' and count_of(0, 'video') == '0 videos'
    assert count_of(2, 'class', 'classes') == '2 classes'
    assert [agreeing(number, 'has', 'have') for number in (0, 1, 2)] == ['have', 'has', 'have']
