"""Errors of this package that a caller can catch."""
from __future__ import annotations

from sbp_tad.errors import UserError


class EvaluationError(UserError, ValueError):
    """Predictions, ground truth or options that cannot be scored."""
