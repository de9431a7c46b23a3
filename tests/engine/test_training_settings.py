"""Settings on which the weights depend are compared, others are not."""
import copy

import pytest

from sbp_tad.engine.training_settings import changed_settings

CONFIG = dict(
    model=dict(type='TemporalDetector', backbone=dict(type='R3D', pretrained='a.pth'),
               head=dict(num_classes=2, ranges=[[0, 4], [4, 8]]), test_cfg=dict(sigma=0.5)),
    train_dataloader=dict(
        batch_size=2, num_workers=2, sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(type='A', data_root='a', ann_file='x.json', data_prefix=dict(video='videos'),
                     pipeline=[dict(type='DecordInit', num_threads=1), dict(type='Resize', s=2)])),
    val_dataloader=dict(batch_size=1), train_cfg=dict(max_epochs=4, val_interval=2),
    optim_wrapper=dict(optimizer=dict(lr=0.1)),
    param_scheduler=[dict(type='CosineAnnealingLR', T_max=4, end=4)],
    default_hooks=dict(logger=dict(type='LoggerHook', interval=1), timer=None,
                       checkpoint=dict(type='CheckpointHook')),
    custom_hooks=[dict(type='EMAHook', momentum=0.1)], randomness=dict(seed=0),
    work_dir='work', log_level='INFO', auto_scale_lr=dict(enable=False, base_batch_size=2))


def changes(**pairs):
    new = copy.deepcopy(CONFIG)
    for key, value in pairs.items():
        *parents, last = key.split('__')
        place = new
        for name in parents:
            place = place[int(name) if name.isdecimal() else name]
        place[int(last) if last.isdecimal() else last] = value
    return [str(change) for change in changed_settings(CONFIG, new)]


@pytest.mark.parametrize('harmless', [
    dict(work_dir='other'), dict(log_level='DEBUG'), dict(val_dataloader__batch_size=4),
    dict(default_hooks__logger__interval=9), dict(default_hooks__timer=dict(type='CPUTimeHook')),
    dict(custom_hooks=[dict(type='EMAHook', momentum=0.1), dict(type='ProfilerHook')]),
    dict(train_dataloader__num_workers=0), dict(train_dataloader__persistent_workers=True),
    dict(train_dataloader__dataset__data_root='b'), dict(train_dataloader__dataset__ann_file='y'),
    dict(train_dataloader__dataset__data_prefix=dict(video='files')),
    dict(train_dataloader__dataset__pipeline__0__num_threads=4),
    dict(model__test_cfg=dict(sigma=0.1, method='linear')), dict(model__backbone__pretrained=None),
    dict(train_cfg__val_interval=1), dict(train_cfg__max_epochs=9), dict(randomness__seed=7),
    dict(auto_scale_lr=dict(enable=False, base_batch_size=8)), dict(load_from='x', resume=True)],
    ids=lambda change: next(iter(change)))
def test_what_does_not_change_the_weights(harmless):
    assert changes(**harmless) == []


@pytest.mark.parametrize('change, told', [
    (dict(model__head__num_classes=3), 'model.head.num_classes: 2 in the checkpoint, 3 now'),
    (dict(model__head__ranges=[[0, 4]]),
     'model.head.ranges: [[0, 4], [4, 8]] in the checkpoint, [[0, 4]] now'),
    (dict(train_dataloader__batch_size=4),
     'train_dataloader.batch_size: 2 in the checkpoint, 4 now'),
    (dict(train_dataloader__sampler__shuffle=False),
     'train_dataloader.sampler.shuffle: True in the checkpoint, False now'),
    (dict(train_dataloader__dataset__pipeline__1__s=3),
     'train_dataloader.dataset.pipeline.1.s: 2 in the checkpoint, 3 now'),
    (dict(optim_wrapper__optimizer__lr=0.2),
     'optim_wrapper.optimizer.lr: 0.1 in the checkpoint, 0.2 now'),
    (dict(optim_wrapper__clip_grad=dict(max_norm=1)),
     'optim_wrapper.clip_grad.max_norm: not set in the checkpoint, 1 now'),
    (dict(param_scheduler__0__T_max=5), 'param_scheduler.0.T_max: 4 in the checkpoint, 5 now'),
    (dict(custom_hooks__0__momentum=0.2), 'EMAHook.momentum: 0.1 in the checkpoint, 0.2 now'),
    (dict(custom_hooks__0__type='MyHook'),
     "EMAHook.type: 'EMAHook' in the checkpoint, not set now"),
    (dict(auto_scale_lr=dict(enable=True, base_batch_size=2)),
     'auto_scale_lr.base_batch_size: not set in the checkpoint, 2 now'),
    (dict(randomness__deterministic=True),
     'randomness.deterministic: not set in the checkpoint, True now'),
    (dict(train_cfg__max_epochs=9, param_scheduler__0__end=None),
     'train_cfg.max_epochs: 4 in the checkpoint, 9 now (param_scheduler.0 without end depends'),
    (dict(train_cfg__max_epochs=9, optim_wrapper__accumulative_counts=4),
     'train_cfg.max_epochs: 4 in the checkpoint, 9 now (optim_wrapper.accumulative_counts depends'),
    (dict(train_cfg__max_epochs=9, custom_hooks=[dict(type='KeepRatioSchedule')]),
     'train_cfg.max_epochs: 4 in the checkpoint, 9 now (KeepRatioSchedule depends on it)')])
def test_what_changes_the_weights_is_named(change, told):
    assert any(line.startswith(told) for line in changes(**change)), changes(**change)


def test_a_long_value_is_cut():
    line, = changes(model__backbone__type='x' * 200)
    assert len(line) < 130 and line.endswith('... now')
