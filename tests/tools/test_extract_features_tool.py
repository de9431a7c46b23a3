"""The tool as a user types it: one process and two write the same files."""
from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import run_without_agent, torchrun

from sbp_tad.apis import launch
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


@pytest.fixture
def run(call_tool, monkeypatch):
    """Call the tool in this process, from the root: (status, stdout, stderr)."""
    monkeypatch.chdir(ROOT)
    return partial(call_tool, 'extract_features')


def test_it_says_what_it_did_and_goes_on(toy, tmp_path, run):
    status, printed, _ = run(*command(toy, tmp_path))
    assert status == 0 and '3 videos written to' in printed
    source = json.loads((tmp_path / 'provenance.json').read_text())['extract_features']
    assert len(source['report']['written']) == 3 and source['checkpoint']['sha256']
    status, printed, _ = run(*command(toy, tmp_path))
    assert status == 0 and '0 videos written to' in printed and '3 present already' in printed


def test_features_are_named_as_their_videos(toy, tmp_path, run):
    """A dataset with the same ``filename_template`` but for the suffix finds them."""
    (toy / 'named').mkdir()
    for name in 'abc':
        (toy / 'named' / f'v_{name}.mp4').symlink_to(toy / 'videos' / f'{name}.mp4')
    status, _, errors = run(*command(toy, tmp_path),
                            'test_dataloader.dataset.filename_template=v_{video_id}.mp4',
                            'test_dataloader.dataset.data_prefix.video=named')
    assert status == 0, errors
    assert sorted(path.name for path in tmp_path.glob('*.npy')) == ['v_a.npy', 'v_b.npy',
                                                                    'v_c.npy']
    assert json.loads((tmp_path / 'v_a.json').read_text())['video_id'] == 'a'


def test_bad_videos_end_in_status_2(toy, tmp_path, run):
    arguments = command(toy, tmp_path)
    broken = json.loads((toy / 'annotations.json').read_text())
    broken['database']['missing'] = dict(subset='test', annotations=[])
    (toy / 'broken.json').write_text(json.dumps(broken))
    status, printed, errors = run(*arguments, 'test_dataloader.dataset.ann_file=broken.json')
    assert status == 2
    assert '3 videos written' in printed and '1 video could not be read' in errors
    assert 'missing.mp4: no such video file' in errors and 'same command again' in errors


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
