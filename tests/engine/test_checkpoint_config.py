"""Settings under which trained weights have another meaning are named."""
from __future__ import annotations

import pytest
from mmengine.config import Config

from sbp_tad.engine.checkpoint_config import (
    changed_classes,
    changed_meaning,
    meaning_warning,
)


def config():
    return Config(dict(
        model=dict(backbone=dict(type='SBPBackbone', clip_len=8, keep_ratio=0.25, backbone=dict(
            type='ResNet3d', depth=18)),
            head=dict(strides=(1, 2), regression_ranges=((0, 4), (4, 100)), num_classes=2),
            data_preprocessor=dict(mean=[1.0, 2.0, 3.0]), test_cfg=dict(window=3, sigma=0.5)),
        test_dataloader=dict(batch_size=1, dataset=dict(type='RepeatDataset', dataset=dict(
            num_frames=64, stride_frames=4, overlap=0.5, ann_file='a.json',
            pipeline=[dict(type='mmaction.Resize', scale=(64, 64)),
                      dict(type='PackTADInputs')])))))


@pytest.mark.parametrize('options, told', [
    ({'model.backbone.clip_len': 16}, 'model.backbone.clip_len: 8 in the checkpoint, 16 now'),
    ({'model.head.strides': (1, 4)}, 'model.head.strides: [1, 2] in the checkpoint, [1, 4] now'),
    ({'model.head.regression_ranges': ((0, 8), (8, 100))}, 'model.head.regression_ranges: [['),
    ({'model.head.prior_offset': 'half_stride'},
     "model.head.prior_offset: not set in the checkpoint, 'half_stride' now"),
    ({'model.data_preprocessor.mean': [0.0, 0.0, 0.0]}, 'data_preprocessor.mean: [1.0, 2.0, 3.0]'),
    ({'test_dataloader.dataset.dataset.stride_frames': 8},
     'test_dataloader.dataset.dataset.stride_frames: 4 in the checkpoint, 8 now'),
    ({'test_dataloader.dataset.dataset.target_fps': 5}, 'target_fps: not set in the checkpoint, 5'),
    ({'test_dataloader.dataset.dataset.pipeline.0.scale': (48, 48)},
     'dataset.dataset.pipeline.Resize.scale: [64, 64] in the checkpoint, [48, 48] now'),
    ({'model.backbone.keep_ratio': 1.0}, None), ({'model.test_cfg.window': 5}, None),
    ({'test_dataloader.batch_size': 4}, None), ({'model.backbone.backbone.pretrained': 'x'}, None),
    ({'test_dataloader.dataset.dataset.overlap': 0.75}, None),
    ({'test_dataloader.dataset.dataset.ann_file': 'b.json'}, None)])
def test_settings_that_change_the_meaning_are_named(options, told):
    cfg = config()
    meta = dict(cfg=cfg.pretty_text)
    cfg.merge_from_dict(options)
    changes = changed_meaning(meta, cfg)
    assert len(changes) == (told is not None)
    if told:
        text = meaning_warning('best.pth', changes)
        assert text.startswith('best.pth was trained with other settings') and told in text


def test_only_the_used_part_is_compared():
    cfg = config()
    meta = dict(cfg=cfg.pretty_text)
    cfg.merge_from_dict({'model.head.strides': (1, 4), 'model.backbone.clip_len': 4,
                         'test_dataloader.dataset.dataset.stride_frames': 8})
    assert [change.key for change in changed_meaning(meta, cfg, 'backbone.')] == [
        'model.backbone.clip_len']


@pytest.mark.parametrize('meta', [None, {}, dict(cfg=None), dict(cfg='no = config ='),
                                  dict(cfg='x = 1')])
def test_a_checkpoint_without_a_config_says_nothing(meta):
    cfg = Config(dict(model=dict(type='x')))
    assert changed_meaning(meta, cfg) == [] and changed_classes(meta, ['a']) == []


def test_the_order_of_the_classes_counts():
    meta = dict(dataset_meta=dict(classes=('a', 'b')))
    assert changed_classes(meta, ['a', 'b']) == [] and changed_classes(meta, ()) == []
    assert str(changed_classes(meta, ['b', 'a'])[0]) == \
        "dataset.metainfo.classes: ['a', 'b'] in the checkpoint, ['b', 'a'] now"
