"""Errors of this package that a caller can catch."""
from __future__ import annotations

from sbp_tad.errors import UserError


class BenchmarkError(UserError, ValueError):
    """A measurement that cannot be made."""
