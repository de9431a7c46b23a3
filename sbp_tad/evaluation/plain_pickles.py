"""Safe reading of pickles: numbers, text, plain containers and numpy arrays."""
from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from sbp_tad.evaluation.errors import EvaluationError

# Functions and types by which numpy arrays and scalars are rebuilt; none of them runs code.
_ALLOWED = {(f'numpy.{core}.multiarray', name) for core in ('core', '_core')
            for name in ('_reconstruct', 'scalar')}
_ALLOWED |= {(f'numpy.{core}.numeric', '_frombuffer') for core in ('core', '_core')}
_ALLOWED |= {('numpy', 'ndarray'), ('numpy', 'dtype'), ('_codecs', 'encode'),
             ('collections', 'OrderedDict')}


class _PlainUnpickler(pickle.Unpickler):
    """Unpickler that builds no objects but numpy arrays and scalars."""

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed type, refuse all others."""
        if (module, name) in _ALLOWED or (module == 'numpy.dtypes' and name.endswith('DType')):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f'{module}.{name}')


def read_plain_pickle(path: str | Path) -> Any:
    """Read a pickle of plain containers and numpy arrays; no other object is built.

    Raises:
        EvaluationError: the file is missing, damaged or holds other objects.
    """
    try:
        with open(path, 'rb') as file:
            return _PlainUnpickler(file).load()
    except OSError as error:
        raise EvaluationError(
            f'Cannot read the detections in {path}: {error.strerror}.') from error
    except pickle.UnpicklingError as error:
        held = str(error)
        advice = 'pandas: write it with to_csv(FILE.csv)' if held.startswith('pandas') else \
            'torch: convert tensors with .numpy(); of OpenTAD use result_detection.json' \
            if held.startswith('torch') else 'write the detections as JSON or csv'
        raise EvaluationError(
            f'{path} is not a pickle of plain columns ({held}). Only numbers, text, lists, '
            'dictionaries and numpy arrays are read, because other pickled objects could run '
            f'code ({advice}).') from error
    except (EOFError, ValueError, IndexError, KeyError, AttributeError, TypeError, ImportError,
            MemoryError, UnicodeDecodeError) as error:
        raise EvaluationError(f'{path} is not a pickle, or a damaged one: {error}.') from error
