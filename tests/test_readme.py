"""What the README tells a user to write, written and run."""
import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from sbp_tad.apis import launch
from sbp_tad.datasets import FeatureFiles
from sbp_tad.registry import DATASETS, MODELS
from sbp_tad.sbp import SavedMemory

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text()
BLOCKS = re.findall(r'```python\n(.*?)```', README, flags=re.DOTALL)


def block_with(text):
    found, = [block for block in BLOCKS if text in block]
    return found


@pytest.fixture
def config_file(tmp_path, monkeypatch):
    """Writes a README block as a config that is read from the repository root."""
    def write(text):
        path = tmp_path / 'mine.py'
        path.write_text(text.replace("'configs/", f"'{ROOT}/configs/"))
        return str(path)
    monkeypatch.chdir(ROOT)
    return write


def test_the_config_that_is_explained_is_the_config():
    path = 'configs/toy/actionformer_r3d10_sbp-r4_toy.py'
    assert (ROOT / path).read_text() in BLOCKS


def test_every_link_leads_somewhere():
    links = re.findall(r'\]\(([^)#]+)\)', README)
    assert links
    for link in links:
        assert link.startswith('http') or (ROOT / link).exists(), link


def test_paths_of_commands_exist():
    for path in re.findall(r'(?:tools|configs)/[\w./-]+\.(?:py|sh)', README):
        assert (ROOT / path).is_file(), path


def test_your_own_videos(config_file, tmp_path, write_video):
    folder = tmp_path / 'kitchen'
    (folder / 'videos').mkdir(parents=True)
    database = {}
    for subset in ('training', 'test'):
        write_video(folder / 'videos' / f'{subset}_1.mp4', 200)
        database[f'{subset}_1'] = dict(subset=subset, annotations=[
            dict(segment=[3.5, 9.1], label='pour')])
    (folder / 'annotations.json').write_text(json.dumps(dict(database=database)))
    cfg = launch.load_config(config_file(block_with('kitchen')))
    assert cfg.model.head.num_classes == 2
    for loader, items in ((cfg.train_dataloader, 1), (cfg.test_dataloader, 2)):
        loader.dataset.data_root = str(folder)
        dataset = DATASETS.build(loader.dataset)
        assert len(dataset) == items
        assert dataset[0]['inputs'].shape == (3, 128, 112, 112)


def test_inheriting_by_the_name_of_the_package(config_file):
    cfg = launch.load_config(config_file(block_with('sbp_tad::')))
    assert cfg.train_dataloader.batch_size == 1
    assert cfg.train_dataloader.dataset.type == 'THUMOS14Dataset'


def test_sbp_in_an_mmaction_config(config_file, tmp_path, write_video):
    """mmaction's TSN recipe with the two lines: a training epoch runs, its metric too."""
    cfg = Config.fromfile(config_file(block_with('mmaction::')))
    cfg.model.backbone.backbone.pretrained = None
    write_video(tmp_path / 'a.mp4', 40)
    (tmp_path / 'list.txt').write_text('a.mp4 0\na.mp4 1\n')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.update(ann_file=str(tmp_path / 'list.txt'),
                              data_prefix=dict(video=str(tmp_path)))
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


def test_features_of_another_backbone(config_file):
    cfg = launch.load_config(config_file(block_with('slowfast')))
    assert cfg.model.backbone is None and cfg.model.neck.in_channels == 2304
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        dataset = DATASETS.build(dict(loader.dataset, lazy_init=True))
        assert dataset.source == FeatureFiles(8, 32, 2304, key='features')
        assert dataset.filename_template == '{video_id}.npz'
        assert dataset.window_size.num_frames == 1024


def test_plain_pytorch():
    namespace = dict(network=torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(1)))
    exec(block_with('ClipwiseSBP(network'), namespace)
    encoder, clips = namespace['encoder'], torch.randn(2, 8, 3, 6, 6)
    with SavedMemory(encoder) as saved:
        features = encoder(clips)
    assert features.shape == (16, 64)
    with SavedMemory(encoder) as full:
        namespace['network'](clips.flatten(0, 1))
    assert saved.bytes == pytest.approx(full.bytes / 4, rel=0.1)  # and an index


def test_a_video_in_segments_out(tmp_path, write_video, monkeypatch, capsys):
    """The block as it is, with weights as they are drawn and a threshold that these reach."""
    name = 'actionformer_r3d10_sbp-r4_toy'
    model = MODELS.build(launch.load_config(launch.find_config(name)).model)
    for folder in ('work_dirs/demo', 'videos'):
        (tmp_path / folder).mkdir(parents=True)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'work_dirs/demo/best.pth')
    write_video(tmp_path / 'videos' / 'mine.mp4', 40)
    monkeypatch.chdir(tmp_path)
    exec(block_with('TADInferencer').replace('=0.3', '=0.005'), {})
    video_id, start, end, label, score = capsys.readouterr().out.splitlines()[0].split()
    assert (video_id, label.count('_') < 2) == ('mine', True)
    assert 0 <= float(start) < float(end) <= 4.1 and float(score) >= 0.005


def test_a_stream_is_told(tmp_path, write_video, monkeypatch, capsys):
    """The block as it is, with weights as they are drawn."""
    model = MODELS.build(launch.load_config(launch.find_config('online_gru_cnn4_sbp-r4_toy')).model)
    for folder in ('work_dirs/demo_online', 'videos'):
        (tmp_path / folder).mkdir(parents=True)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'work_dirs/demo_online/best.pth')
    write_video(tmp_path / 'videos' / 'mine.mp4', 40)
    monkeypatch.chdir(tmp_path)
    exec(block_with('OnlineInferencer'), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 24 and lines[6].startswith('1.00 s: ')  # 4 s at 6 fps


def test_your_own_head(config_file, tmp_path, monkeypatch):
    """It does what SegmentationHead does."""
    (tmp_path / 'my_head.py').write_text(block_with('class MyHead'))
    monkeypatch.syspath_prepend(tmp_path)
    cfg = launch.load_config(config_file(block_with("type='MyHead'")))
    mine = MODELS.build(dict(cfg.model, _scope_='sbp_tad')).head
    theirs = MODELS.build(dict(cfg.model.head, type='SegmentationHead', _scope_='sbp_tad',
                               thresholds=mine.thresholds))
    theirs.load_state_dict(mine.state_dict())
    features, masks = (torch.randn(1, 64, 48), ), (torch.arange(48)[None] < 40, )
    truth = [torch.tensor([[3., 9.]])], [torch.tensor([2])]
    assert mine.loss(features, masks, *truth) == theirs.loss(features, masks, *truth)
    found, expected = (head.predict(features, masks)[0] for head in (mine, theirs))
    assert len(found) > 0
    assert torch.equal(found.scores.sort(descending=True).values, expected.scores)


def test_your_own_head_is_the_head_line_by_line():
    source = (ROOT / 'sbp_tad/models/heads/segmentation_head.py').read_text()
    methods = block_with('class MyHead').partition('def forward')[2].splitlines()[1:]
    lines = [line.partition('  #')[0].strip().removeprefix('return ') for line in methods]
    assert len(lines) > 10
    for line in lines:
        assert line.startswith('def ') or line in source, line
