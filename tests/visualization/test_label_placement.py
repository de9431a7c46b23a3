"""Labels beside points cover neither points nor each other."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp_tad.visualization.label_placement import overlap_areas, place_labels

BOUNDS = np.array([0.0, 0.0, 1000.0, 700.0])


def place(points, radius=10.0, size=(90.0, 16.0), **options):
    number = len(points)
    return place_labels(np.array(points, dtype=float), np.full(number, radius),
                        np.tile(size, (number, 1)), BOUNDS, **options)


def covered(boxes):
    """Area that the boxes share with each other."""
    areas = overlap_areas(boxes, boxes)
    return areas.sum() - np.trace(areas)


def test_overlap_of_boxes_by_hand():
    boxes = np.array([[0, 0, 4, 4], [10, 10, 12, 12]])
    others = np.array([[2, 3, 8, 9], [4, 0, 5, 4]])
    assert overlap_areas(boxes, others).tolist() == [[2, 0], [0, 0]]


def test_a_point_alone_has_its_label_to_the_right():
    box, = place([(500, 300)])
    assert box == pytest.approx([512, 292, 602, 308])


def test_labels_stay_inside():
    for box in place([(2, 2), (998, 2), (998, 698), (2, 698)]):
        assert (box[:2] >= BOUNDS[:2] - 1e-9).all() and (box[2:] <= BOUNDS[2:] + 1e-9).all()


def test_an_obstacle_is_not_covered():
    bar = np.array([[505.0, 200.0, 700.0, 400.0]])
    box = place([(500, 300)], obstacles=bar)
    assert overlap_areas(box, bar).sum() == 0 and box[0, 2] < 500


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(300, 700), st.integers(250, 450)), min_size=2, max_size=7,
                unique=True))
def test_crowded_points_have_free_labels(points):
    boxes = place(points)
    assert covered(boxes) < 1e-6
    sizes = boxes[:, 2:] - boxes[:, :2]
    assert sizes == pytest.approx(np.tile((90, 16), (len(points), 1)))
    reach = np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - points).max()
    assert reach < 10 + 50 + 45 + 8  # radius, largest gap, half a label
