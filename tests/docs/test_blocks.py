"""Python blocks of the pages: configs are built and programs run as a user writes them."""
import json

import pytest
import torch
from pages import ROOT, block_with, page

from sbp_tad.apis import launch
from sbp_tad.apis.named_files import find_config
from sbp_tad.datasets import FeatureFiles
from sbp_tad.models.backbones import clip_features
from sbp_tad.models.backbones.strategies import STRATEGIES
from sbp_tad.registry import DATASETS, METRICS, MODELS

YOUR_VIDEOS = 'docs/tutorials/your_videos.md'
HEAD = 'docs/howto/add_a_head.md'
STRATEGY = 'docs/howto/add_a_strategy.md'


@pytest.fixture
def config_file(tmp_path, monkeypatch):
    """Writes a block as a config that is read from the repository root."""
    def write(text):
        path = tmp_path / 'mine.py'
        path.write_text(text.replace("'configs/", f"'{ROOT}/configs/"))
        return str(path)
    monkeypatch.chdir(ROOT)
    return write


@pytest.mark.parametrize('block, shape', [('small = dict', (3, 96, 48, 48)),
                                          ('kitchen = dict', (3, 128, 112, 112))])
def test_your_own_videos(config_file, tmp_path, write_video, block, shape):
    folder = tmp_path / 'kitchen'
    (folder / 'videos').mkdir(parents=True)
    database = {}
    for subset in ('training', 'test'):
        write_video(folder / 'videos' / f'{subset}_1.mp4', 200)
        database[f'{subset}_1'] = dict(subset=subset, annotations=[
            dict(segment=[3.5, 9.1], label='pour')])
    (folder / 'annotations.json').write_text(json.dumps(dict(database=database)))
    cfg = launch.load_config(config_file(block_with(YOUR_VIDEOS, block)))
    assert cfg.model.head.num_classes == 2
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = str(folder)
        dataset = DATASETS.build(loader.dataset)
        assert len(dataset) > 0
        assert dataset[0]['inputs'].shape == shape


def test_inheriting_by_the_name_of_the_package(config_file):
    cfg = launch.load_config(config_file(block_with('docs/howto/use_as_a_package.md', 'sbp_tad::')))
    assert cfg.train_dataloader.batch_size == 1
    assert cfg.train_dataloader.dataset.type == 'THUMOS14Dataset'


def test_features_of_another_backbone(config_file):
    cfg = launch.load_config(config_file(
        block_with('docs/tutorials/features_to_end_to_end.md', 'slowfast')))
    assert cfg.model.backbone is None and cfg.model.neck.in_channels == 2304
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        dataset = DATASETS.build(dict(loader.dataset, lazy_init=True))
        assert dataset.source == FeatureFiles(8, 32, 2304, key='features')
        assert dataset.filename_template == '{video_id}.npz'
        assert dataset.window_size.num_frames == 1024


def test_scores_of_a_video_classifier(tmp_path, monkeypatch):
    (tmp_path / 'scores.json').write_text('{"a": {"pour": 0.5}}')
    monkeypatch.chdir(tmp_path)
    namespace = {}
    exec(block_with('docs/howto/evaluate_results.md', 'score_fusion'), namespace)
    METRICS.build(dict(namespace['test_evaluator'], _scope_='sbp_tad'))


def test_a_keep_ratio_that_the_backbone_chooses(config_file):
    block = block_with('docs/howto/choose_a_keep_ratio.md', "keep_ratio='auto'")
    base = "_base_ = ['configs/toy/actionformer_r3d10_sbp-r4_toy.py']\n"
    cfg = launch.load_config(config_file(base + block))
    backbone = MODELS.build(dict(cfg.model, _scope_='sbp_tad')).backbone
    assert backbone.mode == 'direct'


def test_a_video_in_segments_out(tmp_path, write_video, monkeypatch, capsys):
    """The block as it is, with untrained weights and a threshold that these reach."""
    name = 'actionformer_r3d10_sbp-r4_toy'
    write_checkpoint(tmp_path, name)
    write_video(tmp_path / 'data/toy/videos/toy_test_0000.mp4', 40)
    monkeypatch.chdir(tmp_path)
    block = block_with('docs/tutorials/first_detector.md', 'TADInferencer')
    exec(block.replace('=0.3', '=0.005'), {})
    video_id, start, end, label, score = capsys.readouterr().out.splitlines()[0].split()
    assert (video_id, label.count('_') < 2) == ('toy_test_0000', True)
    assert 0 <= float(start) < float(end) <= 4.1 and float(score) >= 0.005


def write_checkpoint(root, name):
    """Write untrained weights of a recipe where its training puts the best ones."""
    model = MODELS.build(launch.load_config(find_config(name)).model)
    for folder in (f'work_dirs/{name}', 'data/toy/videos'):
        (root / folder).mkdir(parents=True)
    torch.save(dict(state_dict=model.state_dict()), root / f'work_dirs/{name}/best.pth')


