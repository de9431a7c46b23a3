import torch

from sbp_tad.converters.renaming import Rule, rename, third


def test_every_matching_rule_applies_and_the_rest_is_named():
    weights = {'a.0.in': torch.arange(6.), 'b': torch.ones(1, 2, 1), 'c': torch.ones(1)}
    renamed, unmapped = rename(weights, [
        Rule(r'a\.(\d)\.in', r'q.\1', third(0)), Rule(r'a\.(\d)\.in', r'k.\1', third(1)),
        Rule('b', 'd', torch.flatten)])
    assert {name: weight.tolist() for name, weight in renamed.items()} == {
        'q.0': [0, 1], 'k.0': [2, 3], 'd': [1, 1]}
    assert unmapped == ['c']


def test_a_pattern_matches_whole_names():
    assert rename({'ab': torch.ones(1)}, [Rule('a', 'b')]) == ({}, ['ab'])
