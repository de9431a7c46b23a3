"""The errors of this package that a caller can catch."""
from __future__ import annotations

from sbp_tad.errors import UserError


class HookError(UserError, ValueError):
    """An option of a hook that cannot work."""


class TrainingError(UserError, RuntimeError):
    """A training that must not go on."""
