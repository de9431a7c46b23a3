"""Numbers in sentences."""
from __future__ import annotations


def count_of(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: ``1 action``, ``2 actions``."""
    return f'{number} {noun if number == 1 else plural or noun + "s"}'


def agreeing(number: int, one: str, several: str) -> str:
    """Return the word that agrees with a number, such as ``has`` or ``have``."""
    return one if number == 1 else several
