"""The tool as a user types it: a table, a folder of results, and each file once."""
from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from families import rest_nightly
from processes import torchrun

from sbp_tad.apis import launch
from sbp_tad.apis.named_files import find_config
from sbp_tad.evaluation.detections import read_detections
from sbp_tad.registry import MODELS

ROOT = Path(__file__).parents[2]
RECIPE = 'actionformer_r3d10_sbp-r4_toy'
RECIPE_FILE = ROOT / f'configs/toy/{RECIPE}.py'


@pytest.fixture(scope='module')
def toy(tmp_path_factory, write_video):
    """Three gray videos, and a checkpoint."""
    folder = tmp_path_factory.mktemp('toy')
    (folder / 'videos').mkdir()
    for name in 'abc':
        write_video(folder / 'videos' / f'{name}.mp4', 50)
    torch.manual_seed(0)
    model = MODELS.build(launch.load_config(find_config(RECIPE)).model)
    torch.save(dict(state_dict=model.state_dict()), folder / 'trained.pth')
    return folder


def command(toy, *inputs_and_options):
    return [*inputs_and_options, '--config', RECIPE, '--checkpoint', toy / 'trained.pth',
            '--workers', 0, '--cfg-options', 'test_dataloader.dataset.num_frames=24']


@pytest.fixture
def run(call_tool):
    """Call the tool in this process: (status, stdout, stderr)."""
    return partial(call_tool, 'infer')


