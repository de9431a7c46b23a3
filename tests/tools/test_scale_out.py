"""Training and testing in several processes, as torchrun starts them: same result, same end."""
import json
import math
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from killed_training import kill_before_iteration
from processes import MOST_SECONDS, ROOT, free_port, run_without_agent, torchrun, torchrun_command

from sbp_tad.datasets.toy_videos import ToySettings, build_toy_dataset
from sbp_tad.evaluation.detections import read_detections

pytestmark = pytest.mark.slow
CONFIG = 'configs/toy/actionformer_r3d10_sbp-r4_toy.py'
SMALL = ['train_dataloader.num_workers=1', 'test_dataloader.num_workers=0',
         'train_dataloader.dataset.windows_per_video=1',
         'train_cfg.max_epochs=3', 'model.neck.drop_path=0.5',
         'default_hooks.checkpoint.max_keep_ckpts=3', 'test_dataloader.dataset.overlap=0.6']
NUM_WINDOWS = 25  # a multiple of neither 2 nor 3


@pytest.fixture(scope='module')
def toy(made_once):
    settings = ToySettings(train_videos=4, test_videos=2, size=32, min_seconds=20, max_seconds=30)
    return made_once('scale_out_toy', lambda folder: build_toy_dataset(folder, settings))


def options(folder, *others):
    """Of a small run: 4 training videos, 2 iterations an epoch, no validation."""
    data = [f'{loader}_dataloader.{option}' for loader in ('train', 'val', 'test') for option in (
        f'dataset.data_root={folder}', 'dataset.num_frames=16', 'dataset.stride_frames=4',
        'dataset.pipeline.2.scale=(16,16)', 'persistent_workers=False')]
    return ['--cfg-options', *SMALL, *data, *others]


def training(folder, work_dir, batch_size=1, *others):
    return [CONFIG, '--work-dir', work_dir, '--no-validate', '--resume',
            *options(folder, f'train_dataloader.batch_size={batch_size}', *others)]


def weights(path):
    return torch.load(path, weights_only=False)['state_dict']


@pytest.fixture(scope='module')
def of_one(toy, made_once):
    """Return the work dir of one process with batches of two."""
    def train(folder):
        done = run_without_agent('tools/train.py', *training(toy, folder, 2,
                                                             'train_cfg.max_epochs=1'))
        assert not done.statuses, done.output[-3000:]
    return made_once('scale_out_one', train)


@pytest.fixture(scope='module')
def of_two(toy, made_once):
    """Return the work dir of two processes with batches of one."""
    def train(folder):
        done = torchrun('tools/train.py', *training(toy, folder))
        assert not done.statuses, done.output[-3000:]
    return made_once('scale_out_two', train)


def train_on_two_nodes(toy, work_dir):
    """Train in two processes with batches of one, each a node of its own to torchrun."""
    port = free_port()
    command = ['bash', 'tools/dist_train.sh', CONFIG, '1', *training(toy, work_dir)[1:]]

    def run_node(rank):
        return subprocess.run(
            [*map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=MOST_SECONDS, env={
                **os.environ, 'NNODES': '2', 'NODE_RANK': str(rank), 'PORT': str(port),
                'PYTHON': sys.executable, 'PYTHONWARNINGS': 'ignore'})
    with ThreadPoolExecutor() as threads:
        for done in threads.map(run_node, (0, 1)):
            assert done.returncode == 0, done.stdout[-3000:]


def differing(found, expected):
    """Names of the weights that are not equal to the bit."""
    found, expected = weights(found), weights(expected)
    assert found.keys() == expected.keys()
    return [name for name in found if not torch.equal(found[name], expected[name])]


def test_two_processes_with_one_sample_each_train_as_one_with_both(of_one, of_two):
    one, two = weights(of_one / 'epoch_1.pth'), weights(of_two / 'epoch_1.pth')
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)
    start = -math.log(99)  # of the classifier's bias: a hundredth for every class
    assert (two['head.cls_tower.predictor.bias'] - start).abs().min() > 1e-4


@pytest.mark.nightly
def test_two_nodes_train_as_two_processes_of_one(toy, of_two, tmp_path):
    train_on_two_nodes(toy, tmp_path)
    assert differing(tmp_path / 'epoch_3.pth', of_two / 'epoch_3.pth') == []


