"""Errors of this package that a caller can catch."""
from __future__ import annotations

from sbp_tad.errors import UserError


class DatasetError(UserError, ValueError):
    """Unusable annotation, data set, window or conversion."""


class VideoReadError(UserError, OSError):
    """Unreadable video, frame folder or feature file."""


class ResumeError(UserError, ValueError):
    """Training that cannot be resumed exactly."""
