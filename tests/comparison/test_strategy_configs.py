"""Configs that train their backbone by another strategy."""
import pytest
from mmengine.registry import DefaultScope
from strategy_cases import FRAMES, R3D, VIT

from sbp_tad.apis.launch import load_config
from sbp_tad.comparison.errors import ComparisonError
from sbp_tad.comparison.specs import SPECS, parse_strategy
from sbp_tad.comparison.strategy_configs import apply_strategy
from sbp_tad.models.backbones.strategies import STRATEGIES
from sbp_tad.registry import MODELS

CONFIGS = dict(token=(VIT, {}), adapters=(VIT, {}), sideways=(R3D, FRAMES))


def build(cfg):
    with DefaultScope.overwrite_default_scope('sbp_tad'):
        return MODELS.build(cfg.model).train()


def applied(text, path=R3D, **options):
    return apply_strategy(load_config(path, options), parse_strategy(text))


@pytest.mark.parametrize('keyword', SPECS)
def test_every_keyword_builds_a_model_of_its_mode(keyword):
    path, options = CONFIGS.get(keyword, (R3D, {}))
    strategy = parse_strategy(keyword)
    backbone = build(apply_strategy(load_config(path, options), strategy)).backbone
    assert backbone.mode == SPECS[keyword].mode
    kept = strategy.number if STRATEGIES[backbone.mode].has_keep_ratio else 1.0
    assert backbone.config.keep_ratio == kept


def test_accumulation_parts_the_batch():
    cfg = applied('accumulation:4')
    assert cfg.train_dataloader.batch_size == 2 and cfg.optim_wrapper.accumulative_counts == 4
    with pytest.raises(ComparisonError, match='accumulation:3 splits .*batch_size = 8, which'):
        applied('accumulation:3')


def test_frozen_stages_are_the_first_of_the_backbone():
    network = build(applied('frozen-stages:2')).backbone.backbone
    is_trained = {name: [p.requires_grad for p in getattr(network, name).parameters()]
                  for name in ('conv1', 'layer1', 'layer2', 'layer3')}
    assert {name for name, flags in is_trained.items() if any(flags)} == {'layer3'}
    assert all(is_trained['layer3'])


def test_arguments_stay_where_the_other_strategy_takes_them():
    sampler = {'model.backbone.sampler': 'random', 'model.backbone.rescale': False}
    assert applied('deferred', **sampler).model.backbone.sampler == 'random'
    assert applied('guided', **sampler).model.backbone.sampler == 'gradient'
    full = applied('full', **sampler).model.backbone
    assert 'sampler' not in full and 'rescale' not in full and full.keep_ratio == 1.0
    guided = {'model.backbone.mode': 'deferred', 'model.backbone.sampler': 'gradient'}
    assert 'sampler' not in applied('direct', **guided).model.backbone
    tokens = {'model.backbone.token_blocks': ['blocks.0']}
    assert applied('token:0.5', VIT, **tokens).model.backbone.token_blocks == ['blocks.0']
    assert 'token_blocks' not in applied('direct', VIT, **tokens).model.backbone
    blocks = {'model.backbone.mode': 'frozen', 'model.backbone.options': dict(blocks=['conv1'])}
    assert applied('frozen', **blocks).model.backbone.options.blocks == ['conv1']
    assert 'options' not in applied('full', **blocks).model.backbone
    budget = {'model.backbone.keep_ratio': 'auto', 'model.backbone.memory_budget': '1GiB'}
    assert build(applied('direct:0.5', **budget)).backbone.config.keep_ratio == 0.5


def test_the_config_of_the_caller_stays_as_it_was():
    cfg = load_config(R3D)
    before = cfg.to_dict()
    apply_strategy(cfg, parse_strategy('accumulation'))
    assert cfg.to_dict() == before


def test_a_plain_backbone_and_an_absent_mode_are_refused(monkeypatch):
    cfg = load_config(R3D)
    cfg.model.backbone = cfg.model.backbone.backbone
    with pytest.raises(ComparisonError, match="is 'ResNet3d'; wrap it"):
        apply_strategy(cfg, parse_strategy('full'))
    monkeypatch.delitem(STRATEGIES, 'dropit')
    with pytest.raises(ComparisonError, match="'dropit:0.25' needs mode 'dropit' of SBPBackbone"):
        applied('dropit')
