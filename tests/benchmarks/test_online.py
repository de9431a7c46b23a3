"""The measurement of a stream: every figure, over the measured steps only."""
from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import online
from benchmarks.errors import BenchmarkError
from benchmarks.online import held_bytes, measure_stream
from sbp_tad.apis.inference.online_inferencer import OnlineInferencer
from sbp_tad.models.heads.online_head import StreamState

CONFIG = Path(__file__).parents[2] / 'configs/toy/online_gru_cnn4_sbp-r4_toy.py'


@pytest.fixture
def inferencer():
    return OnlineInferencer(CONFIG, None, 'cpu')


def test_figures_follow_from_the_clock(inferencer, monkeypatch):
    now = [0.0]
    step = inferencer.step

    def slow_step(state, frame):
        now[0] += 1.0 if state.num_seen < 3 else 0.25 if state.num_seen < 12 else 0.5
        assert frame.shape == (30, 40, 3)
        return step(state, frame)
    monkeypatch.setattr(inferencer, 'step', slow_step)
    monkeypatch.setattr(online.time, 'perf_counter', lambda: now[0])
    result = measure_stream(inferencer, num_steps=10, warm_up=3, frame_size=(30, 40))
    assert result.num_steps == 10 and result.frames_per_second == pytest.approx(10 / 2.75)
    assert result.times_real_time == pytest.approx(10 / 2.75 / 6)  # the model is for 6 fps
    assert result.latency_seconds['median'] == 0.25 and result.latency_seconds['max'] == 0.5
    assert 0.25 < result.latency_seconds['p95'] < result.latency_seconds['p99'] < 0.5
    assert result.peak_memory_bytes > result.state_bytes > 7 * 576 * 4
    assert result.to_json()['device'] == 'cpu'


def test_storage_behind_a_view_counts():
    whole = torch.zeros(10_000)
    sizes = [held_bytes(StreamState(1, part)) for part in (whole, whole[:1], whole[:1].clone())]
    assert sizes[1] > 40_000 and abs(sizes[0] - sizes[1]) < 200 and sizes[2] < 5_000


@pytest.mark.parametrize('options', [dict(num_steps=0), dict(warm_up=-1), dict(frame_size=(0, 9))])
def test_nothing_to_measure(inferencer, options):
    with pytest.raises(BenchmarkError, match='--steps and --size must be at least 1, --warm-up'):
        measure_stream(inferencer, **options)


def test_program_writes_its_figures(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(online.torch, 'set_num_threads', lambda number: None)
    path = tmp_path / 'figures.json'
    online.main([str(CONFIG), '--steps', '5', '--warm-up', '1', '--size', '30', '40',
                 '--device', 'cpu', '--json', str(path)])
    content = json.loads(path.read_text())
    assert content['config'] == CONFIG.stem and content['num_steps'] == 5
    assert content['frame_size'] == [30, 40] and content['frames_per_second'] > 0
    assert set(content['latency_seconds']) == {'median', 'p95', 'p99', 'max'}
    printed = capsys.readouterr().out
    for words in ('frames per second', 'times real time', 'latency, p99', 'peak memory'):
        assert words in printed
    with pytest.raises(BenchmarkError, match='--threads must be at least 1, got 0'):
        online.main([str(CONFIG), '--threads', '0'])
