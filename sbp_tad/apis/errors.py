"""The errors of this package that a caller can catch."""
from __future__ import annotations

from sbp_tad.errors import UserError


class InferenceError(UserError, ValueError):
    """Input, or an option, that a trained detector cannot be run on."""
