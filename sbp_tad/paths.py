"""Safe file paths from names in data files. Standard library only."""
from __future__ import annotations

import os
import re
from pathlib import Path

from sbp_tad.errors import UserError


class UnsafePathError(UserError, ValueError):
    """A name from an annotation, result or archive that leads out of its folder."""


def path_within(folder: str | os.PathLike, name: str) -> Path:
    """Return the path ``folder/name`` if it lies inside the folder.

    Subfolders are allowed. Only the name is checked, so links inside the
    folder work.

    Args:
        folder: folder chosen by the user.
        name: name from a file, for example a video id with a suffix.

    Raises:
        UnsafePathError: an empty or absolute name, a name with ``..``, or
            with a character that file names cannot have.
    """
    # a backslash separates folders on some systems; files move between systems
    parts = re.split(r'[\\/]', name)
    drive = re.match(r'[A-Za-z]:[\\/]', name)
    if not name.strip('. \\/') or not parts[0] or drive or '..' in parts or '\0' in name:
        raise UnsafePathError(
            f'{name!r} cannot be a file in {folder}: expected a relative name without "..", '
            'because the name comes from a data file. Rename the video there.')
    return Path(folder) / name
