"""``python -m benchmarks.variance`` on a small toy set."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sbp_tad.datasets.toy_videos import ToySettings, build_toy_dataset

ROOT = Path(__file__).parents[2]


def run(*arguments):
    return subprocess.run([sys.executable, '-W', 'ignore', '-m', 'benchmarks.variance',
                           *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_prints_and_writes_every_sampler(tmp_path):
    build_toy_dataset(tmp_path / 'toy', ToySettings(train_videos=2, test_videos=1, size=64))
    done = run('--data', tmp_path / 'toy', '--videos', 2, '--draws', 100, '--json',
               tmp_path / 'rows.json')
    assert done.returncode == 0, done.stdout[-2000:]
    rows = json.loads((tmp_path / 'rows.json').read_text())
    assert [row['sampler'] for row in rows] == [
        'random', 'uniform', 'uniform_jitter', 'gradient', 'oracle_norm', 'oracle_spread']
    assert all(row['variance'] > 0 and row['weights'] == 'initial' for row in rows)
    assert rows[0]['to_random'] == rows[2]['to_uniform_jitter'] == 1
    assert 'gradient' in done.stdout and 'bias / noise' in done.stdout


@pytest.mark.slow
def test_trains_the_frame_cnn_itself(tmp_path):
    build_toy_dataset(tmp_path / 'toy', ToySettings(train_videos=2, test_videos=1, size=64))
    done = run('--data', tmp_path / 'toy', '--network', 'frame_cnn', '--videos', 2, '--draws', 100,
               '--steps', 2, 0, '--json', tmp_path / 'rows.json')
    assert done.returncode == 0, done.stdout[-2000:]
    rows = json.loads((tmp_path / 'rows.json').read_text())
    guided = {row['weights']: row for row in rows if row['sampler'] == 'gradient'}
    assert list(guided) == ['step 0', 'step 2']
    assert guided['step 0']['variance'] != guided['step 2']['variance']
    assert all(row['to_random'] < 0.5 for row in guided.values())


@pytest.mark.slow
def test_a_missing_checkpoint_is_a_sentence(tmp_path):
    build_toy_dataset(tmp_path / 'toy', ToySettings(train_videos=1, test_videos=1, size=64))
    done = run('--data', tmp_path / 'toy', '--videos', 1, '--draws', 10, '--checkpoint', 'none.pth')
    assert done.returncode == 2 and 'there is no checkpoint none.pth' in done.stdout
    assert 'Traceback' not in done.stdout
