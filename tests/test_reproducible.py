"""One seed gives one training, to the bit, data workers included; and says where it came from."""
import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from sbp_tad.apis import launch
from sbp_tad.datasets.toy_videos import ToySettings, build_toy_dataset
from sbp_tad.provenance import file_sha256

ROOT = Path(__file__).parents[1]
CONFIG = 'configs/toy/actionformer_r3d10_sbp-r4_toy.py'


class Curve(Hook):
    """The losses of every iteration."""

    def __init__(self):
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs['loss'].item())


@pytest.fixture(scope='module')
def toy(made_once):
    settings = ToySettings(train_videos=2, test_videos=1, size=48)
    return made_once('reproducible_toy', lambda folder: build_toy_dataset(folder, settings))


def train(toy, work_dir, monkeypatch, seed=3, **randomness):
    monkeypatch.chdir(ROOT)
    cfg = launch.load_config(CONFIG, {'train_dataloader.dataset.data_root': str(toy)})
    launch.skip_validation(cfg)
    launch.set_randomness(cfg, seed, **randomness)
    cfg.train_dataloader.update(batch_size=2, num_workers=2)
    cfg.train_dataloader.dataset.update(windows_per_video=2, num_frames=32)
    cfg.train_cfg = dict(by_epoch=True, max_epochs=2)
    cfg.default_hooks.checkpoint.interval = -1
    cfg.work_dir, cfg.experiment_name = str(work_dir), str(work_dir).replace('/', '_')
    cfg.log_level = 'ERROR'
    runner, curve = launch.build_runner(cfg), Curve()
    runner.register_hook(curve)
    runner.train()
    return curve.losses, runner.model.state_dict()


@pytest.fixture
def deterministic_off():
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


@pytest.mark.parametrize('deterministic', [
    False, pytest.param(True, marks=pytest.mark.nightly)])
def test_one_seed_gives_one_training(toy, tmp_path, monkeypatch, deterministic, deterministic_off):
    """Train twice; the record beside the checkpoints says what was trained on what."""
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # undone after the test
    for name in 'ab':
        (tmp_path / name).mkdir()
        (tmp_path / name / 'provenance.json').write_text('{"test": {"seed": 1}}')
    (first, weights), (second, others) = (
        train(toy, tmp_path / name, monkeypatch, deterministic=deterministic) for name in 'ab')
    assert len(set(first)) == 4 and first == second
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert torch.are_deterministic_algorithms_enabled() is deterministic
    check_provenance(json.loads((tmp_path / 'a' / 'provenance.json').read_text()), toy)


def check_provenance(entries, toy):
    """Check the entry of the training and that of an earlier test, which stays."""
    facts, = entries['train'].pop('datasets')
    assert entries['test'] == dict(seed=1) and entries['train']['seed'] == 3
    assert 'SBPBackbone' in entries['train']['config']['text']
    assert entries['train']['environment']['packages']['torch']
    assert facts['annotation']['sha256'] == file_sha256(toy / 'annotations.json')
    sizes = [path.stat().st_size for path in toy.glob('videos/*train*.mp4')]
    assert (facts['files']['files'], facts['files']['bytes']) == (2, sum(sizes))
    assert facts['type'] == 'ToyDataset' and facts['protocol']['classes']
