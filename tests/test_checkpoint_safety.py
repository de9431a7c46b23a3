"""No code of a checkpoint runs, on whatever way it comes in, unless the user says so."""
import argparse
import os

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner, load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn
from torch.utils.data import DataLoader

from sbp_tad.apis import launch_options
from sbp_tad.apis.checkpoints import read_checkpoint
from sbp_tad.checkpoint_safety import (
    REFUSE_VARIABLE,
    TRUST_VARIABLE,
    UntrustedCheckpointError,
    weights_only,
)
from sbp_tad.compat import prepare_stack

REFUSAL = ('evil.pth: not a checkpoint, or one that holds more .*mkdir.*--trust-checkpoint or set '
           'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1')


class Surprise:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path), )


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.linear(inputs)


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for variable in (TRUST_VARIABLE, REFUSE_VARIABLE):
        monkeypatch.setenv(variable, '0')  # so that what a test sets is undone
        monkeypatch.delenv(variable)
    prepare_stack()


@pytest.fixture
def evil(tmp_path):
    """A checkpoint that makes a folder when it is unpickled."""
    path = tmp_path / 'evil.pth'
    torch.save(dict(state_dict=Model().state_dict(), meta=dict(x=Surprise(tmp_path / 'ran'))), path)
    return path


def run_with(**options):
    def load(path):
        Runner(Model(), str(path.parent), experiment_name=str(path).replace('/', '_'),
               log_level='ERROR', **options, load_from=str(path)).load_or_resume()
    return load


WAYS = {
    'load_from': run_with(), 'resume': run_with(resume=True), 'read': read_checkpoint,
    'load_checkpoint': lambda path: load_checkpoint(Model(), str(path), logger='silent'),
    'init_cfg': lambda path: _initialize(path),
}


def _initialize(path):
    model = Model()
    model.init_cfg = dict(type='Pretrained', checkpoint=str(path))
    model.init_weights()


@pytest.mark.parametrize('way', WAYS)
def test_every_way_refuses(way, evil):
    with pytest.raises(UntrustedCheckpointError, match=REFUSAL):
        WAYS[way](evil)
    assert not (evil.parent / 'ran').exists() and REFUSE_VARIABLE not in os.environ


@pytest.mark.parametrize('way', ['load_from', 'read'])
def test_the_option_opts_in(way, evil):
    parser = argparse.ArgumentParser()
    launch_options.add_launch_options(parser)
    assert not parser.parse_args([]).trust_checkpoint and TRUST_VARIABLE not in os.environ
    assert parser.parse_args(['--trust-checkpoint']).trust_checkpoint
    WAYS[way](evil)
    assert (evil.parent / 'ran').is_dir()


def test_the_default_of_an_older_torch_does_not_matter(evil, monkeypatch):
    """Before 2.6 torch.load took any pickle unless it was told otherwise."""
    load = torch.load
    monkeypatch.setattr(torch, 'load', lambda *args, **options: load(
        *args, **{'weights_only': False, **options}))
    for way in ('read', 'load_from'):
        with pytest.raises(UntrustedCheckpointError):
            WAYS[way](evil)
    assert not (evil.parent / 'ran').exists()


@pytest.mark.parametrize('trusting', [False, True])
def test_resuming_runs_no_config_that_a_checkpoint_holds(trusting, tmp_path, monkeypatch):
    """Its text is no pickle, so ``weights_only`` alone does not see it."""
    path = tmp_path / 'evil.pth'
    code = f'__import__("os").mkdir({str(tmp_path / "ran")!r})\n'
    meta = dict(config=code, epoch=1, iter=3, seed=None)
    torch.save(dict(state_dict=Model().state_dict(), meta=meta, message_hub=dict(
        log_scalars={}, runtime_info={}, resumed_keys={})), path)
    if trusting:
        monkeypatch.setenv(TRUST_VARIABLE, '1')
    runner = Runner(Model(), str(tmp_path), experiment_name=str(tmp_path).replace('/', '_'),
                    log_level='ERROR', train_dataloader=DataLoader([1]),
                    train_cfg=dict(by_epoch=True, max_epochs=1),
                    optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0)))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.resume(str(path), resume_optimizer=False, resume_param_scheduler=False)
    assert runner.iter == 3 and (tmp_path / 'ran').is_dir() is trusting


def test_sound_files_and_other_errors_pass(tmp_path):
    torch.save(dict(state_dict=Model().state_dict()), tmp_path / 'good.pth')
    assert 'state_dict' in CheckpointLoader.load_checkpoint(str(tmp_path / 'good.pth'))
    with pytest.raises(FileNotFoundError):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'absent.pth'))
    with pytest.raises(KeyError), weights_only('x'):
        raise KeyError('other')
