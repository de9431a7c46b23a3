"""The picture of training shows each run in its colour."""
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.palette import PALETTE
from sbp_tad.visualization.training_log import TrainingLog
from sbp_tad.visualization.training_plot import draw_training

STEPS = np.arange(1.0, 60.0)


def log(name, **curves):
    return TrainingLog(name, {key: (STEPS, value) for key, value in curves.items()})


def draw(tmp_path, *logs):
    draw_training(tmp_path / 'plot.png', logs)
    return imread(tmp_path / 'plot.png')[..., :3]


def pixels_of(image, colour):
    return int((np.abs(image - np.array(to_rgb(colour))).max(axis=2) < 0.02).sum())


def test_each_run_has_one_colour(tmp_path):
    image = draw(tmp_path, log('a', loss=1 / STEPS, loss_cls=STEPS), log('b', loss=STEPS))
    assert pixels_of(image, PALETTE[0]) > 300 and pixels_of(image, PALETTE[1]) > 300
    assert pixels_of(image, PALETTE[2]) == 0  # parts of the loss are for a run alone


def test_a_run_alone_shows_the_parts_of_its_loss(tmp_path):
    image = draw(tmp_path, log('a', loss=STEPS, loss_cls=STEPS / 2, loss_reg=STEPS / 3))
    assert all(pixels_of(image, PALETTE[number]) > 300 for number in range(3))


def test_panels_are_those_that_have_something_to_show(tmp_path):
    one = draw(tmp_path, log('a', loss=STEPS))
    curves = dict(loss=STEPS, lr=0 * STEPS, keep_ratio=STEPS, peak_memory_mib=STEPS)
    assert len(draw(tmp_path, log('a', **curves))) > 1.5 * len(one)


def test_nothing_to_draw_and_nowhere_to_write(tmp_path):
    with pytest.raises(VisualizationError, match='the logs have none of the scalars loss, tad'):
        draw(tmp_path, log('a', accuracy=STEPS))
    with pytest.raises(VisualizationError, match='Cannot write the plot to'):
        draw_training(tmp_path / 'no' / 'plot.png', [log('a', loss=STEPS)])
