"""Options of the tools on a config, and each fault of a config in a sentence."""

import pytest
import torch
from mmengine.config import Config

from sbp_tad.apis import launch


def config(**entries):
    return Config(dict(model=dict(type='X'), optim_wrapper=dict(type='OptimWrapper'), **entries))


def write(tmp_path, text, name='config.py'):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize('name, text, message', [
    ('config.py', "_base_ = 'absent.py'\nmodel = dict()", r'absent.py.*check its _base_'),
    ('config.py', 'model = dict(', 'config.py cannot be read'),
    ('config.py', 'x = 1', r'defines no model; expected model = dict\(type='),
    ('config.py', 'model = undefined', 'cannot be read: .*undefined'),
    ('config.txt', 'model', 'cannot be read'),
    ('config.json', '{"model": 3}', 'defines no model')])
def test_a_config_that_cannot_be_read(tmp_path, name, text, message):
    with pytest.raises(launch.ConfigError, match=message):
        launch.load_config(write(tmp_path, text, name))


def test_a_config_that_is_not_there():
    with pytest.raises(launch.ConfigError, match='config absent.py: .*existing config'):
        launch.load_config('absent.py')


def test_options_override_the_config(tmp_path):
    path = write(tmp_path, "model = dict(type='X', backbone=dict(keep_ratio=0.25))")
    cfg = launch.load_config(path, {'model.backbone.keep_ratio': 0.5})
    assert cfg.model.backbone.keep_ratio == 0.5


@pytest.mark.parametrize('given, in_config, expected', [
    ('here', 'there', 'here'), (None, 'there', 'there'), (None, None, 'work_dirs/name')])
def test_work_dir(given, in_config, expected):
    cfg = config(work_dir=in_config)
    launch.set_work_dir(cfg, 'some/name.py', given)
    assert cfg.work_dir == expected


@pytest.mark.parametrize('cuda, wrapper', [(True, 'AmpOptimWrapper'),
                                           (False, 'sbp_tad.CpuAmpOptimWrapper')])
def test_amp_fits_the_device(monkeypatch, cuda, wrapper):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    cfg = config()
    launch.use_amp(cfg)
    assert cfg.optim_wrapper.type == wrapper
    assert cfg.optim_wrapper.get('loss_scale') == ('dynamic' if cuda else None)


@pytest.mark.parametrize('cuda, before, after', [
    (True, 'AmpOptimWrapper', 'AmpOptimWrapper'), (False, 'OptimWrapper', 'OptimWrapper'),
    (False, 'AmpOptimWrapper', 'sbp_tad.CpuAmpOptimWrapper')])
def test_mixed_precision_of_a_config_follows_the_machine(cuda, before, after, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: cuda)
    cfg = config()
    cfg.optim_wrapper.type = before
    launch.use_cpu_amp_without_cuda(cfg)
    assert cfg.optim_wrapper.type == after
    launch.use_cpu_amp_without_cuda(Config(dict(model=dict())))  # a config that only tests


def test_amp_refuses_other_wrappers():
    cfg = config()
    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(launch.ConfigError, match="--amp needs .*got 'ApexOptimWrapper'"):
        launch.use_amp(cfg)


def test_without_validation_no_best_checkpoint_is_sought():
    cfg = config(val_cfg={}, val_dataloader={}, val_evaluator={},
                 default_hooks=dict(checkpoint=dict(save_best='tad/average_mAP')))
    launch.skip_validation(cfg)
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None
    assert cfg.default_hooks.checkpoint.save_best is None


def test_resume(tmp_path):
    for resume, expected in ((None, (None, None)), ('auto', (False, None)),
                             ('https://x/y.pth', (True, 'https://x/y.pth'))):
        cfg = config(work_dir=str(tmp_path))
        launch.set_resume(cfg, resume)
        assert (cfg.get('resume'), cfg.get('load_from')) == expected
    with pytest.raises(launch.ConfigError, match='checkpoint absent.pth does not exist'):
        launch.set_resume(config(), 'absent.pth')


def test_a_run_killed_before_its_first_checkpoint_begins_from_the_weights_it_loads(tmp_path):
    cfg = config(load_from='weights.pth', work_dir=str(tmp_path))
    launch.set_resume(cfg, 'auto')
    assert not cfg.get('resume') and cfg.load_from == 'weights.pth'
    (tmp_path / 'last_checkpoint').write_text('epoch_1.pth')
    (tmp_path / 'epoch_1.pth').touch()
    launch.set_resume(cfg, 'auto')
    assert cfg.resume and cfg.load_from == str(tmp_path / 'epoch_1.pth')


