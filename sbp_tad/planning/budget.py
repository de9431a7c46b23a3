"""Memory budgets as text: parsed to bytes, and formatted."""
from __future__ import annotations

from sbp_tad.planning.errors import PlanningError

UNITS = {'KiB': 2 ** 10, 'MiB': 2 ** 20, 'GiB': 2 ** 30, 'TiB': 2 ** 40,
         'kB': 10 ** 3, 'MB': 10 ** 6, 'GB': 10 ** 9, 'TB': 10 ** 12}


def parse_budget(text: str | int) -> int:
    """Parse ``'8GiB'`` or ``'500 MB'`` to bytes; a number, not text, is a number of bytes.

    Raises:
        PlanningError: not a positive number with one of the units.
    """
    written = str(text).strip()
    is_bytes = isinstance(text, int) and not isinstance(text, bool)
    unit = next((unit for unit in UNITS if written.lower().endswith(unit.lower())), '')
    try:
        budget = float(written[:len(written) - len(unit)]) * UNITS.get(unit, 1)
        if not 1 <= budget < 2 ** 60 or not (unit or is_bytes):
            raise ValueError
    except ValueError as error:
        raise PlanningError(f'the memory budget must be a number with one of the units '
                            f'{", ".join(UNITS)}, for example 8GiB, 8GB or 800MiB, got '
                            f'{text!r}.') from error
    return int(budget)


def format_bytes(size: int) -> str:
    """Format bytes in GiB, small sizes in MiB."""
    return f'{size / 2 ** 30:.2f} GiB' if size >= 2 ** 30 else f'{size / 2 ** 20:.1f} MiB'
