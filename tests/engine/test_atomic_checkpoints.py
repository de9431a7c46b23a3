"""Files that are replaced in one step, and checkpoints that outlive their successor's writing."""
import os
from itertools import count
from pathlib import Path

import pytest
import torch
from mmengine.fileio import get_file_backend
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner

from sbp_tad.engine.atomic_checkpoints import AtomicCheckpointHook, write_atomically
from sbp_tad.errors import ConfigError

RUNS = count()  # mmengine shares the message hub of runs of one name


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
        runner.call_hook('after_val_epoch', metrics=self.metrics(runner.epoch))
        runner.train_loop._epoch -= 1

    def metrics(self, epoch):
        score = self.scores[epoch - 1]
        return dict(score=score, loss=1 - score)


def run(folder: Path, scores: list[float], resume: Path | None = None, **options) -> Runner:
    runner = Runner(
        Line(), str(folder), train_dataloader=dict(
            batch_size=1, num_workers=0, dataset=[torch.ones(1)] * 2,
            sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(by_epoch=True, max_epochs=len(scores)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        experiment_name=f'{folder.name} {next(RUNS)}',
        default_hooks=dict(logger=None, checkpoint=dict(
            type=AtomicCheckpointHook, interval=1,
            **dict(dict(save_best='score', rule='greater'), **options))),
        load_from=resume and str(resume), resume=resume is not None,
        custom_hooks=[dict(type=Score, scores=scores, priority='LOWEST')])
    runner.train()
    return runner


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth*'))


def test_the_newest_and_the_best_are_kept(tmp_path):
    runner = run(tmp_path, [0.1, 0.3, 0.2, 0.25], max_keep_ckpts=2)
    assert checkpoints(tmp_path) == ['best.pth', 'best_score_epoch_2.pth', 'epoch_3.pth',
                                     'epoch_4.pth']
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
    assert checkpoints(tmp_path) == ['best.pth', 'best_score_epoch_1.pth', 'epoch_1.pth']


def named_best(folder: Path) -> str:
    """The checkpoint that best.pth names; it holds weights."""
    assert 'state_dict' in torch.load(folder / 'best.pth', weights_only=False)
    return os.readlink(folder / 'best.pth')


def test_best_names_the_best_of_the_newest_run(tmp_path):
    run(tmp_path / 'run', [0.1, 0.3, 0.2])
    assert named_best(tmp_path / 'run') == 'best_score_epoch_2.pth'
    run(tmp_path / 'run', [0.05])
    assert named_best(tmp_path / 'run') == 'best_score_epoch_1.pth'
    (tmp_path / 'run').rename(tmp_path / 'moved')
    assert named_best(tmp_path / 'moved') == 'best_score_epoch_1.pth'


def test_best_is_set_right_on_resume(tmp_path):
    """The link was lost, or a kill came between the checkpoint and the link."""
    run(tmp_path, [0.1, 0.3])
    for wrong in (None, 'epoch_1.pth'):
        (tmp_path / 'best.pth').unlink()
        if wrong:
            (tmp_path / 'best.pth').symlink_to(wrong)
        run(tmp_path, [0.1, 0.3, 0.2], resume=tmp_path / 'epoch_2.pth')
        assert named_best(tmp_path) == 'best_score_epoch_2.pth'


def test_best_of_several_metrics_is_that_of_the_first(tmp_path):
    run(tmp_path, [0.1, 0.3, 0.2], save_best=['score', 'loss'], rule=['greater', 'less'])
    assert named_best(tmp_path) == 'best_score_epoch_2.pth'
    assert (tmp_path / 'best_loss_epoch_2.pth').exists()


def test_best_is_a_copy_where_symbolic_links_are_not_possible(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError('the file system has no symbolic links')
    monkeypatch.setattr(Path, 'symlink_to', refuse)
    run(tmp_path, [0.1, 0.3, 0.2])
    best = tmp_path / 'best.pth'
    assert not best.is_symlink()
    assert best.read_bytes() == (tmp_path / 'best_score_epoch_2.pth').read_bytes()


def test_a_metric_that_the_validation_does_not_give(tmp_path):
    hook = AtomicCheckpointHook(save_best='tad/mAP', rule='greater')
    with pytest.raises(ConfigError, match='save_best names tad/mAP, but the validation gives '
                                          'tad/average_mAP, loss. Set save_best to one of these'):
        hook._save_best_checkpoint(None, {'tad/average_mAP': 0.5, 'loss': 1.0})


def test_without_validation_there_is_no_best(tmp_path):
    run(tmp_path, [0.1], save_best=None)
    assert not (tmp_path / 'best.pth').is_symlink()


def test_best_is_never_gone_while_it_changes(tmp_path, monkeypatch):
    """At every replacement of a file best.pth names a whole checkpoint, once it exists."""
    seen, replace = [], os.replace

    def look(*paths):
        if (tmp_path / 'best.pth').is_symlink():
            seen.append(named_best(tmp_path))
        replace(*paths)
        if (tmp_path / 'best.pth').is_symlink():
            seen.append(named_best(tmp_path))
    monkeypatch.setattr(os, 'replace', look)
    run(tmp_path, [0.1, 0.2, 0.3])
    assert sorted(set(seen)) == [f'best_score_epoch_{epoch}.pth' for epoch in (1, 2, 3)]
