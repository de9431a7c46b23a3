"""Numpy arrays and scalars of a checkpoint, rebuilt by own functions that check every size.

numpy's own ones trust the pickle: a data type whose size is changed after its
array was made lets the array read and write memory that it does not own.
"""
from __future__ import annotations

from pickle import UnpicklingError
from typing import Any

import numpy as np

KINDS = '?bhilqBHILQefdSU'  # truth values, integers, floats, bytes and text; no objects


class PickledDtype:
    """A data type as a pickle describes it; changes of its size are refused.

    Args:
        code: such as ``'f8'``.
        align, copy: accepted as numpy writes them, without effect.

    Raises:
        UnpicklingError: not a plain number or text.
    """

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        found = np.dtype(code) if isinstance(code, str) else None
        if found is None or found.char not in KINDS or found.hasobject:
            raise UnpicklingError(f'an array of a checkpoint has the data type {code!r}; only '
                                  'numbers and text are read')
        self.dtype = found

    def __setstate__(self, state: tuple) -> None:
        """Take the byte order; everything else must be as the code says."""
        _, order, subarray, names, fields, size = state[:6]
        if order not in ('<', '>', '=', '|') or (subarray, names, fields) != (None, None, None) or \
                size not in (-1, self.dtype.itemsize):
            raise UnpicklingError('a data type of a checkpoint contradicts itself')
        if order in '<>':
            self.dtype = self.dtype.newbyteorder(order)


class PickledArray(np.ndarray):
    """An array whose pickled state is checked before it is taken; pickled as a plain array."""

    def __setstate__(self, state: tuple) -> None:  # type: ignore[override]  # numpy's takes more
        """Take shape, data type and bytes that fit each other."""
        _, shape, pickled, is_fortran, raw = state
        if not isinstance(pickled, PickledDtype) or not isinstance(raw, bytes):
            raise UnpicklingError('an array of a checkpoint is not made of numbers or text')
        sizes = tuple(int(size) for size in shape)
        wanted = pickled.dtype.itemsize
        for size in sizes:
            wanted *= size
        if min(sizes, default=0) < 0 or wanted != len(raw):
            raise UnpicklingError(
                f'an array of a checkpoint has shape {sizes} and {len(raw)} bytes')
        super().__setstate__((1, sizes, np.dtype(pickled.dtype), bool(is_fortran), raw))

    def __reduce__(self) -> Any:
        """Pickle as a plain array, which every program reads."""
        return self.view(np.ndarray).__reduce__()


def rebuild_array(kind: type, shape: tuple, code: bytes) -> PickledArray:
    """Return the empty array that a pickle fills with its state."""
    if not (isinstance(kind, type) and issubclass(kind, PickledArray)):
        raise UnpicklingError('an array of a checkpoint has an unknown type')
    return kind((0, ), np.int8)


def rebuild_scalar(pickled: PickledDtype, raw: bytes) -> Any:
    """Return a numpy scalar."""
    if not isinstance(pickled, PickledDtype) or not isinstance(raw, bytes) or \
            len(raw) != pickled.dtype.itemsize:
        raise UnpicklingError('a number of a checkpoint does not have the bytes of its type')
    return np.frombuffer(raw, pickled.dtype)[0]


# torch looks for them under numpy's names, and compares types by identity.
NAMED_ARRAY = type('ndarray', (PickledArray, ), dict(__module__='numpy'))
NAMED_DTYPE = type('dtype', (PickledDtype, ), dict(__module__='numpy'))
