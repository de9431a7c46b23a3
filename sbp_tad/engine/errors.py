"""Errors of this package that a caller can catch."""
from __future__ import annotations

from sbp_tad.errors import UserError


class HookError(UserError, ValueError):
    """A hook option outside its accepted values."""


class TrainingError(UserError, RuntimeError):
    """A training that must stop."""
