"""Temporal detector: seconds in and out; padding and unreadable windows change nothing else."""
import pickle
from dataclasses import replace

import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn

from sbp_tad.models.detectors.temporal_detector import (
    TemporalDetector,
    post_processing_of,
    step_masks,
)
from sbp_tad.models.errors import ModelError
from sbp_tad.registry import MODELS
from sbp_tad.segments.merging import PostProcessing
from sbp_tad.structures import TADDataSample, Window

FRAMES = 16


class OneActionHead(nn.Module):
    """Remembers the targets and finds one action over steps 1 to 3."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def loss(self, features, masks, segments_grid, labels):
        self.seen = (features, masks, segments_grid, labels)
        return {'loss_cls': (features[0] * self.weight).mean()}

    def predict(self, features, masks):
        return [InstanceData(segments_grid=torch.tensor([[1., 3.], [-1., 99.]]),
                             scores=torch.tensor([0.9, 0.1]), labels=torch.tensor([0, 1]))
                for _ in features[0]]


@pytest.fixture
def detector():
    torch.manual_seed(0)
    backbone = dict(type='SBPBackbone', clip_len=4, keep_ratio=0.5, backbone=dict(
        type='ResNet3d', depth=18, base_channels=8, pretrained=None, num_stages=1,
        out_indices=(0, ), spatial_strides=(1, ), temporal_strides=(1, ), dilations=(1, ),
        inflate=(1, ), stage_blocks=(1, ), conv1_stride_t=2, pool1_stride_t=1,
        with_pool2=False))
    model = MODELS.build(dict(
        type='TemporalDetector', backbone=backbone,
        neck=dict(type='ActionFormerNeck', in_channels=8, embed_channels=8, num_embed_convs=1,
                  num_stem_blocks=1, num_levels=2, block='conv'),
        head=dict(type='AnchorFreeHead', num_classes=2, in_channels=8, strides=(1, 2),
                  regression_ranges=((0, 4), (4, 100)))))
    model.init_weights()
    return model


def make_sample(valid=FRAMES, start_frame=30.0, segments=((4.0, 4.5), ), labels=(1, ), error=None):
    """A window at 10 fps, stride 2: 0.2 s per frame, 0.4 s per feature step."""
    window = Window('video', start_frame, FRAMES, 2, 10.0, valid)
    sample = TADDataSample(metainfo=dict(window=window, video_id='video', error=error))
    sample.gt_instances = InstanceData(
        segments_seconds=torch.tensor(segments, dtype=torch.float64).reshape(-1, 2),
        labels=torch.tensor(labels, dtype=torch.int64))
    return sample


def frames(*shape):
    return torch.randint(256, (3, FRAMES, 32, 32), dtype=torch.uint8)


def test_step_masks_mark_steps_with_any_real_frame():
    masks = step_masks(torch.tensor([8, 7, 6, 0]), frames_per_step=2, num_steps=4)
    assert masks.tolist() == [[True] * 4, [True] * 4, [True] * 3 + [False], [False] * 4]


def test_targets_reach_the_head_in_grid_units(detector):
    detector.neck, detector.head = None, OneActionHead()
    data = detector.data_preprocessor(dict(inputs=[frames()], data_samples=[make_sample()]))
    detector(**data, mode='loss')
    features, masks, segments_grid, labels = detector.head.seen
    assert features[0].shape == (1, 8, 8) and masks[0].all()
    torch.testing.assert_close(segments_grid[0], torch.tensor([[2.5, 3.75]]))  # (4 - 3 s) / 0.4 s
    assert labels[0].tolist() == [1]


def test_predictions_come_in_seconds_cut_at_the_window(detector):
    detector.neck, detector.head = None, OneActionHead()
    data = dict(inputs=[frames(), frames()],
                data_samples=[make_sample(), make_sample(valid=10, start_frame=0.0)])
    first, second = detector.eval().val_step(data)
    torch.testing.assert_close(first.pred_instances.segments_seconds,
                               torch.tensor([[3.4, 4.2], [3.0, 6.2]], dtype=torch.float64))
    torch.testing.assert_close(second.pred_instances.segments_seconds,
                               torch.tensor([[0.4, 1.2], [0.0, 2.0]], dtype=torch.float64))
    assert first.pred_instances.labels.tolist() == [0, 1]


def test_one_step_of_training_moves_backbone_neck_and_head(detector):
    from mmengine.optim import OptimWrapper
    optimizer = OptimWrapper(torch.optim.SGD(detector.parameters(), lr=0.1))
    before = {name: p.detach().clone() for name, p in detector.named_parameters()}
    log = detector.train_step(dict(inputs=[frames(), frames()],
                                   data_samples=[make_sample(), make_sample()]), optimizer)
    assert set(log) == {'loss', 'loss_cls', 'loss_reg'}
    moved = {name.split('.')[0] for name, p in detector.named_parameters()
             if not torch.equal(before[name], p)}
    assert moved == {'backbone', 'neck', 'head'}


def test_a_batch_without_any_action_trains(detector):
    data = detector.data_preprocessor(dict(
        inputs=[frames()], data_samples=[make_sample(segments=(), labels=())]))
    losses = detector(**data, mode='loss')
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters() if p.grad is not None)


def test_unreadable_windows_get_no_segments_and_leave_the_others_alone(detector):
    detector.eval()
    good = frames()
    alone, = detector.val_step(dict(inputs=[good], data_samples=[make_sample()]))
    bad, kept = detector.val_step(dict(
        inputs=[None, good], data_samples=[make_sample(error='cannot be read'), make_sample()]))
    assert len(bad.pred_instances) == 0
    assert torch.equal(alone.pred_instances.scores, kept.pred_instances.scores)
    assert torch.equal(alone.pred_instances.segments_seconds,
                       kept.pred_instances.segments_seconds)
    none, = detector.val_step(dict(inputs=[None], data_samples=[make_sample(error='gone')]))
    assert len(none.pred_instances) == 0


def test_a_window_beyond_the_video_trains_and_predicts_nothing(detector):
    """All of it is padding: num_valid_frames is 0 and every mask is False."""
    data = detector.data_preprocessor(dict(
        inputs=[frames()], data_samples=[make_sample(valid=0, segments=(), labels=())]))
    losses = detector(**data, mode='loss')
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    assert len(detector.eval()(**data, mode='predict')[0].pred_instances) == 0


def test_features_can_be_interpolated(detector):
    detector.num_steps, detector.neck = 16, None
    levels, masks = detector(torch.randn(1, 3, FRAMES, 32, 32), None, mode='tensor')
    assert levels[0].shape == (1, 8, 16) and masks[0].shape == (1, 16)


def test_loss_and_prediction_agree_after_learning_one_window(detector):
    """End to end: the wrapped backbone, neck and head overfit a window and find its action."""
    torch.manual_seed(1)
    # distances start above 0: a single window cannot revive a ReLU that starts below
    torch.nn.init.ones_(detector.head.reg_tower.predictor.bias)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=3e-3)
    data = detector.data_preprocessor(dict(inputs=[frames()], data_samples=[
        make_sample(segments=((3.8, 5.4), ), labels=(0, ))]), training=True)
    for _ in range(200):
        losses = detector(**data, mode='loss')
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    found = detector.eval()(**data, mode='predict')[0].pred_instances
    best = found.scores.argmax()
    assert found.labels[best] == 0 and found.scores[best] > 0.5
    torch.testing.assert_close(found.segments_seconds[best],
                               torch.tensor([3.8, 5.4], dtype=torch.float64), atol=0.4, rtol=0)


def test_without_a_backbone_features_are_the_input():
    """Steps of 0.2 s whose first has seen 0.4 s before: actions are cut where it has seen them."""
    model = MODELS.build(dict(type='TemporalDetector', backbone=None, head=dict(
        type='AnchorFreeHead', num_classes=2, in_channels=8, strides=(1, ),
        regression_ranges=((0, 100), ))))
    model.head = OneActionHead()
    sample = make_sample(valid=12, start_frame=4.0, segments=((1.0, 2.0), ))
    sample.set_metainfo(dict(window=replace(sample.window, margin_frames=4.0)))
    data = model.data_preprocessor(dict(inputs=[torch.randn(8, FRAMES)], data_samples=[sample]))
    model(**data, mode='loss')
    features, masks, segments_grid, _ = model.head.seen
    assert features[0].equal(data['inputs']) and masks[0].sum() == 12
    torch.testing.assert_close(segments_grid[0], torch.tensor([[3., 8.]]))  # (1 - 0.4 s) / 0.2 s
    found, = model.eval().val_step(dict(inputs=[torch.randn(8, FRAMES)], data_samples=[sample]))
    torch.testing.assert_close(found.pred_instances.segments_seconds,
                               torch.tensor([[0.6, 1.0], [0.2, 3.2]], dtype=torch.float64))


def test_the_rules_of_suppression_travel_with_each_sample(detector):
    """The metric of any Runner then has them: mmengine gives it the samples as dictionaries."""
    detector.post_processing = post_processing_of(dict(method='nmw', sigma=0.7))
    found = detector.eval().val_step(dict(inputs=[None, frames()], data_samples=[
        make_sample(error='gone'), make_sample()]))
    for sample in found:
        stored = pickle.loads(pickle.dumps(sample)).to_dict()
        assert stored['post_processing'] == PostProcessing(method='nmw', sigma=0.7)


@pytest.mark.parametrize('test_cfg', [None, {}])
def test_without_test_settings_the_defaults_are_taken(test_cfg):
    model = TemporalDetector(None, dict(type='SegmentationHead', num_classes=1, in_channels=8),
                             test_cfg=test_cfg)
    assert model.post_processing == PostProcessing()


@pytest.mark.parametrize('test_cfg, message', [
    (dict(nms_sigma=0.5), r"model.test_cfg: unknown .*\['nms_sigma'\]; .* are method, sigma"),
    (dict(method='soft'), "model.test_cfg: method must be one of .*, got 'soft'"),
    (dict(sigma=[0.5]), 'model.test_cfg: .* has the wrong type')])
def test_wrong_test_settings_are_refused(test_cfg, message):
    with pytest.raises(ModelError, match=message):
        MODELS.build(dict(type='TemporalDetector', backbone=None, test_cfg=test_cfg, head=dict(
            type='SegmentationHead', num_classes=1, in_channels=8)))


def test_unknown_mode(detector):
    with pytest.raises(ValueError, match="mode must be 'loss', 'predict' or 'tensor', got 'train'"):
        detector(None, None, mode='train')


def test_detector_uses_the_default_preprocessor():
    model = TemporalDetector(backbone=dict(type='SBPBackbone', clip_len=1, backbone=dict(
        type='ResNet', depth=18)), head=dict(type='AnchorFreeHead', num_classes=1, in_channels=8))
    assert type(model.data_preprocessor).__name__ == 'TADDataPreprocessor'
