"""Temporal IoU: known values, laws and refusals."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import nms as reference
from segment_cases import detections

from sbp_tad.segments import SegmentError, temporal_iou


def test_iou_of_known_pairs():
    a = [[0, 10], [5, 5], [-4, -2]]
    b = [[0, 10], [5, 15], [10, 20], [2, 4], [5, 5]]
    expected = [[1, 1 / 3, 0, 0.2, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(temporal_iou(np.array(a), np.array(b)), expected)


@pytest.mark.parametrize('a, b, shape', [(0, 3, (0, 3)), (2, 0, (2, 0)), (0, 0, (0, 0))])
def test_iou_of_nothing_has_its_shape(a, b, shape):
    assert temporal_iou(np.ones((a, 2)), np.ones((b, 2))).shape == shape


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.floats(0.1, 10), st.floats(-50, 50))
def test_iou_is_symmetric_bounded_and_without_units(seed, scale, shift):
    segments = detections(12, 1, seed, duration=30)[0]
    overlap = temporal_iou(segments, segments)
    np.testing.assert_array_equal(overlap, overlap.T)
    assert (overlap >= 0).all() and (overlap <= 1).all()
    np.testing.assert_array_equal(overlap.diagonal(), 1)
    moved = segments * scale + shift
    np.testing.assert_allclose(temporal_iou(moved, moved), overlap, atol=1e-9)
    slow = [[reference.tiou(a, b) for b in segments] for a in segments]
    np.testing.assert_array_equal(overlap, slow)


def test_iou_refuses_a_wrong_shape():
    with pytest.raises(SegmentError, match=r'shape \(N, 2\)'):
        temporal_iou(np.ones(4), np.ones((1, 2)))
