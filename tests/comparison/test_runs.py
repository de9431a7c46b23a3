"""Runs of a comparison: their order, their results and their locks."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
from strategy_cases import R3D

from sbp_tad.apis.launch import load_config
from sbp_tad.comparison.errors import ComparisonError, RunHeldError
from sbp_tad.comparison.runs import (
    DESCRIPTION,
    RESULT,
    config_digest,
    hold,
    plan_runs,
    prepare_folder,
    read_json,
    weight_files,
    write_json,
)
from sbp_tad.comparison.specs import parse_strategies


def plan(work_dir, *words, seeds=1, **options):
    return plan_runs(load_config(R3D, options), parse_strategies(words or ['full']), seeds,
                     work_dir)


def test_runs_go_seed_by_seed_each_in_its_folder(tmp_path):
    runs = plan(tmp_path, 'full', 'direct', seeds=2)
    assert [run.title for run in runs] == ['full, seed 0', 'direct:0.25, seed 0', 'full, seed 1',
                                           'direct:0.25, seed 1']
    assert runs[3].folder == tmp_path / 'direct_0.25' / 'seed_1'
    assert [run.cfg.randomness.seed for run in runs] == [0, 0, 1, 1]
    assert len({run.digest for run in runs}) == 4
    with pytest.raises(ComparisonError, match='--seeds must be at least 1, got 0'):
        plan(tmp_path, seeds=0)


def test_a_digest_is_of_what_has_an_effect(tmp_path):
    digest = config_digest(load_config(R3D))
    for name, value in (('work_dir', '/elsewhere'), ('log_level', 'ERROR')):
        assert config_digest(load_config(R3D, {name: value})) == digest
    for name, value in (('optim_wrapper.optimizer.lr', 1e-4), ('randomness.seed', 1)):
        assert config_digest(load_config(R3D, {name: value})) != digest
    weights = tmp_path / 'weights.pth'
    digests = []
    for content in (b'a', b'b', b'a'):
        weights.write_bytes(content)
        digests.append(config_digest(load_config(R3D, {'load_from': str(weights)})))
    assert digests[0] == digests[2] != digests[1]


def test_weights_are_found_wherever_a_config_names_them():
    assert weight_files(dict(a=[dict(b='x.pth'), ('y.pt', 'z.py')], c='https://z/w.pth',
                             d='x.pth', e=1)) == ['x.pth', 'y.pt']


def test_a_run_is_finished_by_a_result_of_its_own_config(tmp_path):
    run, = plan(tmp_path)
    assert run.result() is None
    prepare_folder(run)
    result = dict(digest=run.digest, mAP=0.5)
    write_json(run.folder / RESULT, result)
    assert plan(tmp_path)[0].result() == result
    assert plan(tmp_path, **{'train_cfg.max_epochs': 3})[0].result() is None
    (run.folder / RESULT).write_text('{"digest"')
    with pytest.raises(ComparisonError, match='result.json cannot be read: .* Remove it to repeat'):
        run.result()


def test_what_an_interrupted_run_left_stays_and_that_of_another_config_is_put_aside(tmp_path):
    for number in range(3):
        run, = plan(tmp_path, **{'train_cfg.max_epochs': number + 1})
        prepare_folder(run)
        assert not (run.folder / 'epoch_1.pth').exists()
        (run.folder / 'epoch_1.pth').write_bytes(bytes([number]))
        prepare_folder(run)
        assert (run.folder / 'epoch_1.pth').read_bytes() == bytes([number])
        assert read_json(run.folder / DESCRIPTION)['digest'] == run.digest
    kept = {path.parent.name: path.read_bytes() for path in tmp_path.glob('full/*/epoch_1.pth')}
    assert kept == {'seed_0.old1': b'\x00', 'seed_0.old2': b'\x01', 'seed_0': b'\x02'}


HOLD_FOR_EVER = """
import fcntl, os, sys, time
file = open(sys.argv[1], 'w')
fcntl.flock(file, fcntl.LOCK_EX)
print(os.getpid(), file=file, flush=True)
print('held', flush=True)
time.sleep(60)
"""


def test_one_process_holds_a_run_until_its_end_however_it_ends(tmp_path):
    path = tmp_path / 'full' / 'seed_0'
    lock = Path(f'{path}.lock')
    lock.parent.mkdir()
    with subprocess.Popen([sys.executable, '-c', HOLD_FOR_EVER, str(lock)],
                          stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b'held\n'
        with pytest.raises(RunHeldError, match=f'a run: process {other.pid} is working on it'), \
                hold(path, 'a run'):
            pass
        other.kill()
    assert lock.read_text() == f'{other.pid}\n'  # of a dead process, from which it is taken over
    with hold(path, 'a run'):
        assert lock.read_text() == f'{os.getpid()}\n'
        with pytest.raises(RunHeldError), hold(path, 'a run'):
            pass
    assert lock.read_text() == ''
