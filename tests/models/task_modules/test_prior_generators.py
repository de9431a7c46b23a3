import pytest
import torch

from sbp_tad.models.errors import ModelError
from sbp_tad.models.task_modules.prior_generators import (
    HALF_STRIDE,
    MAX_GROWTH,
    decode_anchors,
    pyramid_anchors,
    pyramid_points,
)


@pytest.mark.parametrize('offset, expected', [
    (0.0, [0, 1, 2, 3, 0, 2, 0]), (0.5, [0.5, 1.5, 2.5, 3.5, 0.5, 2.5, 0.5]),
    (HALF_STRIDE, [0.5, 1.5, 2.5, 3.5, 1.0, 3.0, 2.0])])
def test_points_stand_a_stride_apart_from_one_offset(offset, expected):
    points = pyramid_points([4, 2, 1], [1, 2, 4], [(0, 2), (2, 4), (4, 100)], offset)
    assert points.centres.tolist() == expected
    assert points.strides.tolist() == [1, 1, 1, 1, 2, 2, 4]
    assert points.regression_ranges.tolist() == [[0, 2]] * 4 + [[2, 4]] * 2 + [[4, 100]]
    assert points.centres.dtype == torch.float32


@pytest.mark.parametrize('strides, ranges', [([1], [(0, 2), (2, 4)]), ([1, 2], [(0, 2)])])
def test_every_level_needs_its_settings(strides, ranges):
    with pytest.raises(ModelError, match='2 levels need as many strides'):
        pyramid_points([4, 2], strides, ranges, 0.5)


def test_anchors_stand_around_their_steps():
    anchors = pyramid_anchors([2, 1], [1, 2], [1.0, 3.0], 0.5)
    assert anchors.tolist() == [[0, 1], [-1, 2], [1, 2], [0, 3], [-0.5, 1.5], [-2.5, 3.5]]
    assert anchors.dtype == torch.float32


def test_no_offset_leaves_an_anchor_and_offsets_go_by_its_length():
    anchors = torch.tensor([[0., 4.], [10., 11.]])
    assert torch.equal(decode_anchors(anchors, torch.zeros(3, 2, 2)), anchors.expand(3, 2, 2))
    decoded = decode_anchors(anchors, torch.tensor([[0.5, 0.0], [-1.0, 0.6931472]]))
    torch.testing.assert_close(decoded, torch.tensor([[2., 6.], [8.5, 10.5]]))


@pytest.mark.parametrize('dtype, expected', [(torch.bfloat16, torch.float32),
                                             (torch.float64, torch.float64)])
def test_decoding_is_finite_and_in_full_precision(dtype, expected):
    decoded = decode_anchors(torch.tensor([[0., 2.]], dtype=expected),
                             torch.tensor([[0., 1e4]], dtype=dtype))
    assert decoded.dtype == expected and decoded.isfinite().all()
    length = decoded[0, 1] - decoded[0, 0]
    torch.testing.assert_close(length.log().item() - 0.6931472, MAX_GROWTH, rtol=1e-5, atol=0)
