"""The demo in small: all its stops, and the files it promises."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sbp_tad.datasets.toy_videos import ToySettings, build_toy_dataset

ROOT = Path(__file__).parents[2]
PROMISED = ('average_mAP', 'mAP', 'saved_for_backward_bytes', 'peak_memory_bytes',
            'seconds_per_iteration', 'seconds_total')


@pytest.mark.slow
def test_demo_writes_what_it_promises(tmp_path):
    data = tmp_path / 'toy'
    settings = ['--train-videos', '2', '--test-videos', '1']
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', 'tools/demo.py', '--work-dir', str(tmp_path / 'work'),
         '--data', str(data), '--epochs', '1', *settings, '--cfg-options',
         'train_dataloader.batch_size=2', 'train_dataloader.dataset.windows_per_video=1'],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    summary = json.loads((tmp_path / 'work' / 'summary.json').read_text())
    assert set(PROMISED) <= set(summary)
    assert list(summary['mAP']) == ['0.30', '0.40', '0.50', '0.60', '0.70']
    assert 0 <= summary['average_mAP'] <= 1 and summary['seconds_per_iteration'] > 0
    kept, full = (summary[f'saved_for_backward_bytes{name}'] for name in ('', '_full'))
    assert kept == pytest.approx(full / 4, rel=0.05)
    assert (tmp_path / 'work' / 'timeline.png').read_bytes()[:4] == b'\x89PNG'
    for text in ('average mAP', 'MiB', 'timeline.png', 'summary.json', 'detections.json'):
        assert text in done.stdout
    assert not build_toy_dataset(data, ToySettings(train_videos=2, test_videos=1))  # reused
