"""Budgets as text."""
from __future__ import annotations

import pytest

from sbp_tad.planning.budget import format_bytes, parse_budget
from sbp_tad.planning.errors import PlanningError


@pytest.mark.parametrize('text, expected', [
    ('8GiB', 8 * 2 ** 30), ('8 gib', 8 * 2 ** 30), ('1.5MB', 1_500_000), ('24GB', 24 * 10 ** 9),
    (4096, 4096), ('100KiB', 102_400)])
def test_budgets(text, expected):
    assert parse_budget(text) == expected


@pytest.mark.parametrize('text', ['', 'GiB', '8 parsecs', '-1GiB', '0', 'nan', 'inf GiB', None,
                                  '8', '512', True])
def test_budget_that_cannot_be_read(text):
    with pytest.raises(PlanningError, match='memory budget must be a number with one of the units'):
        parse_budget(text)


def test_words():
    assert format_bytes(3 * 2 ** 29) == '1.50 GiB' and format_bytes(2 ** 19) == '0.5 MiB'
