"""A training that is killed by SIGKILL and resumed ends with the weights of one that was not."""
import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from killed_training import CONFIG, train
from processes import start_method

from sbp_tad.datasets.toy_videos import ToySettings, build_toy_dataset

SEED = 8
NUM_MOMENTS = int(os.environ.get('RESUME_MOMENTS', 2))  # `make test-resume` takes 25
EPOCHS = [str(CONFIG), '--amp']
EPOCH_OPTIONS = ['train_dataloader.dataset.windows_per_video=1', 'train_cfg.max_epochs=3',
                 'train_cfg.val_interval=1']
# Checkpoints between two iterations of one update, and within an epoch of 4 iterations.
WITHIN_EPOCHS = '''
train_dataloader = dict(dataset=dict(windows_per_video=2))
train_cfg = dict(max_epochs=3, val_interval=2)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=3))
optim_wrapper = dict(accumulative_counts=4)
'''
ITERATIONS = '''
train_dataloader = dict(dataset=dict(windows_per_video=2), sampler=dict(type={sampler!r}))
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=11, val_interval=3)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=11, by_epoch=False)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=3))
log_processor = dict(by_epoch=False)
custom_hooks = [dict(type='KeepRatioSchedule', form='cosine', start=1.0, end=0.25)]
optim_wrapper = dict(accumulative_counts=2)
'''
LOSS_SCALING = '''
optim_wrapper.update(type='ScaledAmpOptimWrapper', dtype='bfloat16',
                     loss_scale=dict(init_scale=2.0**127, growth_interval=3))
'''


@pytest.fixture(scope='module')
def processes():
    """Forks of a clean process that has imported everything: each starts at once."""
    return multiprocessing.get_context(start_method())


class Training:
    """Runs of one training in one work dir."""

    def __init__(self, processes, data_root: Path, folder: Path, arguments: list[str],
                 options: list[str] = ()) -> None:
        self.processes, self.folder = processes, folder
        self.log = folder.with_suffix('.log')
        self.fixed = (str(data_root), str(folder), str(self.log), arguments, list(options))

    def start(self, **kill_at: int) -> multiprocessing.Process:
        """Start or resume."""
        process = self.processes.Process(target=train, args=(*self.fixed, kill_at))
        process.start()
        return process

    def run(self, **kill_at: int) -> None:
        """To the end, or until it dies as it shall and in no other way."""
        process = self.start(**kill_at)
        process.join()
        expected = -signal.SIGKILL if kill_at else 0
        assert process.exitcode == expected, self.log.read_text()[-3000:]

    def run_until(self, seconds: float) -> None:
        """Kill it after this time, or earlier where the machine has been so quick that it ended."""
        while True:
            process = self.start()
            process.join(seconds)
            process.kill()
            process.join()
            if process.exitcode == -signal.SIGKILL:
                return
            assert process.exitcode == 0, self.log.read_text()[-3000:]
            shutil.rmtree(self.folder)
            seconds /= 2

    def num_operations(self) -> int:
        """Count how often the last run opened, renamed or removed a checkpoint."""
        return Path(f'{self.log}.operations').stat().st_size

    def result(self, last: str) -> dict:
        """All that the checkpoint ``last`` holds of a state."""
        path = Path((self.folder / 'last_checkpoint').read_text())
        assert path.name == last
        checkpoint = torch.load(path, weights_only=False)
        infos = checkpoint['message_hub']['runtime_info']
        best = {key: infos[key] for key in ('best_score', 'iter', 'epoch', 'keep_ckpt_ids')}
        files = sorted(path.name for path in self.folder.glob('*.p*'))
        return {key: checkpoint[key] for key in ('state_dict', 'ema_state_dict', 'optimizer',
                                                 'param_schedulers')} | dict(
            best=best, best_name=Path(infos['best_ckpt']).name, files=files)


@pytest.fixture(scope='module')
def data_root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('toy')
    build_toy_dataset(folder, ToySettings(train_videos=2, test_videos=1, size=32))
    return folder


@pytest.fixture(scope='module')
def never_killed(processes, data_root, tmp_path_factory):
    """The result, the seconds and the operations on files of a run that nobody kills."""
    training = Training(processes, data_root, tmp_path_factory.mktemp('whole') / 'work', EPOCHS,
                        EPOCH_OPTIONS)
    started = time.monotonic()
    training.run()
    return (training.result('epoch_3.pth'), time.monotonic() - started,
            training.num_operations())


def differences(one, other, path='') -> list[str]:
    """Return the paths at which two nested values differ, tensors to the bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        return [line for key in one for line in differences(one[key], other[key],
                                                            f'{path}.{key}')]
    if isinstance(one, (list, tuple)):
        assert len(one) == len(other), path
        return [line for number, pair in enumerate(zip(one, other))
                for line in differences(*pair, f'{path}.{number}')]
    same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    return [] if same else [f'{path}: {one} and {other}']


@pytest.mark.parametrize('number', [
    # An even one is a time: which step it hits depends on the machine.
    number if number == 1 else pytest.param(number, marks=pytest.mark.nightly)
    for number in range(NUM_MOMENTS)])
def test_a_killed_run_ends_as_one_that_was_not(number, processes, data_root, never_killed,
                                               tmp_path):
    whole, seconds, num_operations = never_killed
    draw = random.Random(f'{SEED} {number}')
    training = Training(processes, data_root, tmp_path / 'work', EPOCHS, EPOCH_OPTIONS)
    if number % 2:  # while checkpoints are written and removed, or anywhere
        training.run(operation=draw.randrange(num_operations))
    else:
        training.run_until(draw.uniform(0, seconds))
    training.run()
    assert differences(whole, training.result('epoch_3.pth')) == []


@pytest.mark.nightly  # test_accumulated_gradients.py runs with every change
@pytest.mark.parametrize('text, kill_at, last', [
    (WITHIN_EPOCHS, 7, 'iter_12.pth'),
    (ITERATIONS.format(sampler='DefaultSampler'), 5, 'iter_11.pth'),
    pytest.param(
        ITERATIONS.format(sampler='InfiniteSampler') + LOSS_SCALING, 10, 'iter_11.pth',
        marks=pytest.mark.skipif(not hasattr(torch.amp, 'GradScaler'),
                                 reason='loss scaling on a CPU came with torch 2.3'))])
def test_iterations_that_accumulate_for_one_update_go_on_between(text, kill_at, last, processes,
                                                                 data_root, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(f'_base_ = {str(CONFIG)!r}\n{text}')
    whole, killed = (Training(processes, data_root, tmp_path / name, [str(config)])
                     for name in ('whole', 'killed'))
    whole.run()
    killed.run(iteration=kill_at)
    from_checkpoint = Path((killed.folder / 'last_checkpoint').read_text())
    assert torch.load(from_checkpoint, weights_only=False)['accumulated_gradients']
    killed.run()
    assert differences(whole.result(last), killed.result(last)) == []
    if LOSS_SCALING in text:  # the scaler has left out an update, and let others pass
        state = whole.result(last)['optimizer']
        assert state['loss_scaler']['scale'] < 2.0**127 and state['state'][0]['step'] >= 2
