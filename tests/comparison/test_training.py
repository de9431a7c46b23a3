"""A run of a comparison, trained in this process: its figures, and an interruption."""
import json
import multiprocessing

import pytest
import torch
from processes import start_method
from strategy_cases import R3D, make_videos, small_config

from sbp_tad.apis.launch import load_config
from sbp_tad.comparison import training
from sbp_tad.comparison.errors import ComparisonError, RunFailedError, RunHeldError
from sbp_tad.comparison.runs import RESULT, hold, plan_runs, prepare_folder, write_json
from sbp_tad.comparison.specs import parse_strategies
from sbp_tad.comparison.training import (
    OUTPUT,
    check_runs,
    finish_run,
    train,
    train_in_process,
    validation_curve,
)
from sbp_tad.engine.cpu_time import CPUTimeHook


@pytest.fixture(scope='module')
def videos(made_once):
    return made_once('strategy_videos', make_videos)


@pytest.fixture
def plan(videos, tmp_path):
    """Runs of words on the small videos, each work dir another."""
    threads = torch.get_num_threads()

    def runs(*words, folder='work', **options):
        cfg = small_config(videos)
        cfg.merge_from_dict(options)
        cfg.experiment_name = f'{tmp_path.name}_{folder}'  # mmengine wants it unique in a process
        return plan_runs(cfg, parse_strategies(words), 1, tmp_path / folder)
    yield runs
    torch.set_num_threads(threads)


def begin(run):
    prepare_folder(run)
    return train(run)


def test_a_result_tells_costs_and_the_curve(plan):
    run, = plan('direct:0.5')
    result = begin(run)
    assert (result['strategy'], result['seed'], result['digest']) == ('direct:0.5', 0, run.digest)
    assert (result['mode'], result['keep_ratio']) == ('direct', 0.5)
    assert [point['samples'] for point in result['curve']] == [4, 8]
    assert result['mAP'] == result['curve'][-1]['scores']['tad/average_mAP']
    assert result['best_mAP'] == max(point['mAP'] for point in result['curve'])
    assert (result['batches'], result['updates'], result['samples']) == (4, 4, 8)
    assert 0 < result['saved_backbone_bytes'] < result['saved_model_bytes']
    assert result['peak_memory_bytes'] > 50e6 and result['torch_threads'] == 1
    assert 0 < result['cpu_seconds_per_update'] and 0 < result['seconds_per_update']
    assert [path.name for path in run.folder.glob('*.pth')] == ['epoch_2.pth']  # the last alone


# mmengine's schedulers step with every part, before the first update.
@pytest.mark.nightly
@pytest.mark.filterwarnings('ignore:Detected call of `scheduler.step:UserWarning')
def test_accumulation_takes_as_many_updates_and_half_the_memory(plan):
    full, accumulated = (
        begin(plan(word, folder=word[:4], **{'train_cfg.max_epochs': 1})[0])
        for word in ('full', 'accumulation:2'))
    assert accumulated['updates'] == full['updates'] == 2
    assert accumulated['samples'] == full['samples'] and accumulated['batches'] == 4
    assert accumulated['saved_backbone_bytes'] == pytest.approx(
        full['saved_backbone_bytes'] / 2, rel=0.01)


@pytest.mark.nightly
def test_an_interrupted_run_goes_on_and_ends_as_one_that_was_not(plan, monkeypatch):
    class Interrupted(Exception):
        pass

    def interrupt(hook, runner, *arguments, **options):
        if runner.iter == 3:
            raise Interrupted

    whole, = plan('direct:0.5', folder='whole')
    half, = plan('direct:0.5', folder='half', experiment_name='half')
    expected = begin(whole)
    with monkeypatch.context() as patch:
        patch.setattr(CPUTimeHook, 'before_train_iter', interrupt)
        with pytest.raises(Interrupted):
            begin(half)
    half.cfg.experiment_name = 'resumed'
    prepare_folder(half)
    result = train(half)
    assert (half.folder / 'epoch_2.pth').is_file()
    for name in ('mAP', 'curve', 'batches', 'samples'):
        assert result[name] == expected[name]
    weights = [torch.load(run.folder / 'epoch_2.pth', weights_only=False)['state_dict']
               for run in (whole, half)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def write_log(work_dir, number, *rows):
    folder = work_dir / f'2026_{number}' / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)))


