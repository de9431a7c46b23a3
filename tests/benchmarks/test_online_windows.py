"""Time per frame of each way to cut a stream into windows."""
from __future__ import annotations

import pytest
import torch
from online_cases import CHANNELS, build_head

from benchmarks import online_windows
from benchmarks.errors import BenchmarkError


def test_every_way_scores_what_it_says():
    head = build_head('lstr', windows='sliding', history_from='oldest').float()
    features = torch.randn(head.limit + head.windows_at_once, CHANNELS)
    found = online_windows.ways(head, features)
    scores, state = found['sliding, of a stream'][0]()
    assert scores.shape == (4, ) and state.num_seen == len(features) + 1
    assert found['tiles'][0]().shape[1] == found['tiles'][1] == head.num_frames
    assert found['sliding, of a video'][1] == head.windows_at_once


def test_times_are_counted_per_frame(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(online_windows.time, 'process_time', lambda: now[0])

    def run():
        now[0] += 8.0

    monkeypatch.setattr(online_windows, 'ways', lambda *_: {'a': (run, 4), 'b': (run, 1)})
    head = build_head('lstr', windows='sliding')
    assert online_windows.measure(head, 2) == {'a': 2.0, 'b': 8.0}
    with pytest.raises(BenchmarkError, match='--repetitions must be at least 1, got 0'):
        online_windows.measure(head, 0)
