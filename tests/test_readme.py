"""Commands and code of the README, and its limits."""
import re

import pytest
import torch
from mmengine.config import Config
from pages import ROOT, block_with, page, python_blocks
from recognition_cases import shrink_pipeline

from sbp_tad.apis import launch
from sbp_tad.sbp import SavedMemory

README = 'README.md'


def test_it_is_read_in_five_minutes():
    lines = page(README).splitlines()
    assert len(lines) <= 200 and max(map(len, lines)) <= 200  # commands are longer than 140
    text = page(README).partition('## Citation')[0]
    assert len(re.findall(r"[A-Za-z0-9][\w'’.-]*", re.sub(r'\]\([^)]*\)', ']', text))) <= 1100


def test_the_config_that_is_explained_is_the_config():
    path = 'configs/toy/actionformer_r3d10_sbp-r4_toy.py'
    for name in (README, 'docs/tutorials/first_detector.md'):
        assert (ROOT / path).read_text() in python_blocks(name)


def test_sbp_in_an_mmaction_config(tmp_path, write_video):
    """mmaction's TSN recipe with the two lines: a training epoch runs, its metric too."""
    (tmp_path / 'mine.py').write_text(block_with(README, 'mmaction::'))
    cfg = Config.fromfile(tmp_path / 'mine.py')
    cfg.model.backbone.backbone.pretrained = None
    write_video(tmp_path / 'a.mp4', 40)
    (tmp_path / 'list.txt').write_text('a.mp4 0\na.mp4 1\n')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.update(ann_file=str(tmp_path / 'list.txt'),
                              data_prefix=dict(video=str(tmp_path)),
                              pipeline=shrink_pipeline(loader.dataset.pipeline))
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.work_dir, cfg.experiment_name = str(tmp_path / 'work'), tmp_path.name
    cfg.default_hooks.checkpoint.update(interval=-1, save_best=None)
    cfg.default_hooks.pop('visualization', None)
    runner = launch.build_runner(cfg)
    runner.train()
    accuracy, _ = runner.message_hub.get_scalar('val/acc/top5').data
    assert len(accuracy) == 1
    backbone = runner.model.backbone
    assert backbone.config.keep_ratio == 0.25 and backbone.clip_len is None


def test_the_page_on_mmaction_configs_says_the_same():
    assert block_with(README, 'mmaction::') \
        == python_blocks('docs/howto/mmaction_configs.md')[0]


def test_plain_pytorch():
    clips = torch.randn(2, 8, 3, 6, 6)
    namespace = dict(clips=clips, network=torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3),
                                                              torch.nn.Flatten(1)))
    exec(block_with(README, 'ClipwiseSBP(network'), namespace)
    encoder = namespace['encoder']
    names = list(namespace['network'].state_dict())
    assert list(encoder.state_dict()) == [f'encoder.{name}' for name in names]
    assert namespace['features'].shape == (16, 64)
    with SavedMemory(encoder) as saved:
        encoder(clips)
    with SavedMemory(encoder) as full:
        namespace['network'](clips.flatten(0, 1))
    assert saved.bytes == pytest.approx(full.bytes / 4, rel=0.1)  # and an index
