"""The tools that stream: lines as they come, figures as JSON, a sentence for a user's error."""
from __future__ import annotations

import json

import pytest
import torch

from sbp_tad.apis import launch
from sbp_tad.apis.named_files import find_config
from sbp_tad.registry import MODELS

CONFIG = 'online_gru_cnn4_sbp-r4_toy'


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Weights as they are drawn, with scores that differ."""
    torch.manual_seed(0)
    model = MODELS.build(launch.load_config(find_config(CONFIG)).model)
    torch.nn.init.normal_(model.head.classifier.weight, std=3)
    path = tmp_path_factory.mktemp('weights') / 'weights.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


@pytest.fixture
def run(call_tool, checkpoint):
    """Stream a source in this process: (status, stdout, stderr)."""
    def call(source, *options):
        return call_tool('infer_online', source, '--config', CONFIG, '--checkpoint', checkpoint,
                         '--device', 'cpu', *options)
    return call


def test_lines_say_when_another_action_begins(small_video, run):
    status, printed, _ = run(small_video, '--json')
    assert status == 0
    rows = [json.loads(line) for line in printed.splitlines()]
    assert [row['frame_index'] for row in rows] == list(range(24))  # 4 s at 6 fps
    assert all(sum(row['scores'].values()) == pytest.approx(1, abs=1e-5) for row in rows)
    best = [max(row['scores'], key=row['scores'].get) for row in rows]
    starts = [index for index, name in enumerate(best)
              if name != (best[index - 1] if index else 'background')]
    _, printed, said = run(small_video)
    num_actions = sum(best[index] != 'background' for index in starts)
    begun = f'{num_actions} action{"s" * (num_actions != 1)}' if num_actions else 'no action'
    assert said.splitlines()[-1] == f'24 frames, {begun} began'
    lines = printed.splitlines()
    assert len(lines) == len(starts) > 0
    for line, index in zip(lines, starts):
        seconds, _, name, score = line.split()
        assert float(seconds) == pytest.approx(index / 6, abs=0.006)
        assert name == ('-' if best[index] == 'background' else best[index])
        assert float(score) == pytest.approx(max(rows[index]['scores'].values()), abs=0.006)


def test_a_number_is_a_camera(run):
    status, _, errors = run(99)
    assert status == 2 and 'camera 99 does not exist' in errors
