"""Processes find each other: on gloo, under Slurm, after a restart; one test with two of them."""
import os

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import init_dist
from processes import run_without_agent

from sbp_tad import process_groups


@pytest.fixture
def cpu_only(monkeypatch):
    """No CUDA; records the backends of the process groups that are asked for."""
    backends = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: bool(backends))
    monkeypatch.setattr(torch.distributed, 'init_process_group', backends.append)
    return backends


def test_gloo_is_used_under_torchrun(cpu_only):
    cfg = Config(dict(launcher='pytorch', find_unused_parameters=True))
    process_groups.use_gloo_without_cuda(cfg)
    process_groups.use_gloo_without_cuda(cfg)
    assert cpu_only == ['gloo']
    assert cfg.model_wrapper_cfg == dict(type='MMDistributedDataParallel', device_ids=None,
                                         broadcast_buffers=False, find_unused_parameters=True)


def test_gloo_keeps_the_wrapper_of_the_config(cpu_only):
    cfg = Config(dict(launcher='pytorch',
                      model_wrapper_cfg=dict(type='Own', static_graph=True)))
    process_groups.use_gloo_without_cuda(cfg)
    assert cfg.model_wrapper_cfg.type == 'Own' and cfg.model_wrapper_cfg.static_graph


def test_gloo_is_not_used_without_launcher_or_with_cuda(cpu_only, monkeypatch):
    single = Config(dict(launcher='none'))
    process_groups.use_gloo_without_cuda(single)
    process_groups.use_gloo_without_cuda(Config(dict()))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    process_groups.use_gloo_without_cuda(Config(dict(launcher='pytorch')))
    assert cpu_only == [] and 'model_wrapper_cfg' not in single


def test_other_launchers_need_cuda(cpu_only):
    with pytest.raises(process_groups.LauncherError, match="'mpi' needs CUDA.*torchrun.*srun"):
        process_groups.use_gloo_without_cuda(Config(dict(launcher='mpi')))


# ---------------------------------------------------------------- restarts
class Rendezvous:
    """Records how a process group is asked for, and has a store for it."""

    def __init__(self, monkeypatch, cuda):
        self.asked, self.store = [], torch.distributed.HashStore()
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
        monkeypatch.setattr(torch.cuda, 'set_device', self.asked.append)
        monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: False)
        monkeypatch.setattr(torch.distributed, 'rendezvous', lambda url: iter([(self.store, 1, 2)]))
        monkeypatch.setattr(torch.distributed, 'init_process_group',
                            lambda *args, **options: self.asked.append((args, options)))
        monkeypatch.setenv('LOCAL_RANK', '1')


@pytest.mark.parametrize('cuda', [False, True])
def test_processes_of_a_new_attempt_do_not_find_those_of_the_last(cuda, monkeypatch):
    rendezvous = Rendezvous(monkeypatch, cuda)
    join = process_groups.rejoin_with_cuda if cuda else process_groups.use_gloo_without_cuda
    for attempt in ('1', '2'):
        monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', attempt)
        join(Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(
            backend='nccl', timeout=30)))))
        (backend, ), options = rendezvous.asked.pop()
        assert backend == ('nccl' if cuda else 'gloo')
        assert options['timeout'].seconds == 30
        assert (options['rank'], options['world_size']) == (1, 2)
        assert not options['store'].check(['address'])
        options['store'].set('address', attempt)
    assert rendezvous.asked == ([1, 1] if cuda else [])


def test_a_first_attempt_with_cuda_is_mmengine_s(monkeypatch):
    rendezvous = Rendezvous(monkeypatch, cuda=True)
    for launcher in ('pytorch', 'slurm', 'none'):
        process_groups.rejoin_with_cuda(Config(dict(launcher=launcher)))
    assert rendezvous.asked == []


# ---------------------------------------------------------------- slurm
@pytest.fixture
def srun(monkeypatch, tmp_path):
    """The environment of task 1 of 4 on two nodes, and an ``scontrol`` that knows their names."""
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\n[ "$3" = "node[3-4]" ] && echo node3 && echo node4')
    scontrol.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, 'stale')  # put back as it was in the end
        monkeypatch.delenv(name)
    for name, value in dict(PROCID=3, NTASKS=4, LOCALID=1, NODELIST='node[3-4]').items():
        monkeypatch.setenv(f'SLURM_{name}', str(value))


def joined():
    return {name: os.environ[name] for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR',
                                                'MASTER_PORT')}


def test_slurm_without_cuda(srun, cpu_only):
    cfg = Config(dict(launcher='slurm'))
    process_groups.use_gloo_without_cuda(cfg)
    assert cpu_only == ['gloo'] and cfg.model_wrapper_cfg.device_ids is None
    assert joined() == dict(RANK='3', WORLD_SIZE='4', LOCAL_RANK='1', MASTER_ADDR='node3',
                            MASTER_PORT='29500')


def test_slurm_with_cuda_is_mmengine_s_and_the_same(srun, monkeypatch):
    rendezvous = Rendezvous(monkeypatch, cuda=True)
    monkeypatch.setattr(torch.multiprocessing, 'set_start_method', lambda method: None)
    init_dist('slurm')
    assert rendezvous.asked[0] == 1
    with_cuda = joined()
    for name in with_cuda:
        monkeypatch.delenv(name)
    process_groups.read_slurm_environment()
    assert joined() == with_cuda


def test_slurm_that_has_not_started_this_process(srun, cpu_only, monkeypatch):
    monkeypatch.setenv('SLURM_NODELIST', 'elsewhere')
    with pytest.raises(process_groups.LauncherError, match='first host of elsewhere.*MASTER_ADDR'):
        process_groups.read_slurm_environment()
    monkeypatch.delenv('SLURM_PROCID')
    with pytest.raises(process_groups.LauncherError, match='needs SLURM_PROCID, which srun sets'):
        process_groups.use_gloo_without_cuda(Config(dict(launcher='slurm')))


# ---------------------------------------------------------------- two processes

TRAIN = '''
import sys, torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner
from sbp_tad import compat, process_groups


@MODELS.register_module()
class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, inputs, target, mode):
        return {'loss': (self.layer(inputs) - target).square().mean()}


compat.allow_mmengine_checkpoints()
pairs = [(torch.tensor([float(x)]), torch.tensor([2.0 * x])) for x in range(4)]
for epochs in (1, 2):  # the second runner resumes what the first one saved
    cfg = Config(dict(
        model=dict(type='Line'), launcher='pytorch', work_dir=sys.argv[1], resume=True,
        experiment_name=f'to_epoch_{epochs}',
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        train_dataloader=dict(batch_size=2, dataset=pairs, sampler=dict(type='DefaultSampler'),
                              collate_fn=dict(type='default_collate'))))
    process_groups.use_gloo_without_cuda(cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    print('iterations', runner.iter, 'processes', runner.world_size)
'''


@pytest.mark.slow
def test_two_processes_train_and_resume_without_cuda(tmp_path):
    script = tmp_path / 'train_line.py'
    script.write_text(TRAIN)
    done = run_without_agent(str(script), tmp_path / 'work', processes=2)
    assert not done.statuses, done.output
    # Four samples in two processes, two a batch: one iteration an epoch.
    for iterations in (1, 2):
        assert done.output.count(f'iterations {iterations} processes 2') == 2
