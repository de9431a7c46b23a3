import torch

from sbp_tad.models.layers.overlap import overlap_and_union


def test_overlap_and_union_broadcast():
    a, b = torch.tensor([[0., 4.], [6., 8.]]), torch.tensor([[2., 5.]])
    shared, union = overlap_and_union(a[:, None].unbind(2), b.unbind(1))
    assert shared.tolist() == [[2], [0]] and union.tolist() == [[5], [5]]
