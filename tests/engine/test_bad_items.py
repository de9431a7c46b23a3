"""Videos that a run could not read are listed in one file; too many of them stop the run."""
import json
from pathlib import Path

import pytest

from sbp_tad.apis import launch
from sbp_tad.datasets.toy_videos import ToySettings, build_toy_dataset
from sbp_tad.engine.bad_items import read_notes
from sbp_tad.engine.errors import HookError, TrainingError
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.registry import HOOKS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    """Three training and two test videos, one of each cut off."""
    folder = tmp_path_factory.mktemp('toy')
    build_toy_dataset(folder, ToySettings(train_videos=3, test_videos=2, size=48))
    for kind in ('train', 'test'):
        path = sorted(folder.glob(f'videos/*{kind}*.mp4'))[0]
        path.write_bytes(path.read_bytes()[:300])
    return folder


def runner(toy, work_dir, monkeypatch, train_only=False, **options):
    monkeypatch.chdir(ROOT)
    cfg = launch.load_config('configs/toy/actionformer_r3d10_sbp-r4_toy.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.update(data_root=str(toy), num_frames=32)
    cfg.train_dataloader.update(num_workers=1)
    cfg.train_dataloader.dataset.update(windows_per_video=2, on_bad_video='skip')
    cfg.default_hooks.bad_items.update(options)
    cfg.default_hooks.checkpoint.interval = -1
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=2)
    cfg.work_dir, cfg.experiment_name = str(work_dir), str(work_dir).replace('/', '_')
    cfg.log_level = 'ERROR'
    if train_only:
        launch.skip_validation(cfg)
    return launch.build_runner(cfg)


def bad_items(work_dir):
    return json.loads((work_dir / 'bad_items.json').read_text())


def test_skipped_videos_of_workers_are_listed(toy, tmp_path, monkeypatch):
    runner(toy, tmp_path, monkeypatch, train_only=True, max_share=0.5).train()
    item, = bad_items(tmp_path)['train']
    assert item['video_id'] == 'toy_training_0000' and 'not a readable video' in item['reason']
    assert not list(tmp_path.glob('.bad_items*'))


def test_too_many_end_the_run_with_the_list(toy, tmp_path, monkeypatch):
    with pytest.raises(TrainingError, match=r'1 of 3 training videos cannot be read, more '
                       r'than the allowed share of 0.3:\n.*toy_training_0000.*\nAll are listed in '
                       r'.*bad_items.json. Repair or remove .* default_hooks.bad_items.max_share'):
        runner(toy, tmp_path, monkeypatch, train_only=True, max_share=0.3).train()
    assert len(bad_items(tmp_path)['train']) == 1


def test_testing_lists_them_too(toy, tmp_path, monkeypatch):
    (tmp_path / 'bad_items.json').write_text('{"train": []}')
    with pytest.raises(EvaluationError):
        runner(toy, tmp_path, monkeypatch).test()
    found = bad_items(tmp_path)
    assert [item['video_id'] for item in found['test']] == ['toy_test_0000']
    assert found['train'] == []


@pytest.mark.parametrize('options', [dict(max_share=1.5), dict(max_share=-1), dict(interval=0)])
def test_options(options):
    with pytest.raises(HookError, match=r'max_share must be in \[0, 1\] and interval'):
        HOOKS.build(dict(type='BadItemsHook', **options))


def test_half_a_note_is_left_for_the_next_look(tmp_path):
    path = tmp_path / 'notes'
    assert read_notes(path) == {}
    path.write_text('{"video_id": "a", "reason": "b"}\n{"video')
    assert read_notes(path) == dict(a='b')
