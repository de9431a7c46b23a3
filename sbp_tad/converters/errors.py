"""Errors of the converters."""
from __future__ import annotations

from sbp_tad.checkpoint_safety import CheckpointError


class ConversionError(CheckpointError):
    """A checkpoint is not one of the code base, or does not fit the model."""
