"""The picture of a comparison: one bubble per strategy, its area the time."""
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.palette import PALETTE
from sbp_tad.visualization.strategy_plot import StrategyPoint, draw_strategies


def point(name, group='a', memory=20.0, mAP=50.0, deviation=0.0, time_ratio=1.0):
    return StrategyPoint(name, group, memory, mAP, deviation, time_ratio)


def draw(tmp_path, *points):
    draw_strategies(tmp_path / 'plot.png', points)
    return imread(tmp_path / 'plot.png')[..., :3]


def bubble_pixels(image, number):
    """Pixels of a group's colour on white, above the legend."""
    colour = 0.8 * np.array(to_rgb(PALETTE[number])) + 0.2
    plot = image[:int(0.85 * len(image))]
    return int((np.abs(plot - colour).max(axis=2) < 0.06).sum())


def test_a_bubble_of_twice_the_time_has_twice_the_area(tmp_path):
    image = draw(tmp_path, point('long', 'a', 80, 60, time_ratio=2.0),
                 point('short', 'b', 10, 40, time_ratio=1.0))
    assert bubble_pixels(image, 0) == pytest.approx(2 * bubble_pixels(image, 1), rel=0.15)


def test_an_unknown_time_is_a_ring(tmp_path):
    known, unknown = (bubble_pixels(draw(tmp_path, point('x', time_ratio=ratio)), 0)
                      for ratio in (1.0, None))
    assert unknown < known / 3


def test_error_bars_and_more_memory_change_the_picture(tmp_path):
    plain = draw(tmp_path, point('x'), point('y', memory=40))
    assert (draw(tmp_path, point('x', deviation=3.0), point('y', memory=40)) != plain).any()
    assert (draw(tmp_path, point('x'), point('y', memory=80)) != plain).any()


def test_nothing_to_draw_and_nowhere_to_write(tmp_path):
    with pytest.raises(VisualizationError, match='no strategy has a mAP to draw; train at least'):
        draw(tmp_path)
    with pytest.raises(VisualizationError, match='Cannot write the plot to'):
        draw_strategies(tmp_path / 'no' / 'plot.png', [point('x')])
