"""The whole path on real videos: decode, forward, loss, predict, metric."""
import json

import pytest
import torch
from mmengine.dataset import pseudo_collate

from sbp_tad.evaluation.metrics import TADMetric
from sbp_tad.registry import DATASETS, MODELS

CLASSES = ('first half', 'second half')
PIPELINE = [dict(type='DecordInit'), dict(type='SampleWindow'), dict(type='DecordDecode'),
            dict(type='Resize', scale=(-1, 72)), dict(type='RandomResizedCrop'),
            dict(type='Resize', scale=(64, 64), keep_ratio=False), dict(type='ColorJitter'),
            dict(type='FormatShape', input_format='NCTHW'), dict(type='PackTADInputs')]


@pytest.fixture(scope='module')
def real_set(shared_data, tmp_path_factory):
    """An annotation for the real videos: their first and second half are actions."""
    from sbp_tad.datasets.readers.video_header import probe_video
    database = {}
    for path in sorted((shared_data / 'videos').iterdir()):
        seconds = probe_video(path).duration_seconds
        database[path.name] = dict(subset='test', annotations=[
            dict(segment=[0.0, seconds / 2], label=CLASSES[0]),
            dict(segment=[seconds / 2, seconds], label=CLASSES[1])])
    ann_file = tmp_path_factory.mktemp('real') / 'annotations.json'
    ann_file.write_text(json.dumps(dict(database=database)))
    return dict(type='TemporalDetectionDataset', ann_file=str(ann_file), subsets='test',
                metainfo=dict(classes=CLASSES), filename_template='{video_id}', num_frames=32,
                data_prefix=dict(video=str(shared_data / 'videos')), pipeline=PIPELINE)


@pytest.fixture(scope='module')
def detector():
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='TemporalDetector',
        data_preprocessor=dict(type='TADDataPreprocessor', mean=[123.675, 116.28, 103.53],
                               std=[58.395, 57.12, 57.375]),
        backbone=dict(type='SBPBackbone', clip_len=1, keep_ratio=0.25, backbone=dict(
            type='ResNet', depth=18, pretrained=None)),
        neck=dict(type='ActionFormerNeck', in_channels=512, embed_channels=16, num_levels=3),
        head=dict(type='AnchorFreeHead', num_classes=2, in_channels=16, strides=(1, 2, 4),
                  regression_ranges=((0, 8), (8, 16), (16, 100)))))
    model.init_weights()
    return model


@pytest.mark.slow
@pytest.mark.nightly
def test_training_on_every_real_video(real_set, detector):
    dataset = DATASETS.build(dict(real_set, target_fps=8))
    assert len(dataset) == 8
    for index in range(len(dataset)):
        data = detector.data_preprocessor(pseudo_collate([dataset[index]]), training=True)
        losses = detector.train()(**data, mode='loss')
        assert all(torch.isfinite(loss) for loss in losses.values())
        detector.zero_grad()
        sum(losses.values()).backward()
        assert detector.backbone.backbone.conv1.conv.weight.grad.abs().sum() > 0


@pytest.mark.slow
def test_testing_on_every_real_video(real_set, detector, tmp_path):
    dataset = DATASETS.build(dict(real_set, stride_frames=8, test_mode=True))
    durations = {item['video_id']: item['annotation'].duration_seconds for item in
                 map(dataset.get_data_info, range(len(dataset)))}
    metric = TADMetric(tiou_thresholds=(0.5, ), out_file=tmp_path / 'found.json')
    metric.dataset_meta = dataset.metainfo
    with torch.no_grad():
        for index in range(len(dataset)):
            found, = detector.eval().val_step(pseudo_collate([dataset[index]]))
            assert found.error is None and len(found.pred_instances.segments_seconds) > 0
            metric.process({}, [found.to_dict()])
    scores = metric.evaluate(len(dataset))
    assert 0 <= scores['tad/average_mAP'] <= 1
    assert metric.result.num_videos == 8 and metric.result.num_ground_truth == 16
    for video_id, detections in json.loads(metric.out_file.read_text())['results'].items():
        ends = [end for detection in detections for end in detection['segment']]
        assert 0 <= min(ends) and max(ends) <= durations[video_id]
