"""Token-level SBP of every backbone family in two processes: the gradients of one."""
from importlib import import_module

import pytest
from token_settings import check_distributed, turn_off_dropout

from sbp_tad.sbp import TokenSBPConfig, apply_sbp

FAMILIES = ('mvit', 'swin', 'timesformer', 'uniformer', 'videomae')


def cases_of(family):
    return import_module(f'tests.models.token_forms.test_{family}').CASES


def build_for_two(family_and_case):
    family, case = family_and_case
    model, x = cases_of(family)[case].make()
    turn_off_dropout(model)
    apply_sbp(model, TokenSBPConfig(keep_ratio=0.3))
    return model, x


@pytest.mark.slow
def test_two_processes():
    check_distributed(build_for_two, [(family, case) for family in FAMILIES
                                      for case in cases_of(family)])