def test_randomness_of_the_command_line_wins():
    cfg = config(randomness=dict(seed=3, deterministic=True))
    launch.set_randomness(cfg, None)
    assert cfg.randomness == dict(seed=3, deterministic=True)
    launch.set_randomness(cfg, 0, diff_rank_seed=True)
    assert cfg.randomness == dict(seed=0, deterministic=True, diff_rank_seed=True)


@pytest.mark.parametrize('of_config', [{}, dict(randomness=None), dict(randomness={}),
                                       dict(randomness=dict(deterministic=False))])
def test_a_config_without_a_seed_draws_one(of_config):
    cfg = config(**of_config)
    launch.set_randomness(cfg, None)
    assert cfg.randomness.seed is None
    launch.set_randomness(cfg, 7)
    assert cfg.randomness.seed == 7


def test_learning_rate_scaling_needs_its_base():
    with pytest.raises(launch.ConfigError, match='base_batch_size'):
        launch.scale_learning_rate(config())
    cfg = config(auto_scale_lr=dict(enable=False, base_batch_size=2))
    launch.scale_learning_rate(cfg)
    assert cfg.auto_scale_lr.enable


def test_checkpoint_must_exist():
    with pytest.raises(launch.ConfigError, match='checkpoint absent.pth does not exist'):
        launch.set_checkpoint(config(), 'absent.pth')


def test_epochs_stretch_the_schedule():
    cfg = config(train_cfg=dict(max_epochs=10, val_interval=5), param_scheduler=[
        dict(type='LinearLR', begin=0, end=1),
        dict(type='CosineAnnealingLR', begin=1, end=10, T_max=9)])
    launch.set_epochs(cfg, 3)
    assert cfg.train_cfg == dict(max_epochs=3, val_interval=3)
    assert cfg.param_scheduler[0].end == 1
    assert (cfg.param_scheduler[1].end, cfg.param_scheduler[1].T_max) == (3, 2)
    with pytest.raises(launch.ConfigError, match='epochs must be at least 1, got 0'):
        launch.set_epochs(cfg, 0)


def runnable(model):
    return Config(dict(model=model, work_dir='unused', default_scope='sbp_tad'))


@pytest.mark.parametrize('model, message', [
    (dict(type='TemporalDetektor'), 'unknown component: .*TemporalDetektor is not in the'),
    (dict(type='TemporalDetector', backbone=dict(type='SBPBackbone', ratio=0.5, backbone=dict(
        type='ResNet', depth=18)), head=dict(type='AnchorFreeHead')),
     "wrong options: .*unexpected keyword argument 'ratio'"),
    (dict(type='TemporalDetector'), 'wrong options: .*missing 2 required positional arguments')])
def test_faults_found_while_building(model, message, tmp_path):
    cfg = runnable(model)
    cfg.work_dir, cfg.experiment_name = str(tmp_path), tmp_path.name
    with pytest.raises(launch.ConfigError, match=message):
        launch.build_runner(cfg)


def test_other_faults_are_not_taken_for_the_config():
    with pytest.raises(KeyError, match='real bug'), launch.config_faults():
        raise KeyError('real bug')
    with pytest.raises(TypeError, match='real bug'), launch.config_faults():
        raise TypeError('real bug')


@pytest.mark.parametrize('strategy, message', [
    ('FSDPStrategy', 'SBPBackbone writes the names of mmaction.*train with DDP'),
    ('mmengine.DeepSpeedStrategy', 'needs the package deepspeed, which is not installed')])
def test_strategies_that_do_not_work(strategy, message, monkeypatch):
    monkeypatch.setattr(launch, 'find_spec', lambda name: None)
    cfg = config(strategy=dict(type=strategy), runner_type='FlexibleRunner')
    with pytest.raises(launch.ConfigError, match=message):
        launch.build_runner(cfg)


def test_strategies_that_may_work(monkeypatch):
    monkeypatch.setattr(launch, 'find_spec', lambda name: name)
    for strategy in (dict(type='DeepSpeedStrategy'), dict(type='DDPStrategy'), None):
        launch.check_strategy(config(strategy=strategy))


# ---------------------------------------------------------------- processes
def test_processes_wait_for_the_last_one(monkeypatch):
    """A share of videos may take hours longer than another."""
    begun = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: False)
    monkeypatch.setattr(torch.distributed, 'init_process_group',
                        lambda backend, timeout: begun.append((backend, timeout.days)))
    cfg = Config(dict(env_cfg=dict(dist_cfg=dict(backend='nccl'))))
    launch.start_processes(cfg, 'pytorch')
    assert begun == [('gloo', 7)] and cfg.env_cfg.dist_cfg.backend == 'nccl'
    launch.start_processes(Config(), 'none')
    assert len(begun) == 1
