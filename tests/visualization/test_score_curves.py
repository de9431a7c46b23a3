"""The picture of a stream: one row per class that occurs, filled up to its score."""
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.palette import PALETTE, shade
from sbp_tad.visualization.score_curves import draw_scores

CLASSES = ('run', 'jump', 'throw')
TIMES = np.arange(40) / 4
TRUTH = VideoAnnotation('video', 'test', 10.0, 12.0, 120, np.array([(1.0, 3.0)]), ('run', ))


def draw(tmp_path, scores, thumbnails=()):
    path = tmp_path / 'deep' / 'scores.png'
    draw_scores(path, 'video', TIMES, scores, TRUTH, CLASSES, thumbnails)
    return imread(path)[..., :3]


def pixels_of(image, index):
    colour = np.array(shade(PALETTE[index], 0.7))
    return int((np.abs(image - colour).max(axis=2) < 0.01).sum())


def test_curves_are_filled_as_high_as_they_score(tmp_path):
    low, high = np.full((40, 3), 0.3), np.full((40, 3), 0.3)
    high[:, 1] = 0.9
    before, after = (draw(tmp_path, scores) for scores in (low, high))
    assert pixels_of(after, 1) == pytest.approx(3 * pixels_of(before, 1), rel=0.1)
    assert pixels_of(after, 0) == pytest.approx(pixels_of(before, 0), rel=0.01)
    half = low.copy()
    half[:20, 1] = 0.0
    assert pixels_of(draw(tmp_path, half), 1) == pytest.approx(pixels_of(before, 1) / 2, rel=0.1)


def test_classes_that_do_not_occur_have_no_row(tmp_path):
    scores = np.zeros((40, 3))
    silent = draw(tmp_path, scores)
    scores[5, 2] = 0.5
    assert draw(tmp_path, scores).shape[0] > silent.shape[0]
    annotated = np.array(to_rgb(PALETTE[0]))
    assert (np.abs(silent - annotated).max(axis=2) < 0.01).any()  # annotated, so it has one


def test_thumbnails_stand_above(tmp_path):
    frame = np.full((20, 30, 3), (255, 0, 255), np.uint8)
    image = draw(tmp_path, np.zeros((40, 3)), [frame] * 4)
    assert (image == (1.0, 0.0, 1.0)).all(axis=2).sum() > 1000


@pytest.mark.parametrize(('times', 'scores'), [
    (TIMES, np.zeros((40, 2))), (TIMES[:1], np.zeros((1, 3))), (TIMES, np.zeros((39, 3)))])
def test_parts_that_do_not_fit_are_refused(tmp_path, times, scores):
    with pytest.raises(VisualizationError, match='at least two moments and for each of them the'):
        draw_scores(tmp_path / 'scores.png', 'video', times, scores, TRUTH, CLASSES)
