"""The errors of this package that a caller can catch."""
from __future__ import annotations

from sbp_tad.errors import UserError


class ModelError(UserError, ValueError):
    """A model that cannot be built, or inputs that it cannot take."""
