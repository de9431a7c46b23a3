"""Errors of this package that a caller can catch."""
from __future__ import annotations

from sbp_tad.errors import ConfigError


class ComparisonError(ConfigError):
    """Strategies that cannot be compared."""


class RunHeldError(ComparisonError):
    """A run that another process is working on."""


class RunFailedError(ComparisonError):
    """A run that ended with an error."""