def kill_rank_1_after_a_checkpoint():
    """In the first start, end rank 1 by SIGKILL in the second epoch.

    It has shared an iteration of that epoch with rank 0, which writes the
    checkpoint of the first epoch before that.
    """
    if os.environ['RANK'] == '1' and os.environ['TORCHELASTIC_RESTART_COUNT'] == '0':
        kill_before_iteration(3)


def test_a_killed_process_is_replaced_and_the_run_ends_the_same(toy, of_two, tmp_path):
    done = torchrun('tools/train.py', *training(toy, tmp_path), max_restarts=1,
                    first=kill_rank_1_after_a_checkpoint)
    assert not done.statuses, done.output[-3000:]
    assert 'resumed epoch: 1' in done.output
    assert differing(tmp_path / 'epoch_3.pth', of_two / 'epoch_3.pth') == []


@pytest.mark.parametrize('numbers', [(1, 2), pytest.param((1, 2, 3), marks=pytest.mark.nightly)])
def test_any_number_of_processes_gives_the_same_map(numbers, toy, of_one, tmp_path):
    """Windows of a video come from several processes, the last batches are uneven."""
    figures, found = [], []
    for processes in numbers:
        folder = tmp_path / str(processes)
        arguments = ['tools/test.py', CONFIG, of_one / 'epoch_1.pth', '--work-dir', folder,
                     *options(toy, 'test_dataloader.batch_size=2')]
        done = torchrun(*arguments, processes=processes) if processes > 1 else \
            run_without_agent(*arguments)
        assert not done.statuses, done.output[-3000:]
        batches = math.ceil(math.ceil(NUM_WINDOWS / processes) / 2)
        assert f'[{batches}/{batches}]' in done.output
        (log, ) = folder.glob('*/2*.json')
        figures.append({name: value for name, value in json.loads(log.read_text()).items()
                        if name.startswith('tad/')})
        found.append(read_detections(folder / 'detections.json'))
    assert all(other == figures[0] for other in figures) and figures[0]['tad/average_mAP'] > 0
    for several in found[1:]:
        assert several.video_ids == found[0].video_ids
        assert len(several) == len(found[0])
        torch.testing.assert_close(torch.tensor(several.scores), torch.tensor(found[0].scores))


@pytest.fixture
def broken(toy, tmp_path):
    """Return a copy of the set in which a training and a test video cannot be read."""
    folder = tmp_path / 'toy'
    shutil.copytree(toy, folder)
    for name in ('toy_training_0002', 'toy_test_0001'):
        (folder / 'videos' / f'{name}.mp4').write_text('no video')
    return folder


FAULTS = {
    # of a data worker; of the metric, in process 0 alone; of the hook, in both
    'training': ('toy_training_0002.mp4: not a readable video', {0, 1}),
    'testing': ('toy_test_0001.mp4: not a readable video', {0}),
    'numbers': ('loss_cls is nan', {0, 1}),
}


@pytest.mark.parametrize('fault, start', [
    # Through the command: an agent of the test's own processes may see the bystander end first.
    ('training', torchrun_command), ('testing', run_without_agent),
    *(pytest.param(*case, marks=pytest.mark.nightly) for case in (
        ('testing', torchrun_command), ('numbers', torchrun_command),
        ('training', run_without_agent)))])
def test_an_error_in_one_process_ends_all_with_its_message(fault, start, toy, broken, of_one,
                                                           tmp_path):
    arguments = {
        'training': ['tools/train.py', *training(broken, tmp_path)],
        'testing': ['tools/test.py', CONFIG, of_one / 'epoch_1.pth', '--work-dir', tmp_path,
                    *options(broken)],
        'numbers': ['tools/train.py', *training(
            toy, tmp_path, 1, 'optim_wrapper.optimizer.lr=1e30', 'optim_wrapper.clip_grad=None')]}
    done = start(*arguments[fault], processes=2)
    message, culprits = FAULTS[fault]
    told, _, summary = done.output.partition('FAILED')
    assert message in told and 'Traceback' not in told, told[-3000:]
    failed = {rank for rank, status in done.statuses.items() if status == 2}
    assert failed and failed <= culprits
    assert not any(status == -9 for status in done.statuses.values()), 'one had to be killed'
    if start is not run_without_agent:
        assert message in summary.rpartition('Root Cause')[2]
