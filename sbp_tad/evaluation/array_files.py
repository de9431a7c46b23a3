"""Files of named arrays (``.npz``), read without ever loading a pickled object."""
from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sbp_tad.errors import UserError


def read_arrays(path: str | Path, required: Sequence[str], optional: Sequence[str], content: str,
                error_type: type[UserError]) -> dict[str, np.ndarray]:
    """Read the arrays of an ``.npz`` file by name; an optional array may be absent.

    Args:
        path: the file.
        required: names of the arrays that the file must hold.
        optional: names of the arrays that it may hold.
        content: description of the contents, for the message.
        error_type: type of the error if the file is missing, damaged or lacks an array.
    """
    try:
        with open(path, 'rb') as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise error_type(f'{path} holds a single array, expected an .npz file with '
                                 f'{", ".join(required)}.')
            missing = [name for name in required if name not in file]
            if missing:
                raise error_type(f'{path}: expected the arrays {", ".join(required)}, '
                                 f'{", ".join(missing)} missing among {sorted(file)}.')
            return {name: file[name] for name in (*required, *optional) if name in file}
    except FileNotFoundError as error:
        raise error_type(f'{path}: no such file of {content}. Check the path.') from error
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise error_type(f'{path} cannot be read as .npz file: {error}.') from error
    except ValueError as error:
        if isinstance(error, error_type):
            raise
        raise error_type(
            f'{path} is not an .npz file of plain arrays; pickled objects are never loaded. Write '
            'numbers and strings with numpy.savez.') from error


def write_arrays(path: str | Path, arrays: dict[str, np.ndarray], content: str,
                 error_type: type[UserError]) -> None:
    """Write a compressed ``.npz`` file for :func:`read_arrays`."""
    try:
        with open(path, 'wb') as file:  # savez would add .npz to another name
            columns: dict[str, Any] = dict(arrays)  # mypy takes the last for ``allow_pickle``
            np.savez_compressed(file, **columns)
    except OSError as error:
        raise error_type(f'Cannot write the {content} to {path}: {error.strerror}.') from error
