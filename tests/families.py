"""Cases of one family: some run with every change, the others in the nightly."""
from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest


def rest_nightly(names: Iterable[str], kept: Collection[str]) -> list:
    """Parameters of a test: ``kept`` run by default, the other ``names`` in the nightly.

    Raises:
        ValueError: a kept name that does not exist, which would leave a family untested.
    """
    names = list(names)
    if unknown := set(kept) - set(names):
        raise ValueError(f'kept cases that do not exist: {sorted(unknown)}')
    return [name if name in kept else pytest.param(name, marks=pytest.mark.nightly)
            for name in names]
