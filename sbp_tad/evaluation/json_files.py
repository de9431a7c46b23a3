"""JSON files, plain or gzipped, with a check for keys that occur twice."""
from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.text_files import SAVE_AS_UTF8

NUM_NAMED = 3
# First bytes of files that users mistake for JSON, and what to do with them.
_OTHER_FORMATS = {
    b'\x80': 'It is a pickle: name it .pkl to have plain columns read.',
    b'PK\x03\x04': 'It is a .npz or .zip file: tools/tune_nms.py reads raw predictions, '
                   '--online of tools/evaluate.py frame scores.',
    b'\x89HDF': 'It is an HDF5 file: write the detections as JSON or csv.',
    b'\x93NUMPY': 'It is a numpy array: write the detections as JSON or csv.',
}


def read_json(path: str | Path, content: str) -> Any:
    """Read a JSON file.

    Args:
        path: the file, plain or gzipped.
        content: description of the contents, for the message.

    Raises:
        EvaluationError: the file is missing or not JSON, or an object holds a
            key twice: JSON readers then drop one of the two values.
    """
    repeated: dict[str, int] = {}

    def as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated.update((key, keys.count(key)) for key in found if keys.count(key) > 1)
        return found

    found = _parse(Path(path), content, as_dict)
    if repeated:
        named = ', '.join(f'{key!r} ({count} times)'
                          for key, count in list(repeated.items())[:NUM_NAMED])
        raise EvaluationError(
            f'{path}: an object of the JSON holds a key more than once: {named}'
            f'{", ..." * (len(repeated) > NUM_NAMED)}. Only one of the values would be read. Join '
            'the entries of a video under one key, or rename one of them.')
    return found


def _parse(path: Path, content: str, as_dict: Any) -> Any:
    try:
        text = path.read_bytes()
        if text[:2] == b'\x1f\x8b':
            text = gzip.decompress(text)
        for start, advice in _OTHER_FORMATS.items():
            if text.startswith(start):
                raise EvaluationError(f'{path} is not JSON. {advice}')
        return json.loads(text, object_pairs_hook=as_dict)
    except (OSError, EOFError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise EvaluationError(f'Cannot read the {content} in {path}: {reason}.') from error
    except UnicodeError as error:
        raise EvaluationError(f'{path} is not text in UTF-8: {error}. {SAVE_AS_UTF8}.') from error
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f'{path} is not valid JSON: {error}.') from error
