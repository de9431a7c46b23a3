"""Files that are replaced in one step, and checkpoints that outlive their successor's writing."""
import os
from pathlib import Path

import pytest
import torch
from mmengine.fileio import get_file_backend
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner

from sbp_tad.engine.atomic_checkpoints import AtomicCheckpointHook, write_atomically


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_file_is_replaced_or_stays(tmp_path, monkeypatch):
    path = tmp_path / 'folder' / 'file'
    write_atomically(path, b'old')
    for stage in ('fsync', 'replace'):
        with monkeypatch.context() as patch:
            patch.setattr(os, stage, lambda *_: (_ for _ in ()).throw(Killed()))
            with pytest.raises(Killed):
                write_atomically(path, b'new')
        assert path.read_bytes() == b'old'
    write_atomically(path, b'newer')
    assert path.read_bytes() == b'newer' and os.listdir(path.parent) == ['file']


def test_the_backend_is_known_by_name(tmp_path):
    backend = get_file_backend(backend_args=dict(backend='atomic'))
    backend.put(b'content', tmp_path / 'file')
    assert backend.get(tmp_path / 'file') == b'content'


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        loss = self.layer(torch.ones(1, 1)).sum()
        return dict(loss=loss) if mode == 'loss' else [loss.detach()]


class Score(Hook):
    """Gives each epoch its score, as a validation would."""

    def __init__(self, scores):
        self.scores = scores

    def after_train_epoch(self, runner):
        runner.train_loop._epoch += 1
        runner.call_hook('after_val_epoch', metrics=dict(score=self.scores[runner.epoch - 1]))
        runner.train_loop._epoch -= 1


def run(folder: Path, scores: list[float], **options) -> Runner:
    runner = Runner(
        Line(), str(folder), train_dataloader=dict(
            batch_size=1, num_workers=0, dataset=[torch.ones(1)] * 2,
            sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(by_epoch=True, max_epochs=len(scores)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), experiment_name=folder.name,
        default_hooks=dict(logger=None, checkpoint=dict(
            type=AtomicCheckpointHook, interval=1, save_best='score', rule='greater',
            **options)),
        custom_hooks=[dict(type=Score, scores=scores, priority='LOWEST')])
    runner.train()
    return runner


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth*'))


def test_the_newest_and_the_best_are_kept(tmp_path):
    runner = run(tmp_path, [0.1, 0.3, 0.2, 0.25], max_keep_ckpts=2)
    assert checkpoints(tmp_path) == ['best_score_epoch_2.pth', 'epoch_3.pth', 'epoch_4.pth']
    assert Path((tmp_path / 'last_checkpoint').read_text()).name == 'epoch_4.pth'
    assert runner.message_hub.get_info('best_score') == 0.3


def test_a_kill_while_writing_leaves_what_was_there(tmp_path, monkeypatch):
    """Of the only checkpoint kept, and of the best one, at every replacement of a file."""
    for operation in range(8):
        folder, replace, number = tmp_path / str(operation), os.replace, iter(range(100))

        def kill(*paths, replace=replace, number=number, operation=operation):
            if next(number) == operation:
                raise Killed
            replace(*paths)
        with monkeypatch.context() as patch:
            patch.setattr(os, 'replace', kill)
            with pytest.raises(Killed):
                run(folder, [0.1, 0.2, 0.3], max_keep_ckpts=1)
        if operation > 1:  # the first checkpoint and its name are there
            named = torch.load((folder / 'last_checkpoint').read_text(), weights_only=False)
            assert 'state_dict' in named
        if operation > 2:
            assert any(name.startswith('best') and name.endswith('.pth')
                       for name in checkpoints(folder))


def test_what_a_killed_run_left_half_written_goes(tmp_path):
    (tmp_path / 'epoch_9.pth.partial').write_bytes(b'half')
    run(tmp_path, [0.1])
    assert checkpoints(tmp_path) == ['best_score_epoch_1.pth', 'epoch_1.pth']
