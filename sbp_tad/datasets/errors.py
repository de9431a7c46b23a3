"""The errors of this package that a caller can catch."""
from __future__ import annotations

from sbp_tad.errors import UserError


class DatasetError(UserError, ValueError):
    """An annotation, data set, window or conversion that cannot be used as it is."""


class VideoReadError(UserError, OSError):
    """A video, frame folder or feature file that cannot be read."""


class ResumeError(UserError, ValueError):
    """A training that cannot continue exactly."""
