"""Errors of this package that a caller can catch."""
from __future__ import annotations

from sbp_tad.errors import UserError


class VisualizationError(UserError, ValueError):
    """Something that cannot be drawn, or a report that cannot be written."""
