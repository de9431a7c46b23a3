"""Files whose names come from data stay in the folder they belong to. Standard library only."""
from __future__ import annotations

import os
import re
from pathlib import Path

from sbp_tad.errors import UserError


class UnsafePathError(UserError, ValueError):
    """A name from an annotation, result or archive leads out of its folder."""


def path_within(folder: str | os.PathLike, name: str) -> Path:
    """The path ``folder/name``, which the name cannot lead out of.

    Subfolders are allowed. The check is of the name alone, so that links
    which the user has set inside the folder work.

    Args:
        folder: chosen by the user.
        name: from a file, such as a video id with a suffix.

    Raises:
        UnsafePathError: an empty or absolute name, ``..`` in it, or a
            character that no file name has.
    """
    # a backslash parts names on some systems; ids are carried from one to another
    parts = re.split(r'[\\/]', name)
    drive = re.match(r'[A-Za-z]:[\\/]', name)
    if not name.strip('. \\/') or not parts[0] or drive or '..' in parts or '\0' in name:
        raise UnsafePathError(
            f'{name!r} cannot be a file below {folder}: expected a relative name without "..", '
            'since names come from a file that others may have written. Rename the video there.')
    return Path(folder) / name
