"""A training that is killed by SIGKILL and resumed ends with the weights of one that was not."""
import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
import torch
from killed_training import train

from sbp_tad.datasets.toy_videos import ToySettings, build_toy_dataset

SEED = 8
NUM_MOMENTS = int(os.environ.get('RESUME_MOMENTS', 2))  # `make test-resume` takes 25


@pytest.fixture(scope='module')
def processes():
    """Forks of a clean process that has imported everything: each starts at once."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['sbp_tad', 'mmaction.models', 'mmaction.datasets',
                                    'sbp_tad.apis.launch', 'sbp_tad.engine', 'sbp_tad.models',
                                    'sbp_tad.datasets', 'sbp_tad.evaluation.metrics'])
    first = context.Process(target=os.getpid)  # waits for the imports, which no run shall count
    first.start()
    first.join()
    return context


class Training:
    """Runs of one training in one work dir."""

    def __init__(self, processes, data_root: Path, folder: Path) -> None:
        self.processes, self.data_root, self.folder = processes, data_root, folder
        self.log = folder.with_suffix('.log')

    def run(self, kill_after_seconds: float | None = None, max_writes: int | None = None) -> None:
        """Start or resume; without a moment to be killed at, to the end."""
        process = self.processes.Process(target=train, args=(
            str(self.data_root), str(self.folder), str(self.log), max_writes))
        process.start()
        process.join(kill_after_seconds)
        process.kill()
        process.join()
        dies = kill_after_seconds is not None or max_writes is not None
        assert process.exitcode in ((0, -9) if dies else (0, )), self.log.read_text()[-3000:]

    def result(self) -> dict:
        """All that a checkpoint holds of a state."""
        path = Path((self.folder / 'last_checkpoint').read_text())
        assert path.name == 'epoch_3.pth'
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
    """The result and the seconds of a run that nobody kills."""
    training = Training(processes, data_root, tmp_path_factory.mktemp('whole') / 'work')
    started = time.monotonic()
    training.run()
    return training.result(), time.monotonic() - started


def differences(one, other, path='') -> list[str]:
    """Where two nested values differ, tensors to the bit."""
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


@pytest.mark.slow
@pytest.mark.parametrize('number', range(NUM_MOMENTS))
def test_a_killed_run_ends_as_one_that_was_not(number, processes, data_root, never_killed,
                                               tmp_path):
    whole, seconds = never_killed
    draw = random.Random(f'{SEED} {number}')
    training = Training(processes, data_root, tmp_path / 'work')
    if number % 2:  # while checkpoints are written and removed, or anywhere
        training.run(max_writes=draw.randrange(20))
    else:
        training.run(kill_after_seconds=draw.uniform(0, seconds))
    training.run()
    assert differences(whole, training.result()) == []
