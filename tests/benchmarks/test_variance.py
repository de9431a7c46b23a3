"""``python -m benchmarks.variance`` on a small toy set."""
import json

import pytest
import torch

from benchmarks import variance
from sbp_tad.apis.command_line import run_main
from sbp_tad.datasets.toy_videos import ToySettings, build_toy_dataset


@pytest.fixture
def run(capsys):
    """Call the program in this process; (status, all that it printed)."""
    threads = torch.get_num_threads()

    def call(*arguments):
        with pytest.raises(SystemExit) as caught:
            run_main(variance.main, list(map(str, arguments)))
        return caught.value.code, ''.join(capsys.readouterr())
    yield call
    torch.set_num_threads(threads)


def test_prints_and_writes_every_sampler(tmp_path, run):
    build_toy_dataset(tmp_path / 'toy', ToySettings(train_videos=2, test_videos=1, size=64))
    status, printed = run('--data', tmp_path / 'toy', '--videos', 2, '--draws', 100, '--json',
                          tmp_path / 'rows.json')
    assert status == 0, printed[-2000:]
    rows = json.loads((tmp_path / 'rows.json').read_text())
    assert [row['sampler'] for row in rows] == [
        'random', 'uniform', 'uniform_jitter', 'gradient', 'oracle_norm', 'oracle_spread']
    assert all(row['variance'] > 0 and row['weights'] == 'initial' for row in rows)
    assert rows[0]['to_random'] == rows[2]['to_uniform_jitter'] == 1
    assert 'gradient' in printed and 'bias / noise' in printed


@pytest.mark.nightly
def test_trains_the_frame_cnn_itself(tmp_path, run):
    build_toy_dataset(tmp_path / 'toy', ToySettings(train_videos=2, test_videos=1, size=64))
    status, printed = run('--data', tmp_path / 'toy', '--network', 'frame_cnn', '--videos', 2,
                          '--draws', 100, '--steps', 2, 0, '--json', tmp_path / 'rows.json')
    assert status == 0, printed[-2000:]
    rows = json.loads((tmp_path / 'rows.json').read_text())
    guided = {row['weights']: row for row in rows if row['sampler'] == 'gradient'}
    assert list(guided) == ['step 0', 'step 2']
    assert guided['step 0']['variance'] != guided['step 2']['variance']
    assert all(row['to_random'] < 0.5 for row in guided.values())


def test_a_missing_checkpoint_is_a_sentence(tmp_path, run):
    build_toy_dataset(tmp_path / 'toy', ToySettings(train_videos=1, test_videos=1, size=64))
    status, printed = run('--data', tmp_path / 'toy', '--videos', 1, '--draws', 10,
                          '--checkpoint', 'none.pth')
    assert status == 2 and 'checkpoint none.pth does not exist' in printed
