"""``python -m benchmarks.published_training``, on a folder that looks like the published code."""
import json
import sys

import pytest
import torch
import yaml

from benchmarks import published_training
from benchmarks.errors import BenchmarkError
from benchmarks.published_code import PublishedCode
from benchmarks.published_recipe import THEIR_CONFIG, Recipe
from benchmarks.published_training import OURS, THEIRS, Comparison, add_row

UTILS = '''
class ModelEma:
    def __init__(self, model, decay=0.999, device=None):
        self.decay = decay


class ANETdetection:
    def evaluate(self, path):
        return [0.5, 0.4, 0.3, 0.2, 0.1], 0.3, path
'''
TRAIN = '''
import sys
import numpy as np
import torch
from libs.utils import ANETdetection, ModelEma
assert np.float is float
torch.cuda.synchronize()
storage = torch.zeros(1).untyped_storage()
assert storage.cuda('cpu') is storage
ANETdetection().evaluate([ModelEma(None).decay, *sys.argv[1:]])
'''


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Folder with the parts of the published code that the programs use."""
    folder = tmp_path / 'code'
    (folder / 'libs/utils').mkdir(parents=True)
    (folder / 'configs').mkdir()
    (folder / 'libs/utils/nms_1d_cpu.so').touch()
    (folder / 'libs/utils/__init__.py').write_text(UTILS)
    for script in ('train.py', 'eval.py'):
        (folder / script).write_text(TRAIN)
    (folder / THEIR_CONFIG).write_text(yaml.safe_dump(dict(
        dataset=dict(num_frames=16, max_seq_len=2304), model=dict(n_mha_win_size=19),
        opt=dict(weight_decay=0.05), loader=dict(batch_size=2))))
    monkeypatch.setattr(sys, 'path', list(sys.path))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.partition('.')[0] == 'libs':
            del sys.modules[name]


@pytest.fixture
def comparison(checkout, tmp_path):
    return Comparison(checkout, tmp_path / 'data', tmp_path / 'work', 3, Recipe())


def test_both_configs_follow_the_recipe(checkout, tmp_path):
    recipe = Recipe(channels=8, width=16, num_steps=576, warmup_epochs=3, epochs=7,
                    learning_rate=2e-3, ema_decay=0.9)
    recipe.write_their_config(checkout, tmp_path, 5, tmp_path / 'work/theirs.yaml')
    theirs = yaml.safe_load((tmp_path / 'work/theirs.yaml').read_text())
    ours = recipe.our_config(tmp_path, 5)
    warmup, cosine = ours.param_scheduler
    assert warmup.end == cosine.begin == theirs['opt']['warmup_epochs'] == 3
    assert cosine.T_max == theirs['opt']['epochs'] == 4
    assert cosine.end == ours.train_cfg.max_epochs == 7
    assert ours.optim_wrapper.optimizer.lr == theirs['opt']['learning_rate'] == 2e-3
    assert ours.model.neck.embed_channels == ours.model.head.in_channels == 16
    assert theirs['model']['max_buffer_len_factor'] * 576 == 6 * 2304
    assert {theirs['model'][name] for name in ('embd_dim', 'fpn_dim', 'head_dim')} == {16}
    assert ours.model.neck.in_channels == theirs['dataset']['input_dim'] == 8
    for loader in (ours.train_dataloader, ours.test_dataloader):
        assert loader.dataset.num_frames == theirs['dataset']['max_seq_len'] == 576
        assert loader.dataset.source.num_channels == 8
    assert ours.train_dataloader.batch_size == theirs['loader']['batch_size'] == 2
    assert ours.randomness.seed == theirs['init_rand_seed'] == 5
    assert ours.custom_hooks[0].momentum == pytest.approx(0.1)
    assert theirs['dataset']['num_frames'] == 16  # the rest stays


def test_the_published_scripts_run_without_cuda_and_their_results_are_kept(checkout):
    synchronize = torch.cuda.synchronize
    found = PublishedCode(checkout, 0.9).run('train.py', 'one.yaml', '-c', '1')
    assert found == [([0.5, 0.4, 0.3, 0.2, 0.1], 0.3, [0.9, 'one.yaml', '-c', '1'])]
    assert torch.cuda.synchronize is synchronize


def test_a_checkout_that_is_not_built_is_refused(tmp_path):
    with pytest.raises(BenchmarkError, match='holds no built checkout of ActionFormer'):
        PublishedCode(tmp_path, 0.9)


def test_the_published_code_trains_from_its_last_epoch_and_tests(comparison, monkeypatch):
    calls = []
    run = comparison.code.run
    monkeypatch.setattr(comparison.code, 'run',
                        lambda *options: calls.append(options) or run(*options))
    last = comparison.train_theirs()
    assert last.name == 'epoch_008.pth.tar' and calls[0][2:] == ('--output', 'run', '-c', '1')
    last.parent.mkdir()
    middle = last.with_name('epoch_004.pth.tar')
    middle.touch()
    comparison.train_theirs()
    assert calls[1][-2:] == ('--resume', middle)
    last.touch()
    assert comparison.train_theirs() == last and len(calls) == 2
    assert comparison.test_theirs(last) == pytest.approx(
        {'average': 30, '0.30': 50, '0.40': 40, '0.50': 30, '0.60': 20, '0.70': 10})


@pytest.mark.parametrize('trained_by', [OURS, THEIRS])
def test_each_code_tests_its_own_form_of_the_weights(comparison, monkeypatch, trained_by):
    monkeypatch.setattr(comparison, 'train_ours', lambda: 'ours')
    monkeypatch.setattr(comparison, 'train_theirs', lambda: 'theirs')
    monkeypatch.setattr(comparison, 'to_theirs', lambda path: f'{path} as theirs')
    monkeypatch.setattr(comparison, 'to_ours', lambda path: f'{path} as ours')
    tests = {}
    monkeypatch.setattr(comparison, 'test_ours', lambda path: tests.update(a=path) or {'x': 1.5})
    monkeypatch.setattr(comparison, 'test_theirs', lambda path: tests.update(b=path) or {'x': 2})
    row = comparison.row(trained_by)
    assert row == dict(trained_by=trained_by, seed=3,
                       mAP={OURS: {'x': 1.5}, THEIRS: {'x': 2}})
    assert tests == (dict(a='ours', b='ours as theirs') if trained_by == OURS else
                     dict(a='theirs as ours', b='theirs'))


def test_ours_cannot_be_named_without_a_published_checkpoint(comparison, tmp_path):
    with pytest.raises(BenchmarkError, match='Run with --trained-by published first'):
        comparison.to_theirs(tmp_path / 'epoch_8.pth')


def test_a_row_replaces_that_of_the_same_code_and_seed(tmp_path):
    path = tmp_path / 'rows.json'
    for seed, value in ((1, 5), (0, 6), (1, 7)):
        add_row(path, dict(trained_by=OURS, seed=seed, mAP=value), Recipe(), tmp_path)
    content = json.loads(path.read_text())
    rows = content['rows']
    assert content['packages']['torch'] == torch.__version__
    assert content['published_code'] is None  # no git tree
    assert [(row['seed'], row['mAP']) for row in rows] == [(0, 6), (1, 7)]
    with pytest.raises(BenchmarkError, match='of another recipe or of other features'):
        add_row(path, rows[0], Recipe(width=8), tmp_path)
    path.write_text('[]')
    with pytest.raises(BenchmarkError, match='holds no results of this program'):
        add_row(path, rows[0], Recipe(), tmp_path)


def test_the_program_prints_and_writes_its_row(checkout, tmp_path, monkeypatch, capsys):
    threads = torch.get_num_threads()
    monkeypatch.setattr(Comparison, 'row', lambda self, trained_by: dict(
        trained_by=trained_by, seed=self.seed, mAP={}))
    published_training.main([str(checkout), 'data', str(tmp_path), '--trained-by', THEIRS,
                             '--seed', '2', '--json', str(tmp_path / 'rows.json')])
    torch.set_num_threads(threads)
    row = dict(trained_by=THEIRS, seed=2, mAP={})
    assert json.loads(capsys.readouterr().out) == row
    assert json.loads((tmp_path / 'rows.json').read_text())['rows'] == [row]
