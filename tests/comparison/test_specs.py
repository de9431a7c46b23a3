"""Strategies of the command line: their keywords, numbers, names and refusals."""
import pytest
from strategy_cases import R3D

from sbp_tad.apis.launch import load_config
from sbp_tad.comparison.errors import ComparisonError
from sbp_tad.comparison.specs import SPECS, parse_strategies, parse_strategy
from sbp_tad.comparison.strategy_configs import apply_strategy
from sbp_tad.models.backbones.strategies import STRATEGIES


def test_every_mode_has_a_keyword():
    assert {spec.mode for spec in SPECS.values()} == set(STRATEGIES)


@pytest.mark.parametrize('text, name, number, folder', [
    ('direct', 'direct:0.25', 0.25, 'direct_0.25'), ('direct:.50', 'direct:0.5', 0.5, 'direct_0.5'),
    ('full', 'full', None, 'full'), ('accumulation', 'accumulation:4', 4, 'accumulation_4'),
    ('frozen-stages:2', 'frozen-stages:2', 2, 'frozen-stages_2'),
    ('slow=direct:0.5', 'slow', 0.5, 'slow')])
def test_names_numbers_and_folders(text, name, number, folder):
    strategy = parse_strategy(text)
    assert (strategy.name, strategy.number, strategy.folder) == (name, number, folder)


@pytest.mark.parametrize('text, message', [
    ('sbp', r"unknown strategy 'sbp'; choose from full, frozen, "),
    ('full:0.5', "strategy 'full' takes no number, got '0.5'"),
    ('direct:0', r"takes a keep ratio in \(0, 1\], such as direct:0.25, got '0'"),
    ('direct:many', "takes a keep ratio .* got 'many'"),
    ('direct:nan', "takes a keep ratio .* got 'nan'"),
    ('accumulation:0', "a whole number of at least 1, such as accumulation:4, got '0'"),
    ('frozen-stages:1.5', "a whole number of at least 1, .* got '1.5'"),
    ('../x=direct', 'the name of a strategy has letters'),
    ('=direct', 'the name of a strategy has')])
def test_what_is_no_strategy_is_a_sentence(text, message):
    with pytest.raises(ComparisonError, match=message):
        parse_strategy(text)


def test_names_are_unique_and_options_are_for_one_of_them():
    with pytest.raises(ComparisonError, match='has direct:0.25 more than once; give one of them'):
        parse_strategies(['direct', 'full', 'direct:0.25'])
    with pytest.raises(ComparisonError, match='--strategy-options are for dropit:0.25, but '
                       '--strategies has full'):
        parse_strategies(['full'], {'dropit': {}})
    lr = {'optim_wrapper.optimizer.lr': 1e-4}
    fast, slow = parse_strategies(['direct', 'slow=direct'], {'slow': lr})
    rates = [apply_strategy(load_config(R3D), one).optim_wrapper.optimizer.lr
             for one in (fast, slow)]
    assert rates == [3e-3, 1e-4]
    short, = parse_strategies(['direct'], {'direct': lr})  # as short as on the command line
    assert short.options == lr