def test_a_resumed_curve_is_that_of_both_parts(tmp_path):
    step, validation = {'loss': 1.0, 'iter': 2}, {'tad/average_mAP': 0.1, 'step': 1}
    write_log(tmp_path, 0, step, validation, {'loss': 1.0, 'iter': 3})
    write_log(tmp_path, 1, validation, {'loss': 1.0, 'iter': 3}, {'online/mAP': 0.3, 'step': 2},
              {'tad/average_mAP': 0.2, 'step': 2})
    curve = validation_curve(tmp_path, batch_size=8)
    assert [(point['samples'], point['mAP']) for point in curve] == [(16, 0.1), (24, 0.2)]


def test_without_validation_there_is_no_curve(tmp_path):
    write_log(tmp_path, 0, {'loss': 1.0, 'iter': 2})
    with pytest.raises(ComparisonError, match='logged none of tad/average_mAP, online/mAP; a '
                       'comparison needs a config with val_dataloader'):
        validation_curve(tmp_path, batch_size=8)


def test_a_strategy_that_the_backbone_cannot_do_is_refused_before_anything_trains(plan):
    check_runs(plan('full', 'deferred'))
    with pytest.raises(ComparisonError, match='strategy token:0.25 does not work with this '
                       'config: .*no block of a known type'):
        check_runs(plan('full', 'token'))
    cfg = load_config(R3D, {'model.backbone.backbone': dict(_delete_=True, type='FrameCNN')})
    with pytest.raises(ComparisonError, match='strategy frozen-stages:1 .* wrong options'):
        check_runs(plan_runs(cfg, parse_strategies(['frozen-stages']), 1, 'work'))
    with pytest.raises(ComparisonError, match='the config loads absent.pth, which does not exist'):
        check_runs(plan('full', load_from='absent.pth'))


def test_a_finished_run_is_not_repeated_and_a_held_one_left_alone(plan, monkeypatch):
    run, = plan('full')
    calls = []

    def train_here(run):
        calls.append(run.title)
        write_json(run.folder / RESULT, dict(digest=run.digest, mAP=0.5))

    monkeypatch.setattr(training, 'train_in_process', train_here)
    assert [finish_run(run)['mAP'] for _ in range(2)] == [0.5, 0.5]
    assert calls == ['full, seed 0']
    with hold(run.folder, 'elsewhere'), pytest.raises(RunHeldError, match='full, seed 0: process'):
        finish_run(run)


@pytest.mark.parametrize('method', ['forkserver', pytest.param('spawn', marks=pytest.mark.nightly)])
def test_a_process_of_its_own_trains_or_fails_with_its_last_words(plan, method, monkeypatch):
    context = multiprocessing.get_context(start_method() if method == 'forkserver' else method)
    monkeypatch.setattr(training.multiprocessing, 'get_context', lambda _: context)
    good, = plan('full', folder='good', **{'train_cfg.max_epochs': 1})
    result = finish_run(good)
    assert result['samples'] == 4 and 'Epoch(train)' in (good.folder / OUTPUT).read_text()
    bad, = plan('full', folder='bad', **{'train_dataloader.dataset.data_root': 'nowhere'})
    prepare_folder(bad)
    with pytest.raises(RunFailedError, match=rf'full, seed 0 failed \(exit status [12]\): '
                                             rf'.*nowhere.* \[.*{OUTPUT}\]'):
        train_in_process(bad)
    assert not (bad.folder / RESULT).exists()
