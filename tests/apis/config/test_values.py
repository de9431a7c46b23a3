"""Values of a config that are checked or repaired before a Runner is built."""
from __future__ import annotations

import pytest
from mmengine.config import Config

from sbp_tad.apis.config.values import check_overrides, prepare_values
from sbp_tad.errors import ConfigError


def loader(**options):
    return Config(dict(train_dataloader=dict(batch_size=1, dataset=dict(type='x'), **options)))


def test_without_workers_their_options_go():
    cfg = loader(num_workers=0, persistent_workers=True, prefetch_factor=4, timeout=9,
                 multiprocessing_context='fork')
    prepare_values(cfg)
    found = cfg.train_dataloader
    assert (found.persistent_workers, found.prefetch_factor, found.timeout,
            found.multiprocessing_context) == (False, None, 0, None)
    cfg = loader(num_workers=1, persistent_workers=True)
    prepare_values(cfg)
    assert cfg.train_dataloader.persistent_workers
    assert 'timeout' not in cfg.train_dataloader


@pytest.mark.parametrize('options, message', [
    (dict(num_workers=1.5), 'train_dataloader.num_workers must be a whole number of at least 0'),
    (dict(num_workers='two'), "num_workers must be a number, got 'two'"),
])
def test_numbers_of_a_loader(options, message):
    with pytest.raises(ConfigError, match=message):
        prepare_values(loader(**options))


@pytest.mark.parametrize('config, message', [
    (dict(train_cfg=dict(val_interval=0)), 'train_cfg.val_interval must be a whole number'),
    (dict(randomness=dict(seed='x')), "randomness.seed must be a number, got 'x'"),
    (dict(work_dir=2024), 'work_dir must be a path as text, got 2024'),
    (dict(optim_wrapper=dict(optimizer=dict(lr=-1))), 'optimizer.lr must be at least 0, got -1'),
    (dict(optim_wrapper=dict(optimizer=dict(type='sgd'))), "'sgd' is not a known optimizer"),
    (dict(optim_wrapper=dict(clip_grad=dict(max_norm='x'), optimizer=dict(lr=1))), 'max_norm must'),
    (dict(env_cfg=dict(mp_cfg=dict(mp_start_method='thread'))), r"mp_start_method must be one of "
     r"\[.*'spawn'.*\], got 'thread'"),
    (dict(log_level='LOUD'), "log_level must be one of .*'INFO'.*, got 'LOUD'"),
    (dict(default_hooks=dict(timer=None, logger=dict(interval='ten'))),
     "default_hooks.logger.interval must be a number, got 'ten'"),
    (dict(param_scheduler=[dict(end=1), dict(end='soon')]), 'param_scheduler.1.end must be a numb'),
    (dict(param_scheduler=dict(T_max='soon')), 'param_scheduler.T_max must be a number'),
    (dict(train_cfg=dict(max_epochs=0)), 'train_cfg.max_epochs must be a whole number of at least'),
    (dict(train_cfg=dict(max_iters=0)), 'train_cfg.max_iters must be a whole number of at least 1'),
    (dict(val_dataloader=dict(drop_last='no')), "drop_last must be True or False, got 'no'"),
    (dict(val_dataloader=dict(dataset=dict(overlap=True))), 'overlap must be a number, got True'),
])
def test_values_of_another_type(config, message):
    with pytest.raises(ConfigError, match=message):
        prepare_values(Config(config))


def test_values_that_are_left_to_their_defaults():
    prepare_values(Config(dict(
        train_cfg=dict(by_epoch=True, max_epochs=3, val_begin=0), randomness=dict(seed=None),
        env_cfg=dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0)), log_level='INFO',
        param_scheduler=[dict(type='LinearLR', end=float('inf'))],
        default_hooks=dict(timer=None, checkpoint=dict(interval=-1, max_keep_ckpts=-1)),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1), clip_grad=None),
        train_dataloader=dict(batch_size=1, dataset=dict(num_frames=8, overlap=None)))))


@pytest.mark.parametrize('dataset, key', [
    (dict(type='x', data_root=3), 'dataset.data_root'),
    (dict(type='RepeatDataset', dataset=dict(data_prefix=dict(video=3))),
     'dataset.dataset.data_prefix.video'),
    (dict(type='ConcatDataset', datasets=[dict(ann_file='a'), dict(ann_file=3)]),
     'dataset.datasets.1.ann_file'),
])
def test_paths_are_text_also_inside_wrappers(dataset, key):
    cfg = Config(dict(val_dataloader=dict(dataset=dataset)))
    with pytest.raises(ConfigError, match=f'val_dataloader.{key} must be a path as text, got 3'):
        prepare_values(cfg)


@pytest.mark.parametrize('options', [
    {'model.head.x': 1}, {'work_dir': 'w'}, {'find_unused_parameters': True}, {'resume': True}, {}])
def test_overrides_with_an_effect(options):
    check_overrides(Config(dict(model=dict(head=dict(x=0)))), options)


def test_overrides_without_an_effect():
    cfg = Config(dict(num_classes=6, model=dict(head=dict(num_classes=6), neck=dict(width=6))))
    with pytest.raises(ConfigError, match=r'num_classes has no effect.*Override '
                       r'model.head.num_classes=... instead'):
        check_overrides(cfg, {'num_classes': 2})
    with pytest.raises(ConfigError, match="no 'modl', and nothing reads it. Did you mean 'model'"):
        check_overrides(cfg, {'modl.head.num_classes': 2})