def test_a_stream_is_told(tmp_path, write_video, monkeypatch, capsys):
    """The block as it is, with untrained weights."""
    write_checkpoint(tmp_path, 'online_gru_cnn4_sbp-r4_toy')
    write_video(tmp_path / 'data/toy/videos/toy_test_0000.mp4', 40)
    monkeypatch.chdir(tmp_path)
    exec(block_with('docs/tutorials/online_detection.md', 'OnlineInferencer'), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 24 and lines[6].startswith('1.00 s: ')  # 4 s at 6 fps


def test_your_own_head(config_file, tmp_path, monkeypatch):
    """It does what SegmentationHead does."""
    (tmp_path / 'my_head.py').write_text(block_with(HEAD, 'class MyHead'))
    monkeypatch.syspath_prepend(tmp_path)
    cfg = launch.load_config(config_file(block_with(HEAD, "type='MyHead'")))
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
    methods = block_with(HEAD, 'class MyHead').partition('def forward')[2].splitlines()[1:]
    lines = [line.partition('  #')[0].strip().removeprefix('return ') for line in methods]
    assert len(lines) > 10
    for line in lines:
        assert line.startswith('def ') or line in source, line


@pytest.fixture
def page_config(config_file, tmp_path, monkeypatch):
    """Write the module and the config of a page, and return the config."""
    def write(name, module, code, config):
        (tmp_path / f'{module}.py').write_text(block_with(name, code))
        monkeypatch.syspath_prepend(tmp_path)
        return launch.load_config(config_file(block_with(name, config)))
    return write


def check_gradients(backbone, kept_clips, num_frames, size=16):
    """Check that only these clips of a window receive a gradient, as autograd gives it."""
    backbone.train()
    length = backbone.clip_len
    video = torch.randn(1, 3, num_frames, size, size, requires_grad=True)
    features = backbone(video)
    features.square().sum().backward()
    of_clips = video.grad.unflatten(2, (-1, length)).abs().sum(dim=(0, 1, 3, 4, 5))
    assert (of_clips > 0).nonzero().flatten().tolist() == kept_clips(of_clips > 0)
    backbone.eval()
    torch.testing.assert_close(features, backbone(video), rtol=1e-4, atol=1e-5)


def test_your_own_strategy(page_config, monkeypatch):
    """It keeps three neighbouring clips of twelve; the same ones for the same key."""
    monkeypatch.setitem(STRATEGIES, 'neighbours', None)  # taken out again after the test
    cfg = page_config(STRATEGY, 'my_strategy', 'class NeighboursStrategy', "mode='neighbours'")
    backbone = MODELS.build(dict(cfg.model, _scope_='sbp_tad')).backbone
    backbone.seed = 0
    starts = set()
    for _ in range(6):
        check_gradients(backbone, lambda kept: neighbours(kept, starts), 96)
    assert len(starts) > 1
    keys = [(7, 3, 0, 0)]
    clips = torch.randn(12, 3, 8, 16, 16, requires_grad=True)
    drawn = [torch.autograd.grad(backbone.strategy.encode(
        backbone._encode_clips, clips, keys).sum(), clips)[0] for _ in range(2)]
    assert torch.equal(*drawn)
    backbone.set_keep_ratio(1.0)
    check_gradients(backbone, lambda kept: list(range(12)), 96)


def neighbours(kept, starts):
    """The three clips from the first kept one on."""
    start = int(kept.nonzero()[0])
    starts.add(start)
    return list(range(start, start + 3))


def test_your_own_backbone(page_config, monkeypatch):
    """A window of 96 frames gives 48 steps; a quarter of the clips receives a gradient."""
    monkeypatch.setattr(clip_features, 'FEATURE_FORMS', dict(clip_features.FEATURE_FORMS))
    name = 'docs/howto/add_a_backbone.md'
    cfg = page_config(name, 'my_backbone', 'class MyNetwork', "type='MyNetwork'")
    detector = MODELS.build(dict(cfg.model, _scope_='sbp_tad'))
    assert detector.backbone.temporal_stride(16) == 2
    check_gradients(detector.backbone, lambda kept: kept.nonzero().flatten().tolist()[:3], 96)
    assert detector.eval().backbone(torch.randn(2, 3, 96, 16, 16)).shape == (2, 64, 48)


def test_every_strategy_is_listed():
    for mode in STRATEGIES:
        assert f"`'{mode}'`" in page('docs/reference/components.md'), mode
    for mode in set(STRATEGIES) - {'direct', 'deferred', 'token'}:
        assert f'| `{mode}` |' in page('docs/explanation/costs.md'), mode
