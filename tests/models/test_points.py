import pytest
import torch

from sbp_tad.models.blocks import TemporalModelError
from sbp_tad.models.points import pyramid_points


def test_points_stand_in_the_middle_of_their_steps():
    points = pyramid_points([4, 2, 1], [1, 2, 4], [(0, 2), (2, 4), (4, 100)])
    assert points.centres.tolist() == [0.5, 1.5, 2.5, 3.5, 1.0, 3.0, 2.0]
    assert points.strides.tolist() == [1, 1, 1, 1, 2, 2, 4]
    assert points.reaches.tolist() == [[0, 2]] * 4 + [[2, 4]] * 2 + [[4, 100]]
    assert points.centres.dtype == torch.float32


@pytest.mark.parametrize('strides, ranges', [([1], [(0, 2), (2, 4)]), ([1, 2], [(0, 2)])])
def test_every_level_needs_its_settings(strides, ranges):
    with pytest.raises(TemporalModelError, match='2 levels need as many strides'):
        pyramid_points([4, 2], strides, ranges)
