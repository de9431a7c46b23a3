"""Memory budgets as text: parsed to bytes, and formatted."""
from __future__ import annotations

from sbp_tad.planning.errors import PlanningError

UNITS = {'KiB': 2 ** 10, 'MiB': 2 ** 20, 'GiB': 2 ** 30, 'TiB': 2 ** 40,
         'kB': 10 ** 3, 'MB': 10 ** 6, 'GB': 10 ** 9, 'TB': 10 ** 12}


def parse_budget(text: str | int) -> int:
    """Parse ``'8GiB'``, ``'500 MB'`` or a number of bytes to bytes.

    Raises:
        PlanningError: not a positive number with one of the units.
    """
    written = str(text).strip()
    unit = next((unit for unit in UNITS if written.lower().endswith(unit.lower())), '')
    try:
        budget = float(written[:len(written) - len(unit)]) * UNITS.get(unit, 1)
        if not 1 <= budget < 2 ** 60:
            raise ValueError
    except ValueError as error:
        raise PlanningError(f'the memory budget must be a number with one of the units '
                            f'{", ".join(UNITS)}, such as 8GiB, got {text!r}.') from error
    return int(budget)


def format_bytes(size: int) -> str:
    """Format bytes in GiB, small sizes in MiB."""
    return f'{size / 2 ** 30:.2f} GiB' if size >= 2 ** 30 else f'{size / 2 ** 20:.1f} MiB'
