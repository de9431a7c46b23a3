"""Outputs that cannot be written are refused before the work, by the name of the option."""
from __future__ import annotations

import pytest
from mmengine.config import Config

from sbp_tad.apis import launch
from sbp_tad.apis.dumps import set_dump, set_raw_dump
from sbp_tad.apis.named_files import check_output
from sbp_tad.errors import ConfigError

RECIPE = 'actionformer_r3d10_sbp-r4_toy'
# Tool and arguments, where IN is an existing file and OUT the output; kind of the output.
COMMANDS = [
    ('infer', ['IN', '--config', RECIPE, '--checkpoint', 'IN', '--out', 'OUT'], '--out'),
    ('infer', ['IN', '--config', RECIPE, '--checkpoint', 'IN', '--vis', 'OUT'], '--vis'),
    ('extract_features', [RECIPE, 'IN', '--out', 'OUT'], '--out'),
    ('browse_dataset', [RECIPE, '--out', 'OUT'], '--out'),
    ('report', ['--predictions', 'IN', '--out', 'OUT'], '--out'),
    ('convert_checkpoint', ['auto', 'IN', 'OUT'], 'OUT'),
    ('convert_checkpoint', ['auto', 'IN', 'OUT', '--back', 'IN'], 'OUT'),
    ('convert_annotations', ['via', 'IN', 'OUT'], 'OUT.json'),
    ('demo', ['--work-dir', 'OUT'], '--work-dir'), ('demo', ['--data', 'OUT'], '--data'),
    ('plot_log', ['IN', '--out', 'OUT'], '--out'),
    ('check_dataset', ['IN', '--json', 'OUT'], '--json'),
    ('plan_memory', [RECIPE, '--budget', '8GiB', '--json', 'OUT'], '--json'),
    ('prepare_thumos14', ['--json', 'OUT'], '--json'),
    ('prepare_thumos14', ['--extract-frames', 'OUT'], '--extract-frames'),
    ('compare_strategies', [RECIPE, '--strategies', 'full', '--work-dir', 'OUT'], '--work-dir'),
    ('make_toy_dataset', ['--out', 'OUT'], '--out'),
    ('evaluate', ['--ground-truth', 'IN', '--predictions', 'IN', '--json', 'OUT'], '--json'),
    ('analyze_errors', ['--ground-truth', 'IN', '--predictions', 'IN', '--subset', 'test',
                        '--out', 'OUT'], '--out'),
    ('tune_nms', ['IN', '--ground-truth', 'IN', '--json', 'OUT'], '--json')]


@pytest.mark.parametrize('tool, arguments, option', COMMANDS)
def test_a_tool_refuses_an_output_below_a_file(tool, arguments, option, call_tool, tmp_path):
    (tmp_path / 'file').touch()
    given = dict(IN=tmp_path / 'file', OUT=tmp_path / 'file' / 'x.json')
    status, _, errors = call_tool(tool, *(given.get(each, each) for each in arguments))
    assert status == 2
    assert errors == (f'Error: {option} {given["OUT"]} cannot be written: {tmp_path / "file"} is '
                      'a file. Give a path in a folder.\n')


def test_outputs_of_the_wrong_kind(tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigError, match='--out .*file is a file. Give a folder.'):
        check_output('--out', tmp_path / 'file', is_folder=True)
    with pytest.raises(ConfigError, match='OUT .* is a folder. Give a file, for example .*result'):
        check_output('OUT', tmp_path)
    absent = tmp_path / 'absent' / 'x.json'
    with pytest.raises(ConfigError, match='the folder .*absent does not exist. Make it, or'):
        check_output('--json', absent, makes_folder=False)
    for good in (absent, tmp_path / 'file', None):
        check_output('--json', good)
    check_output('--out', tmp_path, is_folder=True)
    check_output('--out', absent, is_folder=True)
    monkeypatch.setattr('os.access', lambda path, mode: path != tmp_path)
    with pytest.raises(ConfigError, match='--out .* no permission to write to .* Give a path'):
        check_output('--out', absent, is_folder=True)
    assert not absent.parent.exists()


def test_outputs_of_training_and_testing(tmp_path):
    (tmp_path / 'file').touch()
    cfg = Config(dict(test_evaluator=dict(type='TADMetric')))
    for call, option in (
            (lambda: launch.set_work_dir(cfg, 'c.py', str(tmp_path / 'file')), '--work-dir'),
            (lambda: launch.set_work_dir(cfg, 'c.py', str(tmp_path / 'file/x')), '--work-dir'),
            (lambda: set_dump(cfg, str(tmp_path / 'file/x.json')), '--dump'),
            (lambda: set_dump(cfg, str(tmp_path / 'file/x.pkl')), '--dump'),
            (lambda: set_raw_dump(cfg, str(tmp_path / 'file/x.npz')), '--raw-dump')):
        with pytest.raises(ConfigError, match=f'^{option} .*file is a file. Give '):
            call()
    cfg.work_dir = str(tmp_path / 'file')
    with pytest.raises(ConfigError, match='^work_dir .* is a file. Give a folder'):
        launch.set_work_dir(cfg, 'c.py', None)
