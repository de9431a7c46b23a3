"""``tools/compare_strategies.py``, with stand-ins for its trainings."""
import csv
import json

import pytest
import torch
from strategy_cases import R3D, make_videos, small_options

from sbp_tad.comparison import measurement, training
from sbp_tad.comparison.errors import RunFailedError
from sbp_tad.comparison.runs import RESULT, hold, write_json

FILES = [f'comparison.{kind}' for kind in ('csv', 'json', 'md', 'png')]


@pytest.fixture(scope='module')
def options(made_once):
    """The small config on the command line."""
    values = small_options(made_once('strategy_videos', make_videos))
    return ['--cfg-options', *(f'{name}={str(value).replace(" ", "")}'
                               for name, value in values.items())]


@pytest.fixture
def tool(call_tool, options, tmp_path, monkeypatch):
    """Call the tool in this process, trainings too; (status, stdout, stderr)."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(measurement, 'peak_in_fresh_process', lambda own, shared: 2**20)
    monkeypatch.setattr(training, 'train_in_process', train_here)

    def call(*arguments):
        return call_tool('compare_strategies', R3D, '--work-dir', tmp_path / 'work', *arguments,
                         *options)
    yield call
    torch.set_num_threads(threads)


def train_here(run):
    """A result as a training would write it; strategy ``bad`` fails."""
    if run.name == 'bad':
        raise RunFailedError(f'{run.title} failed (exit status 1): no memory')
    lr = run.cfg.optim_wrapper.optimizer.lr
    curve = [dict(samples=4, mAP=0.1), dict(samples=8, mAP=0.5 + run.seed / 10)]
    write_json(run.folder / RESULT, dict(
        strategy=run.name, seed=run.seed, digest=run.digest, mode=run.cfg.model.backbone.mode,
        keep_ratio=1.0, mAP=curve[-1]['mAP'], curve=curve, lr=lr, saved_backbone_bytes=1,
        saved_model_bytes=2, peak_memory_bytes=3, seconds_per_update=0.1,
        cpu_seconds_per_update=0.1, epochs=run.cfg.train_cfg.max_epochs,
        val_interval=run.cfg.train_cfg.val_interval))


def comparison(tmp_path):
    return json.loads((tmp_path / 'work/comparison.json').read_text())


def test_trains_measures_and_reports_and_repeats_nothing(tool, tmp_path):
    command = ('--strategies', 'full', 'slow=direct:0.5', '--seeds', '2', '--epochs', '3',
               '--val-interval', '3', '--repeats', '1', '--target-map', '0.55',
               '--strategy-options', 'slow', 'optim_wrapper.optimizer.lr=1e-5')
    status, printed, errors = tool(*command)
    assert status == 0 and errors.startswith('Loading PyTorch to compare strategies with ')
    assert len(errors.splitlines()) == 1
    for text in ('[1/4] full, seed 0: training', '[4/4] slow, seed 1: mAP 60.00 %', 'Measuring',
                 '55.00 ± 7.07', 'samples to 55 %', 'comparison.png'):
        assert text in printed
    assert sorted(path.name for path in (tmp_path / 'work').glob('comparison.*')) == FILES
    content = comparison(tmp_path)
    full, slow = content['strategies']
    assert (slow['mAPs'], slow['samples_to_target'], slow['seeds_at_target']) == ([0.5, 0.6], 8, 1)
    assert slow['saved_backbone_ratio'] == pytest.approx(0.5, rel=0.01)
    assert full['step_peak_bytes'] == 2**20 and full['step_time_ratio'] == 1
    assert [(row['lr'], row['epochs'], row['val_interval']) for row in content['runs']] == [
        (3e-3, 3, 3), (1e-5, 3, 3)] * 2
    assert content['config'] == R3D and len(content['measurement']) == 2
    status, printed, _ = tool(*command)
    assert status == 0 and 'training\n' not in printed
    assert printed.count('(was finished)') == 4


def test_a_report_alone_takes_what_there_is(tool, tmp_path):
    status, _, errors = tool('--report-only')
    assert status == 2 and 'no run is finished and no step is measured of any strategy' in errors
    assert tool('--strategies', 'frozen', 'full', '--seeds', '1', '--repeats', '1')[0] == 0
    (tmp_path / 'work/comparison.csv').unlink()
    status, printed, _ = tool('--report-only')
    assert status == 0 and 'training\n' not in printed
    with open(tmp_path / 'work/comparison.csv', encoding='utf-8') as file:
        assert [row['strategy'] for row in csv.DictReader(file)] == ['full', 'frozen']
    assert tool('--report-only', '--strategies', 'frozen')[0] == 0
    assert [row['strategy'] for row in comparison(tmp_path)['strategies']] == ['frozen']
    came_from = json.loads((tmp_path / 'work/provenance.json').read_text())['compare_strategies']
    assert list(came_from['runs']) == ['frozen, seed 0'] and came_from['config'] == R3D


def test_measuring_alone_trains_nothing(tool, tmp_path):
    status, printed, _ = tool('--strategies', 'direct', '--measure-only', '--repeats', '1')
    assert status == 0 and 'seed' not in printed.replace('seeds', '')
    row, = comparison(tmp_path)['strategies']
    assert row['mAP'] is None and 0 < row['step_time_ratio']
    assert not (tmp_path / 'work/comparison.png').exists()


def test_a_run_that_fails_is_told_and_the_others_go_on(tool, tmp_path):
    status, printed, _ = tool('--strategies', 'bad=full', 'full', '--seeds', '1', '--repeats', '1')
    assert status == 1 and 'Error: bad, seed 0 failed (exit status 1): no memory' in printed
    assert [row['strategy'] for row in comparison(tmp_path)['runs']] == ['full']
    status, printed, _ = tool('--strategies', 'bad=full', '--seeds', '1')
    assert status == 1


def test_what_another_process_holds_is_left_to_it(tool, tmp_path):
    with hold(tmp_path / 'work/full/seed_0', 'elsewhere'):
        status, printed, _ = tool('--strategies', 'full', 'frozen', '--seeds', '1')
    assert status == 0 and 'Skipped: full, seed 0: process' in printed
    assert 'Other processes are working on 1 runs; the last of them measures' in printed
    assert not (tmp_path / 'work/measurement.json').exists()
    assert [row['strategy'] for row in comparison(tmp_path)['strategies']] == ['frozen']


@pytest.mark.parametrize('arguments, message', [
    (('--strategies', 'sbp'), "unknown strategy 'sbp'; choose from full, frozen, "),
    (('--strategies', 'full', 'token'), 'strategy token:0.25 does not work with this config'),
    (('--strategies', 'full', '--seeds', '0'), '--seeds must be at least 1, got 0'),
    (('--strategies', 'full', '--strategy-options', 'direct', 'a=1'),
     '--strategy-options are for direct:0.25, but --strategies has full'),
    ((), '--strategies is required unless --report-only is given')])
def test_what_cannot_be_compared_is_a_sentence(tool, tmp_path, arguments, message):
    status, _, errors = tool(*arguments)
    assert status == 2 and message in ' '.join(errors.split())
    assert not (tmp_path / 'work').exists()
