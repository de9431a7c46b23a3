"""The errors of this package that a caller can catch."""
from __future__ import annotations

from sbp_tad.errors import UserError


class PlanningError(UserError, ValueError):
    """Memory that cannot be planned, or a budget that nothing fits."""
