"""Components of mmaction2 that are repaired work, and are left alone where nothing is broken."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from sbp_tad import compat, mmaction_repairs


# ---------------------------------------------------------------- hue
@pytest.mark.parametrize('factor', [-0.5, -0.07, 0.0, 0.1, 0.25])
def test_hue_shifts_both_ways(factor):
    import cv2

    compat.prepare_stack()
    from mmaction.datasets.transforms import ColorJitter

    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    expected = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    for pixel in expected.reshape(-1, 3):
        pixel[0] = (int(pixel[0]) + int(factor * 255)) % 180
    expected = cv2.cvtColor(expected, cv2.COLOR_HSV2RGB)
    shifted = ColorJitter.adjust_hue(image.astype(np.float32), factor)
    assert shifted.dtype == np.float32
    np.testing.assert_array_equal(shifted, expected)


def test_hue_is_left_alone_before_numpy_2(monkeypatch):
    from mmaction.datasets.transforms import ColorJitter

    monkeypatch.setattr(ColorJitter, 'adjust_hue', 'as it was')
    monkeypatch.setattr(np, '__version__', '1.26.4')
    mmaction_repairs.repair_negative_hue()
    assert ColorJitter.adjust_hue == 'as it was'


# ---------------------------------------------------------------- bfloat16
def test_a_head_of_mmaction_reports_the_accuracy_of_bfloat16_scores():
    compat.prepare_stack()
    from mmaction.models.heads import TimeSformerHead
    from mmaction.structures import ActionDataSample

    mmaction_repairs.repair_bfloat16_scores()  # a second time changes nothing
    head = TimeSformerHead(num_classes=3, in_channels=4)
    samples = [ActionDataSample(), ActionDataSample()]
    for label, sample in zip((0, 2), samples):  # as mmaction2 1.2 or as 1.1 names it
        (getattr(sample, 'set_gt_label', None) or sample.set_gt_labels)(torch.tensor([label]))
    scores = torch.tensor([[3, 1, 0], [0, 3, 1]], dtype=torch.bfloat16, requires_grad=True)
    losses = head.loss_by_feat(scores, samples)
    assert losses['top1_acc'] == 0.5
    losses['loss_cls'].backward()
    assert scores.grad.dtype == torch.bfloat16 and scores.grad.any()


# ---------------------------------------------------------------- numpy's old names
def test_modules_of_mmaction_find_the_names_that_numpy_removed():
    compat.prepare_stack()
    from mmaction.datasets.transforms import PoseCompact
    from mmaction.evaluation import average_recall_at_avg_proposals

    truth = {'a': np.array([[0.0, 10.0, 'x']])}
    found = {'a': np.array([[0.0, 10.0, 0.9], [20.0, 30.0, 0.5]])}
    recall, *_, area = average_recall_at_avg_proposals(truth, found, 2, max_avg_proposals=2)
    assert recall.shape == (10, 100) and 0 < area <= 100
    keypoints = np.array([[[[10.0, 20.0], [30.0, 60.0]]]])
    compact = PoseCompact(padding=0, threshold=1)(dict(img_shape=(100, 100), keypoint=keypoints))
    assert compact['img_shape'] == (40, 20)


def test_numpy_is_handed_through_and_an_unknown_name_is_an_error():
    names = mmaction_repairs._NumpyWithOldNames('numpy')
    assert names.mean is np.mean and names.Inf == np.inf
    with pytest.raises(AttributeError, match='no attribute'):
        names.no_such_name  # noqa: B018


# ---------------------------------------------------------------- TCANet
@pytest.mark.filterwarnings('ignore:Default grid_sample')
def test_proposals_of_tcanet_keep_their_scores():
    """The break: with the method of mmaction2 each score of a batch of one video is 0."""
    compat.prepare_stack()
    from mmaction.models import TCANet
    from mmaction.structures import ActionDataSample
    from mmengine.structures import InstanceData

    torch.manual_seed(0)
    network = TCANet(feat_dim=16, se_sample_num=8, action_sample_num=16, temporal_dim=20,
                     window_size=9, lgte_num=1, soft_nms_alpha=0.4, soft_nms_low_threshold=0.0,
                     soft_nms_high_threshold=0.0, post_process_top_k=100,
                     feature_extraction_interval=16).eval()
    sample = ActionDataSample(metainfo=dict(video_name='v_a', duration_second=20.0,
                                            duration_frame=600))
    sample.proposals = InstanceData(
        proposals=torch.tensor([[0.1, 0.5, 0.9], [0.3, 0.9, 0.4]]))
    scores = {}
    for method in (TCANet.predict, TCANet.predict.__wrapped__):
        with torch.no_grad():
            found, = method(network, torch.randn(1, 16, 20), [sample])
        scores[method] = [proposal['score'] for proposal in found['proposal_list']]
    mended, broken = scores.values()
    assert len(mended) > 3 and max(mended) > 0
    assert max(broken) == 0  # fails where mmaction2 has mended it: remove the cure then
