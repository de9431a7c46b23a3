"""The demo in small: all its steps, and the files that it names."""
import json
from pathlib import Path

import pytest
import torch

from sbp_tad.datasets.toy_videos import ToySettings, build_toy_dataset
from sbp_tad.evaluation.frame_evaluation import evaluate_frames
from sbp_tad.evaluation.frame_scores import read_frame_scores

ROOT = Path(__file__).parents[2]
ONLINE = str(ROOT / 'configs/toy/online_gru_cnn4_sbp-r4_toy.py')
PROMISED = ('saved_for_backward_bytes', 'peak_memory_bytes',
            'seconds_per_iteration', 'seconds_total')


@pytest.fixture
def run_demo(call_tool, tmp_path):
    """Run the demo in small in this process; its summary and all that it printed."""
    threads = torch.get_num_threads()

    def call(*config):
        status, printed, errors = call_tool(
            'demo', *config, '--work-dir', tmp_path / 'work', '--data', tmp_path / 'toy',
            '--epochs', '1', '--train-videos', '2', '--test-videos', '1', '--cfg-options',
            'train_dataloader.batch_size=2', 'train_dataloader.dataset.windows_per_video=1')
        assert status == 0, errors
        return json.loads((tmp_path / 'work' / 'summary.json').read_text()), printed
    yield call
    torch.set_num_threads(threads)


def check_common(folder, summary, printed):
    """Check the figures and files of both demos."""
    assert set(PROMISED) <= set(summary) and summary['seconds_per_iteration'] > 0
    kept, full = (summary[f'saved_for_backward_bytes{name}'] for name in ('', '_full'))
    assert kept == pytest.approx(full / 4, rel=0.05)
    for text in ('MiB', 'summary.json', 'seconds in total'):
        assert text in printed
    settings = ToySettings(train_videos=2, test_videos=1)
    assert not build_toy_dataset(folder / 'toy', settings)  # reused


@pytest.mark.nightly  # each run of CI ends with this demo
def test_demo_writes_what_it_promises(run_demo, tmp_path):
    summary, printed = run_demo()
    check_common(tmp_path, summary, printed)
    assert list(summary['mAP']) == ['0.30', '0.40', '0.50', '0.60', '0.70']
    assert 0 <= summary['average_mAP'] <= 1
    assert (tmp_path / 'work' / 'timeline.png').read_bytes()[:4] == b'\x89PNG'
    for text in ('average mAP', 'timeline.png', 'detections.json'):
        assert text in printed


@pytest.mark.nightly  # the other demo takes most of the same steps
def test_online_demo_streams_what_it_has_tested(run_demo, tmp_path):
    summary, printed = run_demo(ONLINE)
    check_common(tmp_path, summary, printed)
    frames = read_frame_scores(tmp_path / 'work' / 'frame_scores.npz')
    assert summary['streamed_frames'] == frames.video_lengths.sum() > 32  # one test video
    result = evaluate_frames(frames, smooth=False)
    assert summary['frame_mAP'] == pytest.approx(result.mean_average_precision)
    assert summary['difference_from_test'] < 1e-5 and summary['latency_seconds'] > 0
    assert (tmp_path / 'work' / 'scores.png').read_bytes()[:4] == b'\x89PNG'
    for text in ('mAP over frames', 'calibrated mAP', 'scores.png', 'frame_scores.npz'):
        assert text in printed
