"""Windows without any action train without NaN under every loss and every head."""
import pytest
import torch
from online_cases import CHANNELS, CLASSES, HEADS

from sbp_tad.models.heads.dense_head import DenseHead
from sbp_tad.models.heads.online_head import OnlineHead
from sbp_tad.registry import MODELS

STEPS = 16
DETECTION_HEADS = {
    'anchor_free': dict(type='AnchorFreeHead', strides=(1, ),
                        regression_ranges=((0, 10000), )),
    'retina': dict(type='RetinaHead1d', strides=(1, ), num_convs=1),
    'segmentation': dict(type='SegmentationHead'),
}
LOSSES = {
    'default': None,
    'no_focus': dict(type='SigmoidFocalLoss', gamma=0.0, alpha=-1),
    'half_focus': dict(type='SigmoidFocalLoss', gamma=0.5),
}


def build(settings, loss_cls=None):
    torch.manual_seed(0)
    options = {} if loss_cls is None else dict(loss_cls=loss_cls)
    return MODELS.build(dict(settings, num_classes=CLASSES, in_channels=CHANNELS, **options))


def check(head, losses, expected=None):
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values()), losses
    gradients = [p.grad for p in head.parameters() if p.requires_grad]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert any(g.any() for g in gradients) is (expected is not False)


@pytest.mark.parametrize('real', [(STEPS, STEPS), (STEPS, 0), (0, 0)])
@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('case', DETECTION_HEADS)
def test_detection_heads(case, loss, real):
    """Whole windows, one that is all padding, and all padding."""
    head = build(DETECTION_HEADS[case], LOSSES[loss])
    features = torch.randn(2, CHANNELS, STEPS)
    mask = torch.arange(STEPS) < torch.tensor(real)[:, None]
    nothing = [torch.empty(0, 2)] * 2, [torch.empty(0, dtype=torch.int64)] * 2
    check(head, head.loss((features, ), (mask, ), *nothing), expected=any(real))


@pytest.mark.parametrize('background, valid, remembered', [
    (True, True, True), (True, True, False), (False, False, True), (False, False, False)])
@pytest.mark.parametrize('case', HEADS)
def test_online_heads(case, background, valid, remembered):
    """Only background, or no frame that counts; with and without a history."""
    head = build(dict(HEADS[case], num_frames=4, memory_frames=3, memory_stride=2))
    targets = torch.zeros(2, 4, 1 + CLASSES)
    targets[..., 0] = background
    losses = head.loss(torch.randn(2, CHANNELS, 3), torch.full((2, 3), remembered),
                       torch.randn(2, CHANNELS, 4), targets, torch.full((2, 4), valid))
    check(head, losses, expected=valid)


def test_no_head_and_no_loss_is_forgotten():
    registered = {name for name, kind in MODELS.module_dict.items() if isinstance(kind, type)
                  and (issubclass(kind, (DenseHead, OnlineHead)) or name == 'SegmentationHead')}
    assert registered == {case['type'] for case in (DETECTION_HEADS | HEADS).values()}
    losses = {name for name in MODELS.module_dict if name.endswith('Loss')}
    assert losses == {'SigmoidFocalLoss', 'AlignedDIoULoss'}  # the latter is every loss_reg
