"""The bar counts videos, and its length is their work."""
import pytest

from sbp_tad.apis.inference.progress import VideoProgress


def test_progress_is_the_share_of_the_work(capsys):
    with VideoProgress(dict(long=30, short=10), is_shown=True) as progress:
        task = progress.bar.tasks[0]
        assert (task.total, task.fields['count']) == (40, '0/2')
        for number in range(3):
            progress.advance('long', 3, number == 2)
            assert task.completed == pytest.approx(10 * (number + 1))
        assert (task.fields['count'], task.description) == ('1/2', 'long')
        assert not task.finished
        for number in range(7):
            progress.advance('short', 7, number == 6)
    assert task.finished and task.fields['count'] == '2/2'
    assert '2/2 videos' in capsys.readouterr().err


def test_a_run_that_fails_does_not_claim_to_be_done():
    with pytest.raises(KeyboardInterrupt):
        with VideoProgress(dict(a=1, b=1), is_shown=True) as progress:
            progress.advance('a', 1, True)
            raise KeyboardInterrupt
    assert progress.bar.tasks[0].completed == 1


@pytest.mark.parametrize('weights, is_shown', [({}, True), (dict(a=1), False)])
def test_nothing_is_drawn_of_nothing(weights, is_shown, capsys):
    with VideoProgress(weights, is_shown) as progress:
        if weights:
            progress.advance('a', 1, True)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ''
