"""Words of strategies: what they stand for, and what is refused."""
import pytest
from mmengine.registry import DefaultScope
from strategy_cases import FRAMES, R3D, VIT

from sbp_tad.apis.launch import load_config
from sbp_tad.comparison.errors import ComparisonError
from sbp_tad.comparison.specs import WORDS, apply_strategy, parse_strategies, parse_strategy
from sbp_tad.models.backbones.strategies import STRATEGIES
from sbp_tad.registry import MODELS

CONFIGS = dict(token=(VIT, {}), adapters=(VIT, {}), sideways=(R3D, FRAMES))


def build(cfg):
    with DefaultScope.overwrite_default_scope('sbp_tad'):
        return MODELS.build(cfg.model).train()


def applied(word, path=R3D, **options):
    return apply_strategy(load_config(path, options), parse_strategy(word))


@pytest.mark.parametrize('word', WORDS)
def test_every_word_builds_a_model_of_its_mode(word):
    path, options = CONFIGS.get(word, (R3D, {}))
    choice = parse_strategy(word)
    backbone = build(apply_strategy(load_config(path, options), choice)).backbone
    assert backbone.mode == WORDS[word].mode
    kept = choice.argument if STRATEGIES[backbone.mode].has_keep_ratio else 1.0
    assert backbone.config.keep_ratio == kept


def test_every_mode_has_a_word():
    assert {word.mode for word in WORDS.values()} == set(STRATEGIES)


@pytest.mark.parametrize('text, name, argument, folder', [
    ('direct', 'direct:0.25', 0.25, 'direct_0.25'), ('direct:.50', 'direct:0.5', 0.5, 'direct_0.5'),
    ('full', 'full', None, 'full'), ('accumulation', 'accumulation:4', 4, 'accumulation_4'),
    ('frozen-stages:2', 'frozen-stages:2', 2, 'frozen-stages_2'),
    ('slow=direct:0.5', 'slow', 0.5, 'slow')])
def test_names_arguments_and_folders(text, name, argument, folder):
    choice = parse_strategy(text)
    assert (choice.name, choice.argument, choice.folder) == (name, argument, folder)


@pytest.mark.parametrize('text, message', [
    ('sbp', r"no strategy is called 'sbp'; choose from full, frozen, "),
    ('full:0.5', "strategy 'full' takes nothing behind a colon, got '0.5'"),
    ('direct:0', r"takes a ratio in \(0, 1\] behind the colon, such as direct:0.25, got '0'"),
    ('direct:many', "takes a ratio .* got 'many'"), ('direct:nan', "takes a ratio .* got 'nan'"),
    ('accumulation:0', "a whole number of at least 1 .* such as accumulation:4, got '0'"),
    ('frozen-stages:1.5', "a whole number of at least 1 .* got '1.5'"),
    ('../x=direct', 'a name of a strategy has letters'), ('=direct', 'a name of a strategy has')])
def test_what_no_word_is_a_sentence(text, message):
    with pytest.raises(ComparisonError, match=message):
        parse_strategy(text)


def test_names_are_unique_and_options_are_for_one_of_them():
    with pytest.raises(ComparisonError, match='named direct:0.25 more than once; give one another'):
        parse_strategies(['direct', 'full', 'direct:0.25'])
    with pytest.raises(ComparisonError, match='--strategy-options are for dropit:0.25, but the '
                       'strategies are full'):
        parse_strategies(['full'], {'dropit': {}})
    lr = {'optim_wrapper.optimizer.lr': 1e-4}
    fast, slow = parse_strategies(['direct', 'slow=direct'], {'slow': lr})
    rates = [apply_strategy(load_config(R3D), one).optim_wrapper.optimizer.lr
             for one in (fast, slow)]
    assert rates == [3e-3, 1e-4]
    short, = parse_strategies(['direct'], {'direct': lr})  # as short as on the command line
    assert short.options == lr


def test_accumulation_parts_the_batch():
    cfg = applied('accumulation:4')
    assert cfg.train_dataloader.batch_size == 2 and cfg.optim_wrapper.accumulative_counts == 4
    with pytest.raises(ComparisonError, match='accumulation:3 parts a batch of 8, which 3'):
        applied('accumulation:3')


def test_frozen_stages_are_the_first_of_the_backbone():
    network = build(applied('frozen-stages:2')).backbone.backbone
    is_trained = {name: [p.requires_grad for p in getattr(network, name).parameters()]
                  for name in ('conv1', 'layer1', 'layer2', 'layer3')}
    assert {name for name, flags in is_trained.items() if any(flags)} == {'layer3'}
    assert all(is_trained['layer3'])


def test_choices_stay_where_the_other_strategy_has_them():
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
    with pytest.raises(ComparisonError, match="is of type 'ResNet3d'; wrap it"):
        apply_strategy(cfg, parse_strategy('full'))
    monkeypatch.delitem(STRATEGIES, 'dropit')
    with pytest.raises(ComparisonError, match="'dropit:0.25' needs mode 'dropit' of SBPBackbone"):
        applied('dropit')
