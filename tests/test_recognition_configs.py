"""Every recognition recipe is built, takes a training step and is validated, shrunk."""
import re
from pathlib import Path

import pytest
from families import rest_nightly
from mmengine.registry import DefaultScope
from recognition_cases import COLORS, saved_bytes, shrink, write_clips

from sbp_tad.apis import launch
from sbp_tad.registry import MODELS

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / 'configs/recognition'
CONFIGS = sorted(path.name for path in FOLDER.glob('*.py'))
# One of each network is trained by default, with SBP.
TRAINED = ('convnext-t_sbp-r2_300e_imagenet.py', 'swin-t_sbp-r4_32x2-30e_kinetics400.py',
           'vit-t_sbp-r2_300e_imagenet.py')
TABLE = (FOLDER / 'README.md').read_text()

# Blocks that SBP covers, by stage: SBP_FACTS of the paper and of the in-depth study.
COVERED = {
    'swin-t': ('layers', (2, 2, 4, 0)),
    'swin-b': ('layers', (2, 2, 14, 0)),
    'vit': ('blocks', (0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)),
    'convnext-t': ('stages', (3, 3, 6, 0)),
    'convnext-b': ('stages', (3, 3, 21, 0)),
}
# Millions of parameters, classifier included, as the papers of the networks give them.
SIZES = {'swin-t': 28.2, 'swin-b': 88.0, 'vit-t': 5.7, 'vit-b': 86.6, 'convnext-t': 28.6,
         'convnext-b': 88.6}


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp('clips'))


def keep_ratio_of(name):
    return 1 / int(re.search(r'_sbp-r(\d)_', name)[1])


def covered_blocks(model):
    """Names of the blocks of a backbone that keep some tokens."""
    return [name for name, module in model.named_modules() if hasattr(module, 'draw_mask')]


def test_the_promised_recipes_are_there():
    names = {path.rsplit('.', 1)[0] for path in CONFIGS}
    assert names >= {f'swin-{size}_sbp-r{ratio}_32x2-30e_kinetics400'
                     for size in 'tb' for ratio in (1, 2, 4, 8)}
    assert names >= {f'swin-t_sbp-r4_32x2-30e_epic-kitchens55-{task}' for task in ('verb', 'noun')}
    assert names >= {f'{network}_sbp-r2_300e_imagenet'
                     for network in ('vit-t', 'vit-b', 'convnext-t', 'convnext-b')}


def test_every_recipe_has_a_row():
    rows = set(re.findall(r'`([\w-]+)`', TABLE))
    assert {path.rsplit('.', 1)[0] for path in CONFIGS} <= rows


@pytest.mark.parametrize('name', CONFIGS)
def test_config_is_short_because_it_inherits(name):
    lines = (FOLDER / name).read_text().splitlines()
    assert len(lines) < 15 and any(line.startswith('_base_ = ') for line in lines)


@pytest.mark.parametrize('network', SIZES)
def test_the_networks_are_the_published_ones_and_their_blocks_covered(network):
    name, = [name for name in CONFIGS if re.match(f'{network}_sbp-r2_', name)]
    cfg = launch.load_config(str(FOLDER / name))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(
        SIZES[network], abs=0.05)
    container, numbers = COVERED[network if network in COVERED else network.split('-')[0]]
    names = covered_blocks(model.backbone.backbone)
    assert len(names) == sum(numbers)
    for stage, number in enumerate(numbers):
        found = [name for name in names if name.startswith(f'{container}.{stage}.')
                 or name == f'{container}.{stage}']
        assert len(found) == number


@pytest.mark.parametrize('name, values', [
    ('swin-t_sbp-r2_32x2-30e_kinetics400', (2.5e-4, 0.1, 30)),
    ('swin-b_sbp-r2_32x2-30e_kinetics400', (1.5e-4, 0.2, 30)),
    ('vit-t_sbp-r2_300e_imagenet', (2e-3, None, 300)),
    ('vit-b_sbp-r2_300e_imagenet', (4e-3, 0.3, 300)),
    ('convnext-t_sbp-r2_300e_imagenet', (4e-3, 0.1, 300)),
    ('convnext-b_sbp-r2_300e_imagenet', (4e-3, 0.3, 300))])
def test_rates_are_the_published_ones(name, values):
    cfg = launch.load_config(str(FOLDER / f'{name}.py'))
    optimizer, backbone = cfg.optim_wrapper.optimizer, cfg.model.backbone.backbone
    assert optimizer.type == 'AdamW'
    assert (optimizer.lr, backbone.get('drop_path_rate'), cfg.train_cfg.max_epochs) == values


def test_clips_and_classes_are_the_published_ones():
    for name in CONFIGS:
        cfg = launch.load_config(str(FOLDER / name))
        dataset = name.split('_')[-1][:-3]
        classes = {'kinetics400': 400, 'imagenet': 1000, 'epic-kitchens55-verb': 125,
                   'epic-kitchens55-noun': 352}[dataset]
        assert cfg.model.cls_head.num_classes == classes
        samples = [t for t in cfg.train_pipeline if t.type == 'SampleFrames']
        assert all((t.clip_len, t.frame_interval) == (32, 2) for t in samples)
        assert bool(samples) == (dataset != 'imagenet')
        assert [t.type for t in cfg.train_dataloader.dataset.pipeline] == \
            [t.type for t in cfg.train_pipeline]


@pytest.mark.parametrize('name', rest_nightly(CONFIGS, TRAINED))
def test_config_trains_and_validates(name, clips, tmp_path):
    cfg = launch.load_config(str(FOLDER / name))
    ratio = keep_ratio_of(name)
    assert cfg.model.backbone.keep_ratio == ratio
    runner = launch.build_runner(shrink(cfg, clips, tmp_path, steps=1))
    before = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
    runner.train()
    assert runner.iter == 1
    changed = {key.split('.')[0] for key, p in runner.model.named_parameters()
               if not before[key].equal(p)}
    assert changed == {'backbone', 'cls_head'}
    accuracy, _ = runner.message_hub.get_scalar('val/acc/top1').data
    assert len(accuracy) == 1 and accuracy[0] * len(COLORS) in range(len(COLORS) + 1)
    if ratio < 1:
        assert saved_bytes(runner, ratio) < 0.95 * saved_bytes(runner, 1)
