"""The tool as a user types it: one process and two write the same files."""
from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import run_without_agent, torchrun

from sbp_tad.apis import launch
from sbp_tad.apis.command_line import run_main
from sbp_tad.registry import MODELS

ROOT = Path(__file__).parents[2]
CONFIG = 'configs/toy/actionformer_r3d10_sbp-r4_toy.py'


@pytest.fixture(scope='module')
def toy(tmp_path_factory, write_video):
    """Three gray test videos, and a checkpoint."""
    folder = tmp_path_factory.mktemp('toy')
    (folder / 'videos').mkdir()
    for name in 'abc':
        write_video(folder / 'videos' / f'{name}.mp4', 50)
    (folder / 'annotations.json').write_text(json.dumps(dict(database={
        name: dict(subset='test', annotations=[]) for name in 'abc'})))
    torch.manual_seed(0)
    model = MODELS.build(launch.load_config(str(ROOT / CONFIG)).model)
    torch.save(dict(state_dict=model.state_dict()), folder / 'trained.pth')
    return folder


def command(toy, out):
    return [CONFIG, toy / 'trained.pth', '--out', out, '--cfg-options',
            f'test_dataloader.dataset.data_root={toy}', 'test_dataloader.dataset.num_frames=24',
            'test_dataloader.num_workers=0']


def run_tool(*arguments) -> int:
    """Run the tool's main in this process; the status it would leave with."""
    spec = importlib.util.spec_from_file_location('extract', ROOT / 'tools/extract_features.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    with pytest.raises(SystemExit) as left:
        run_main(tool.main, [str(argument) for argument in arguments])
    return left.value.code


def test_it_says_what_it_did_and_goes_on(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert run_tool(*command(toy, tmp_path)) == 0
    assert '3 videos written to' in capsys.readouterr().out
    source = json.loads((tmp_path / 'provenance.json').read_text())['extract_features']
    assert len(source['report']['written']) == 3 and source['checkpoint']['sha256']
    assert run_tool(*command(toy, tmp_path)) == 0
    assert '0 videos written to' in (said := capsys.readouterr().out) and '3 were there' in said


def test_bad_videos_end_in_status_2(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    arguments = command(toy, tmp_path)
    broken = json.loads((toy / 'annotations.json').read_text())
    broken['database']['missing'] = dict(subset='test', annotations=[])
    (toy / 'broken.json').write_text(json.dumps(broken))
    assert run_tool(*arguments, 'test_dataloader.dataset.ann_file=broken.json') == 2
    told = capsys.readouterr()
    assert '3 videos written' in told.out and '1 videos could not be read' in told.err
    assert 'missing.mp4: no such video file' in told.err and 'same command again' in told.err


@pytest.mark.slow
def test_two_processes_write_each_video_once(toy, tmp_path):
    starts = {'one': run_without_agent, 'two': torchrun}
    for name, start in starts.items():
        done = start('tools/extract_features.py', *command(toy, tmp_path / name))
        assert not done.statuses, done.output[-3000:]
        assert done.output.count('3 videos written to') == 1
    one, two = ({path.name: path for path in (tmp_path / name).iterdir()} for name in starts)
    assert one.keys() == two.keys() and len(one) == 7
    for name in one.keys() - {'provenance.json'}:  # when and how the run was started
        if name.endswith('.json'):
            assert one[name].read_text() == two[name].read_text()
        else:
            np.testing.assert_allclose(np.load(one[name]), np.load(two[name]), rtol=1e-4,
                                       atol=1e-5)
