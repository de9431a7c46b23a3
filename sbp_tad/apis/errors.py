"""Errors of this package that a caller can catch."""
from __future__ import annotations

from sbp_tad.errors import UserError


class InferenceError(UserError, ValueError):
    """Invalid input or option of the inference with a trained detector."""
