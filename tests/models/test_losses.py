import pytest
import torch
import torch.nn.functional as F
from torch.autograd.graph import saved_tensors_hooks

from sbp_tad.models.losses import aligned_diou_loss, frame_cross_entropy, sigmoid_focal_loss
from sbp_tad.registry import MODELS


def test_focal_loss_without_focus_is_cross_entropy():
    logits, targets = torch.randn(5, 3), torch.randint(0, 2, (5, 3)).float()
    loss = sigmoid_focal_loss(logits, targets, alpha=-1, gamma=0)
    expected = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    torch.testing.assert_close(loss, expected)


def test_focal_loss_of_known_probabilities():
    probability = torch.tensor([0.9, 0.9, 0.2], dtype=torch.float64)
    loss = sigmoid_focal_loss(probability.logit(), torch.tensor([1., 0., 1.]))
    expected = [-0.25 * 0.1**2 * torch.log(torch.tensor(0.9)),
                -0.75 * 0.9**2 * torch.log(torch.tensor(0.1)),
                -0.25 * 0.8**2 * torch.log(torch.tensor(0.2))]
    torch.testing.assert_close(loss.float(), torch.stack(expected))


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0])
def test_focal_loss_has_finite_gradients_at_sure_answers(gamma):
    logits = torch.tensor([-200., -100., 0., 100., 200.] * 2, requires_grad=True)
    targets = torch.tensor([0.] * 5 + [1.] * 5)
    loss = sigmoid_focal_loss(logits, targets, gamma=gamma)
    loss.sum().backward()
    assert loss.isfinite().all() and (loss >= 0).all()
    assert logits.grad.isfinite().all()
    assert (logits.grad[:5] >= 0).all() and (logits.grad[5:] <= 0).all()


def test_focal_gradient_is_that_of_finite_differences():
    logits = torch.randn(6, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0., 1, 1, 0, 1, 0])
    torch.autograd.gradcheck(lambda x: sigmoid_focal_loss(x, targets), logits)


@pytest.mark.parametrize('predicted, target, expected', [
    ((2, 6), (2, 6), 0.0),
    ((0, 4), (2, 6), 1 - 2 / 6 + (2 / 6) ** 2),
    ((0, 1), (3, 4), 1 + (3 / 4) ** 2),          # apart: still pulled together
    ((1, 3), (0, 4), 1 - 2 / 4),                 # same centre
    ((2, 2), (0, 4), 1.0),                       # no length, in the centre
    ((0, 0), (0, 4), 1 + (2 / 4) ** 2),
    ((3, 3), (3, 3), 1.0),                       # neither has a length
])
def test_diou_of_known_segments(predicted, target, expected):
    loss = aligned_diou_loss(torch.tensor([predicted], dtype=torch.float64),
                             torch.tensor([target], dtype=torch.float64))
    torch.testing.assert_close(loss, torch.tensor([expected], dtype=torch.float64))


def test_diou_goes_row_by_row_and_never_meets_other_rows():
    predicted = torch.rand(300, 2).cumsum(1)
    target = torch.rand(300, 2).cumsum(1)
    together = aligned_diou_loss(predicted, target)
    alone = torch.cat([aligned_diou_loss(predicted[i:i + 1], target[i:i + 1]) for i in range(300)])
    assert torch.equal(together, alone)
    sizes = []
    with saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
        aligned_diou_loss(predicted.requires_grad_(), target)
    assert max(sizes) <= 600


def test_diou_does_not_depend_on_the_unit_or_the_origin():
    predicted, target = torch.rand(2, 50, 2, dtype=torch.float64).cumsum(2)
    loss = aligned_diou_loss(predicted, target)
    torch.testing.assert_close(aligned_diou_loss(predicted * 7 - 3, target * 7 - 3), loss)


@pytest.mark.parametrize('predicted', [(2, 2), (0, 0), (1, 3), (0, 4), (5, 9), (4, 4), (4, 6)])
@pytest.mark.parametrize('target', [(0, 4), (2, 2)])
def test_diou_gradients_are_bounded_at_degenerate_segments(predicted, target):
    predicted = torch.tensor([predicted], dtype=torch.float32, requires_grad=True)
    aligned_diou_loss(predicted, torch.tensor([target])).sum().backward()
    assert predicted.grad.isfinite().all()
    assert predicted.grad.abs().max() <= 2


def test_an_empty_prediction_inside_the_target_is_told_to_grow():
    predicted = torch.tensor([[2.0, 2.0]], requires_grad=True)
    aligned_diou_loss(predicted, torch.tensor([[0.0, 4.0]])).sum().backward()
    assert predicted.grad[0, 0] > 0 > predicted.grad[0, 1]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    assert aligned_diou_loss(torch.ones(1, 2, dtype=dtype), torch.ones(1, 2)).dtype == torch.float32
    assert sigmoid_focal_loss(torch.ones(2, dtype=dtype), torch.ones(2)).dtype == torch.float32


def test_modules_sum_and_weigh():
    logits, targets = torch.randn(4, 2), torch.ones(4, 2)
    focal = MODELS.build(dict(type='SigmoidFocalLoss', alpha=0.5, gamma=1.0, loss_weight=3.0))
    torch.testing.assert_close(focal(logits, targets),
                               3 * sigmoid_focal_loss(logits, targets, 0.5, 1.0).sum())
    diou = MODELS.build(dict(type='AlignedDIoULoss', loss_weight=2.0))
    assert diou(torch.tensor([[1., 3.]]), torch.tensor([[0., 4.]])).item() == 1.0


def test_no_rows_give_zero_with_a_gradient():
    predicted = torch.empty(0, 2, requires_grad=True)
    loss = MODELS.build(dict(type='AlignedDIoULoss'))(predicted, torch.empty(0, 2))
    loss.backward()
    assert loss.item() == 0


def test_frame_cross_entropy_of_single_classes_is_torch_s():
    logits, labels, valid = torch.randn(2, 5, 4), torch.randint(4, (2, 5)), torch.rand(2, 5) < 0.6
    found = frame_cross_entropy(logits, torch.eye(4)[labels], valid)
    torch.testing.assert_close(found, F.cross_entropy(logits[valid], labels[valid]))


def test_frame_cross_entropy_counts_a_frame_once_for_each_class():
    logits = torch.tensor([[1., 2., 3.]])
    targets, valid = torch.tensor([[0, 1, 1]]), torch.tensor([True])
    alone = [frame_cross_entropy(logits, torch.eye(3)[[label]], valid) for label in (1, 2)]
    torch.testing.assert_close(frame_cross_entropy(logits, targets, valid), sum(alone))


def test_frames_that_do_not_count_reach_neither_loss_nor_gradient():
    logits = torch.tensor([[0.3, 0.1], [float('nan'), 1.]], requires_grad=True)
    targets = torch.tensor([[0., 1.], [-1., float('nan')]])
    frame_cross_entropy(logits, targets, torch.tensor([True, False])).backward()
    assert logits.grad[0].isfinite().all() and (logits.grad[1] == 0).all()
    logits.grad = None
    loss = frame_cross_entropy(logits, targets, torch.tensor([False, False]))
    loss.backward()
    assert loss == 0 and (logits.grad == 0).all()


def test_frame_cross_entropy_of_bfloat16_is_computed_in_float32():
    logits = torch.randn(3, 4).bfloat16()
    targets, valid = torch.eye(4)[:3], torch.ones(3, dtype=torch.bool)
    loss = frame_cross_entropy(logits, targets, valid)
    assert torch.equal(loss, frame_cross_entropy(logits.float(), targets, valid))
