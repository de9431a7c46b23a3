"""The study in small: a recognizer trains on trimmed clips, its backbone starts a detector."""
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from sbp_tad.apis import launch
from sbp_tad.datasets.toy_videos import ToySettings, build_toy_dataset
from sbp_tad.registry import MODELS

ROOT = Path(__file__).parents[1]
RECOGNIZERS = sorted(path.stem for path in ROOT.glob('configs/toy/recognizer_*.py'))
STUDIED = sorted(path.stem for path in ROOT.glob('configs/toy/study_*.py'))
CLIPS = ToySettings(train_videos=6, test_videos=6, size=48, fps=6, min_seconds=1.5, max_seconds=2,
                    look='fur', trimmed=True)


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp('clips')
    build_toy_dataset(folder, CLIPS)
    return folder


@pytest.fixture(scope='module')
def train(clips, tmp_path_factory):
    """Train a recognizer for two steps of three clips; its runner and checkpoint."""
    def run(name):
        cfg = launch.load_config(str(ROOT / f'configs/toy/{name}.py'))
        folder = tmp_path_factory.mktemp(name)
        cfg.work_dir, cfg.experiment_name = str(folder), folder.name
        for loader, listed in ((cfg.train_dataloader, 'train'), (cfg.val_dataloader, 'val')):
            loader.update(batch_size=3, num_workers=0, persistent_workers=False)
            loader.dataset.update(ann_file=str(clips / f'{listed}_list_videos.txt'),
                                  data_prefix=dict(video=str(clips / 'videos')))
        cfg.train_cfg.update(max_epochs=1, val_interval=1)
        cfg.default_hooks.checkpoint.update(save_best=None)
        runner = launch.build_runner(cfg)
        runner.train()
        return runner, folder / 'epoch_1.pth'
    return run


def test_every_studied_backbone_has_a_recognizer():
    assert {name.removeprefix('study_') for name in STUDIED} == {
        name.removeprefix('recognizer_') for name in RECOGNIZERS}


@pytest.mark.parametrize('backbone', [name.split('_')[1] for name in RECOGNIZERS])
def test_what_the_recognizer_learnt_arrives_in_the_detector(backbone, train):
    runner, checkpoint = train(f'recognizer_{backbone}_toy')
    accuracies, _ = runner.message_hub.get_scalar('val/acc/top1').data
    assert runner.iter == 2 and 0 <= accuracies[-1] <= 1
    learnt = runner.model.backbone.state_dict()

    cfg = launch.load_config(str(ROOT / f'configs/toy/study_{backbone}_toy.py'))
    start = cfg.model.backbone.init_cfg
    assert start.checkpoint == f'work_dirs/study_pretrain/recognizer_{backbone}.pth'
    start.checkpoint = str(checkpoint)
    with DefaultScope.overwrite_default_scope('sbp_tad'):
        detector = MODELS.build(cfg.model)
    before = {name: value.clone() for name, value in detector.backbone.state_dict().items()}
    detector.init_weights()
    after = detector.backbone.state_dict()
    assert after.keys() == learnt.keys()
    assert all(torch.equal(after[name], learnt[name]) for name in learnt)
    assert not all(torch.equal(after[name], before[name]) for name in learnt)


@pytest.mark.parametrize('name', STUDIED)
def test_the_detector_sees_clips_as_the_recognizer_did(name):
    """Frame rate, clip size and length, colours and classes equal those of the pre-training."""
    cfg = launch.load_config(str(ROOT / f'configs/toy/{name}.py'))
    twin = name.replace('study', 'recognizer')
    recognizer = launch.load_config(str(ROOT / f'configs/toy/{twin}.py'))
    assert cfg.train_dataloader.dataset.stride_frames == 1
    assert not any(step.type == 'Resize' for step in cfg.test_dataloader.dataset.pipeline)
    sampling, = [step for step in recognizer.train_dataloader.dataset.pipeline
                 if step.type == 'SampleFrames']
    assert sampling.get('frame_interval', 1) == 1
    assert cfg.model.backbone.clip_len in (sampling.clip_len, 1)
    assert cfg.model.head.num_classes == recognizer.model.cls_head.num_classes
    for key in ('mean', 'std'):
        assert cfg.model.data_preprocessor[key] == recognizer.model.data_preprocessor[key]
    assert cfg.model.backbone.backbone == recognizer.model.backbone
