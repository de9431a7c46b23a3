"""The tools that stream: lines as they come, figures as JSON, a sentence for a user's error."""
from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from sbp_tad.apis import launch
from sbp_tad.apis.errors import InferenceError
from sbp_tad.registry import MODELS

ROOT = Path(__file__).parents[2]
CONFIG = 'online_gru_cnn4_sbp-r4_toy'


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Weights as they are drawn, with scores that differ."""
    torch.manual_seed(0)
    model = MODELS.build(launch.load_config(launch.find_config(CONFIG)).model)
    torch.nn.init.normal_(model.head.classifier.weight, std=3)
    path = tmp_path_factory.mktemp('weights') / 'weights.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


def stream(source, checkpoint, capsys, *options):
    load_tool('infer_online').main(
        [str(source), '--config', CONFIG, '--checkpoint', checkpoint, '--device', 'cpu', *options])
    return capsys.readouterr().out.splitlines()


def test_lines_say_when_another_action_begins(small_video, checkpoint, capsys):
    rows = [json.loads(line) for line in stream(small_video, checkpoint, capsys, '--json')]
    assert [row['frame_index'] for row in rows] == list(range(24))  # 4 s at 6 fps
    assert all(sum(row['scores'].values()) == pytest.approx(1, abs=1e-5) for row in rows)
    best = [max(row['scores'], key=row['scores'].get) for row in rows]
    starts = [index for index, name in enumerate(best)
              if name != (best[index - 1] if index else 'background')]
    lines = stream(small_video, checkpoint, capsys)
    assert len(lines) == len(starts) > 0
    for line, index in zip(lines, starts):
        seconds, _, name, score = line.split()
        assert float(seconds) == pytest.approx(index / 6, abs=0.006)
        assert name == ('-' if best[index] == 'background' else best[index])
        assert float(score) == pytest.approx(max(rows[index]['scores'].values()), abs=0.006)


def test_a_number_is_a_camera(checkpoint, capsys):
    with pytest.raises(InferenceError, match='there is no camera 99'):
        stream('99', checkpoint, capsys)