def test_it_shows_the_actions_of_a_video(toy, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    status, printed, errors = run(*command(toy, toy / 'videos' / 'a.mp4', '--vis', 'vis'))
    assert status == 0
    rows = [line.split('│')[1:-1] for line in printed.splitlines() if line.startswith('│')]
    assert len(rows) == 11 and rows[0][0].strip() == 'a' and 'with lower scores' in rows[-1][3]
    starts = [float(row[1]) for row in rows[:-1]]
    assert starts == sorted(starts) and starts[-1] < 5
    assert '1/1 videos' in errors
    assert [path.as_posix() for path in Path().rglob('*.*')] == ['vis/a.png']
    status, printed, _ = run(*command(toy, toy / 'videos' / 'a.mp4', '--score-threshold', 0.9))
    assert status == 0 and 'none' in printed


def test_it_writes_a_folder_and_goes_on(toy, tmp_path, run):
    out = tmp_path / 'out'
    arguments = command(toy, toy / 'videos', '--out', out, '--format', 'csv', 'activitynet')
    status, printed, _ = run(*arguments)
    assert status == 0 and 'detections in 3 videos written to' in printed
    found = read_detections(out / 'detections.json')
    assert found.video_ids == ('a', 'b', 'c') and len(found) > 0
    assert len((out / 'detections.csv').read_text().splitlines()) == len(found) + 1
    before = {path: path.stat().st_mtime_ns for path in (out / 'videos').iterdir()}
    assert run(*arguments)[0] == 0
    assert before == {path: path.stat().st_mtime_ns for path in (out / 'videos').iterdir()}
    assert len(before) == 3
    source = json.loads((out / 'provenance.json').read_text())['infer']
    assert source['videos']['files'] == 3 and source['checkpoint']['sha256']
    assert 'SBPBackbone' in source['config']['text'] and source['environment']['packages']


def test_suppression_is_an_option_of_the_model(toy, tmp_path, run):
    """The older option of the evaluator gives the same detections."""
    def found(name, *options):
        assert run(*command(toy, toy / 'videos' / 'a.mp4', '--out', tmp_path / name),
                   *options)[0] == 0
        return (tmp_path / name / 'detections.json').read_bytes()

    new = found('new', 'model.test_cfg.sigma=0.05')
    assert new == found('old', 'test_evaluator.post_processing.sigma=0.05') != found('default')


@pytest.mark.parametrize('option', rest_nightly(
    ['model.test_cfg.sigma=0.05', 'test_evaluator.post_processing.sigma=0.05'],
    ['model.test_cfg.sigma=0.05']))
def test_the_same_option_changes_a_test_alike(option, toy, tmp_path, call_tool):
    actions = dict(subset='test', annotations=[dict(segment=[1, 3], label='approach')])
    (toy / 'annotations.json').write_text(json.dumps(dict(database=dict.fromkeys('abc', actions))))
    assert call_tool('infer', *command(toy, toy / 'videos', '--out', tmp_path / 'found',
                                       '--batch-size', 2), option)[0] == 0
    assert call_tool(
        'test', RECIPE_FILE, toy / 'trained.pth', '--work-dir', tmp_path / 'work', '--dump',
        tmp_path / 'tested.json', '--cfg-options', option,
        f'test_dataloader.dataset.data_root={toy}',
        'test_dataloader.dataset.num_frames=24', 'test_dataloader.num_workers=0',
        'test_dataloader.batch_size=2')[0] == 0
    found = (tmp_path / 'found' / 'detections.json').read_bytes()
    assert found == (tmp_path / 'tested.json').read_bytes()


def test_names_follow_the_template_of_the_dataset(toy, tmp_path, call_tool):
    """Videos named as ActivityNet's: results carry the ids of the annotation, as in a test."""
    (tmp_path / 'videos').mkdir()
    for name in 'ab':
        (tmp_path / 'videos' / f'v_{name}.mp4').symlink_to(toy / 'videos' / f'{name}.mp4')
    actions = dict(subset='test', annotations=[dict(segment=[1, 3], label='approach')])
    truth = tmp_path / 'annotations.json'
    truth.write_text(json.dumps(dict(database=dict.fromkeys('ab', actions))))
    named = 'test_dataloader.dataset.filename_template=v_{video_id}.mp4'
    assert call_tool('infer', *command(toy, tmp_path / 'videos', '--out', tmp_path / 'found',
                                       '--batch-size', 2), named)[0] == 0
    assert call_tool(
        'test', RECIPE_FILE, toy / 'trained.pth', '--work-dir', tmp_path / 'work', '--dump',
        tmp_path / 'tested.json', '--cfg-options', named,
        f'test_dataloader.dataset.data_root={tmp_path}', 'test_dataloader.num_workers=0',
        'test_dataloader.dataset.num_frames=24', 'test_dataloader.batch_size=2')[0] == 0
    found = tmp_path / 'found' / 'detections.json'
    assert found.read_bytes() == (tmp_path / 'tested.json').read_bytes()
    assert read_detections(found).video_ids == ('a', 'b')
    status, _, errors = call_tool('report', '--predictions', found, '--ground-truth', truth,
                                  '--videos', tmp_path / 'videos', '--out', tmp_path / 'report')
    assert status == 0, errors
    assert 'v_a.mp4' in (tmp_path / 'report/assets/data.js').read_text()


def test_bad_videos_end_in_status_2_after_the_others(toy, tmp_path, run):
    (tmp_path / 'bad.mp4').write_bytes(b'no video')
    status, _, errors = run(*command(toy, tmp_path / 'bad.mp4', toy / 'videos' / 'c.mp4', '--out',
                                     tmp_path / 'out', '--format', 'json'))
    assert status == 2
    assert '1 of 2 videos could not be read' in errors and 'bad.mp4: not a readable' in errors
    bad, good = json.loads((tmp_path / 'out' / 'videos.json').read_text())
    assert 'not a readable' in bad['error'] and len(good['detections']) > 0
    status, printed, _ = run(*command(toy, tmp_path / 'bad.mp4'))
    assert status == 2 and 'unreadable' in printed


def test_wrong_arguments_are_a_sentence(toy, tmp_path, run):
    status, _, errors = run(tmp_path, '--config', 'no_recipe', '--checkpoint',
                            toy / 'trained.pth')
    assert status == 2 and "no config is named 'no_recipe'" in errors
    status, _, errors = run(*command(toy, tmp_path))
    assert status == 2 and 'no video in this folder' in errors


@pytest.mark.slow
def test_two_processes_do_each_video_once(toy, tmp_path, run):
    done = torchrun('tools/infer.py', *command(toy, toy / 'videos', '--out', tmp_path / 'two'))
    assert not done.statuses, done.output[-3000:]
    assert done.output.count('detections in 3 videos written to') == 1
    assert run(*command(toy, toy / 'videos', '--out', tmp_path / 'one'))[0] == 0
    two, one = (read_detections(tmp_path / name / 'detections.json') for name in ('two', 'one'))
    assert two.video_ids == one.video_ids and len(two) == len(one)
    torch.testing.assert_close(torch.tensor(two.scores), torch.tensor(one.scores), rtol=1e-4,
                               atol=1e-5)
    assert len(list((tmp_path / 'two' / 'videos').iterdir())) == 3
