"""Feature files: read ``.npy``, ``.npz``, ``.pt``, HDF5 and ``.csv``, write all but the last.

A feature file may have a sidecar, a JSON file of the same name that states how
the features were extracted. ``tools/extract_features.py`` writes one.
"""
from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from sbp_tad.datasets.errors import VideoReadError
from sbp_tad.versions import VersionError

Array = Any  # has shape, dtype and slices: numpy array, memory map or h5py dataset

READ_ERRORS = (OSError, ValueError, KeyError, RuntimeError, EOFError, pickle.UnpicklingError,
               zipfile.BadZipFile)


def open_features(path: str | Path, key: str | None = None) -> Array:
    """Return the array of a feature file as stored; its values are read when it is sliced.

    Args:
        path: feature file; the suffix gives the format.
        key: name of the array in an ``.npz``, in a dict of a ``.pt`` or in an
            HDF5 file (groups are separated by ``/``); None if there is one only.

    Raises:
        VideoReadError: no such file, an unknown format, a damaged file, or
            content other than one numeric array of two dimensions.
        VersionError: HDF5 without h5py.
    """
    path = Path(path)
    if path.suffix not in READERS:
        raise VideoReadError(f'{path}: features are read from {", ".join(READERS)}. Set '
                             "filename_template, for example '{video_id}.npy'.")
    if not path.is_file():
        raise VideoReadError(f'{path}: no such feature file. Check data_root, data_prefix and '
                             'filename_template.')
    try:
        array = READERS[path.suffix](path, key)
    except VideoReadError:
        raise
    except READ_ERRORS as error:
        reason = str(error).strip().split('\n')[0][:200]
        raise VideoReadError(f'{path}: not readable as {path.suffix} ({reason}). Extract the '
                             'features anew.') from error
    if len(array.shape) != 2 or array.dtype.kind not in 'fiu':
        raise VideoReadError(f'{path}: features must be numbers of shape (T, C) or (C, T), got '
                             f'{array.dtype} of shape {tuple(array.shape)}.')
    return array


def feature_shape(path: str | Path, key: str | None = None) -> tuple[int, int]:
    """Return the shape of a file's array, cached until the file changes; errors as above."""
    path = Path(path)
    stat = path.stat() if path.is_file() else None
    return _shape(path, key, stat and (stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=16384)
def _shape(path: Path, key: str | None, _changed: tuple | None) -> tuple[int, int]:
    return tuple(open_features(path, key).shape)


def write_features(path: str | Path, features: np.ndarray) -> None:
    """Write (T, C) features atomically.

    Raises:
        VersionError: HDF5 without h5py.
    """
    path = Path(path)
    with replacing(path) as temporary:
        WRITERS[path.suffix](temporary, features)


def sidecar_path(path: str | Path) -> Path:
    """Return the path of a feature file's sidecar."""
    return Path(path).with_suffix('.json')


def read_sidecar(path: str | Path) -> dict[str, Any] | None:
    """Return the sidecar of a feature file; None without one.

    A JSON without ``fps``, ``stride_frames`` and ``window_frames`` is no sidecar.
    """
    try:
        content = json.loads(sidecar_path(path).read_text())
    except (OSError, ValueError):
        return None
    timing = ('fps', 'stride_frames', 'window_frames')
    ours = isinstance(content, dict) and set(timing) <= set(content)
    return content if ours else None


def write_sidecar(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write the sidecar of a feature file atomically."""
    with replacing(sidecar_path(path)) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + '\n')


class replacing:
    """Context manager for an atomic write: a temporary file that replaces ``path`` at the end.

    The temporary file lies in the same folder and is removed if the body fails.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f'.{path.stem}.{os.getpid()}{path.suffix}')

    def __enter__(self) -> Path:
        """Return the temporary file to write."""
        return self.temporary

    def __exit__(self, kind: type | None, *_: Any) -> None:
        """Rename the temporary file, or remove it after an error."""
        if kind is None:
            os.replace(self.temporary, self.path)
        else:
            self.temporary.unlink(missing_ok=True)


def import_h5py() -> ModuleType:
    """Import h5py, which only HDF5 files need.

    Raises:
        VersionError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise VersionError('HDF5 features need h5py, which is not installed: pip install '
                           "'sbp_tad[hdf5]', or use .npy files.") from error
    return h5py


def _pick(path: Path, content: Mapping[str, Any], key: str | None) -> Any:
    """Return the entry of a key, or the only entry."""
    if key is not None and key in content:
        return content[key]
    keys = list(content)
    if key is None and len(keys) == 1:
        return content[keys[0]]
    fault = f'there are {len(keys)} arrays' if key is None else f'there is no array {key!r}'
    raise VideoReadError(f'{path}: {fault}, the file holds {keys[:5]}. Set '
                         'source=dict(key=...) to one of them.')


def _read_npy(path: Path, key: str | None) -> Array:
    return np.load(path, mmap_mode='r', allow_pickle=False)


def _read_npz(path: Path, key: str | None) -> Array:
    # numpy does not close a damaged file that it opened itself
    with open(path, 'rb') as file, np.load(file, allow_pickle=False) as content:
        return _pick(path, content, key)


def _read_pt(path: Path, key: str | None) -> Array:
    content = torch.load(path, map_location='cpu', weights_only=True)
    tensor = _pick(path, content, key) if isinstance(content, dict) else content
    if not isinstance(tensor, torch.Tensor):
        raise VideoReadError(f'{path}: expected a tensor, or a dict of tensors and '
                             f'source=dict(key=...), got {type(tensor).__name__}.')
    return tensor.detach().float().numpy()  # numpy has no bfloat16


def _read_csv(path: Path, key: str | None) -> Array:
    # mmaction2's features: a line of names, then one line per step
    return np.loadtxt(path, dtype=np.float32, delimiter=',', skiprows=1, ndmin=2)


def _read_hdf5(path: Path, key: str | None) -> Array:
    h5py = import_h5py()
    array = _pick(path, h5py.File(path, 'r'), key)
    if not isinstance(array, h5py.Dataset):
        return _pick(path, array, None)
    return array  # the dataset keeps its file open


def _write_npy(path: Path, features: np.ndarray) -> None:
    np.save(path, features)


def _write_npz(path: Path, features: np.ndarray) -> None:
    np.savez_compressed(path, features=features)


def _write_pt(path: Path, features: np.ndarray) -> None:
    torch.save(torch.from_numpy(features), path)


def _write_hdf5(path: Path, features: np.ndarray) -> None:
    with import_h5py().File(path, 'w') as file:
        file['features'] = features


READERS: dict[str, Callable[[Path, str | None], Array]] = {
    '.npy': _read_npy, '.npz': _read_npz, '.pt': _read_pt, '.pth': _read_pt, '.h5': _read_hdf5,
    '.hdf5': _read_hdf5, '.csv': _read_csv}
WRITERS: dict[str, Callable[[Path, np.ndarray], None]] = {
    '.npy': _write_npy, '.npz': _write_npz, '.pt': _write_pt, '.h5': _write_hdf5}
