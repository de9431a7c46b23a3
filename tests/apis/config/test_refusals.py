"""Configs that cannot run end in one sentence that names the key and the cure."""
from __future__ import annotations

import pytest
from mmengine.config import Config

from sbp_tad.apis import launch
from sbp_tad.apis.config import refusals
from sbp_tad.errors import ConfigError

OLD = """
model = dict(type='Recognizer3D', backbone=dict(type='ResNet3d', depth=50),
             cls_head=dict(type='I3DHead', num_classes=400, in_channels=2048),
             test_cfg=dict(average_clips='prob'))
data = dict(videos_per_gpu=8, train=dict(type='VideoDataset', ann_file='list.txt', pipeline=[]))
optimizer = dict(type='SGD', lr=0.01)
optimizer_config = dict(grad_clip=dict(max_norm=40))
lr_config = dict(policy='step', step=[20, 40])
total_epochs = 50
checkpoint_config = dict(interval=5)
"""
NEW = dict(model=dict(type='M'), train_dataloader=dict(dataset=dict(type='D')),
           train_cfg=dict(max_epochs=3), optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0)))


def test_a_config_of_the_first_generation_names_its_keys_and_the_new_ones(tmp_path):
    path = tmp_path / 'old.py'
    path.write_text(OLD)
    with pytest.raises(ConfigError) as caught:
        launch.load_config(str(path))
    sentence = str(caught.value)
    for words in ('old.py has keys of mmaction2 0.x', 'data is now train_dataloader',
                  'optimizer is now optim_wrapper.optimizer', 'lr_config is now param_scheduler',
                  'total_epochs is now train_cfg.max_epochs',
                  'model.test_cfg.average_clips is now model.cls_head.average_clips'):
        assert words in sentence


@pytest.mark.parametrize('key, value', [
    ('total_epochs', 100), ('optimizer', dict(type='SGD', lr=0.1)), ('evaluation', dict()),
    ('lr_config', dict(policy='step')), ('workflow', [('train', 1)])])
def test_an_old_key_over_a_new_config_would_have_no_effect(key, value):
    with pytest.raises(ConfigError, match=f'{key} is now'):
        refusals.check_generation(Config({**NEW, key: value}), 'mine.py')


def test_variables_that_the_new_keys_use_are_no_old_keys():
    cfg = Config({**NEW, 'total_epochs': 3, 'optimizer': dict(type='SGD', lr=1.0),
                  'data': 'data/kinetics', 'evaluation': 'AR'})
    refusals.check_generation(cfg, 'mine.py')
    refusals.check_generation(Config({**NEW, 'data': dict(root='a')}), 'mine.py')


def test_a_config_that_makes_proposals_has_no_model():
    with pytest.raises(ConfigError, match='bsn_proposal_generation'):
        refusals.check_model(Config(dict(pgm_proposals_cfg=dict())), 'pgm.py')
    with pytest.raises(ConfigError, match='defines no model'):
        refusals.check_model(Config(dict(a=1)), 'empty.py')


def test_missing_phases_are_named():
    refusals.check_phases(Config(NEW), 'train')
    with pytest.raises(ConfigError, match='cannot test: it has no test_dataloader, test_cfg, tes'):
        refusals.check_phases(Config(NEW), 'test')
    only_tests = Config(dict(model=dict(), test_dataloader=dict(), test_cfg=dict(),
                             test_evaluator=dict()))
    refusals.check_phases(only_tests, 'test')
    with pytest.raises(ConfigError, match='no train_dataloader, .*kinetics400_training.py'):
        refusals.check_phases(only_tests, 'train')


def test_an_incomplete_phase_is_named():
    cfg = Config({**NEW, 'val_dataloader': dict(dataset=dict()), 'val_cfg': dict()})
    with pytest.raises(ConfigError, match='has val_dataloader, val_cfg but no val_evaluator'):
        refusals.check_phases(cfg, 'train')
    launch.skip_validation(cfg)
    refusals.check_phases(cfg, 'train')


def with_backend(**reader):
    pipeline = [dict(type='SampleFrames'), dict(type='DecordInit', **reader)]
    return Config({**NEW, 'train_dataloader': dict(dataset=dict(type='D', pipeline=pipeline))})


@pytest.mark.parametrize('reader, key, disk', [
    (dict(io_backend='petrel'), 'io_backend', 'disk'),
    (dict(backend_args=dict(backend='petrel')), 'backend_args.backend', 'local')])
def test_a_storage_backend_without_its_package_names_key_and_cure(reader, key, disk, absent):
    absent('petrel_client')
    path = f'train_dataloader.dataset.pipeline.1.{key}'
    cfg = with_backend(**reader)
    with pytest.raises(ConfigError, match=f"^{path} is 'petrel', .*petrel_client.*{path}={disk}"):
        refusals.check_backends(cfg)
    cfg.merge_from_dict({path: disk})  # the advice, as --cfg-options does it
    refusals.check_backends(cfg)


def test_an_unknown_storage_backend_names_the_known_ones():
    with pytest.raises(ConfigError, match="pipeline.1.io_backend: .* 'petral'; .*'disk'"):
        refusals.check_backends(with_backend(io_backend='petral'))


@pytest.mark.parametrize('wrapped', [False, True])
@pytest.mark.parametrize('network', ['ResNetTSM', 'SwinTransformer3D'])
def test_a_network_of_image_weights_from_scratch_names_the_other_key(network, wrapped):
    backbone = dict(type=f'mmaction.{network}', pretrained=None)
    key = 'model.backbone.backbone' if wrapped else 'model.backbone'
    cfg = Config(dict(model=dict(backbone=dict(type='sbp_tad.SBPBackbone', backbone=backbone)
                                 if wrapped else backbone)))
    with pytest.raises(ConfigError, match=f'^{key}.pretrained is None'):
        refusals.check_initialization(cfg)
    cfg.merge_from_dict({f'{key}.pretrained2d': False})
    refusals.check_initialization(cfg)


def test_a_batch_of_several_videos_would_be_scored_by_the_first_alone():
    cfg = Config(dict(model=dict(type='mmaction.BMN'), val_dataloader=dict(batch_size=1),
                      test_dataloader=dict(batch_size=4)))
    with pytest.raises(ConfigError, match=r'^test_dataloader.batch_size is 4, but BMN'):
        refusals.check_single_videos(cfg)
    cfg.test_dataloader.batch_size = 1
    refusals.check_single_videos(cfg)
    refusals.check_single_videos(Config(dict(model=dict(type='TEM'),
                                                    val_dataloader=dict(batch_size=16))))


def test_a_comma_too_many_is_named(tmp_path):
    path = tmp_path / 'comma.py'
    path.write_text("model = dict(type='M')\ntrain_cfg = dict(max_epochs=1),\n")
    with pytest.raises(ConfigError, match='^train_cfg is a tuple, expected a dict; a comma'):
        refusals.check_phases(launch.load_config(str(path)), 'train')
