"""Numbers of classes: lists of class names in files, annotations and datasets."""
from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.json_files import read_json
from sbp_tad.text_files import SAVE_AS_UTF8, decode_text

_NUMBERED = re.compile(r'\s*(\d+)[\s,;:]+(\S.*?)\s*$')


def read_class_list(path: str | Path) -> dict[str, str]:
    """Read the name of each number from a file.

    Accepted are one name per line (numbers from 0), ``NUMBER NAME`` per line,
    a table with the columns ``id`` and ``key`` (EPIC-Kitchens), and JSON: a
    list of names, ``{name: number}`` or ``{number: name}``.

    Raises:
        EvaluationError: the file is missing, has another form, or gives a
            number twice.
    """
    try:
        text = decode_text(Path(path).read_bytes())
    except OSError as error:
        raise EvaluationError(
            f'Cannot read the class names in {path}: {error.strerror}.') from error
    except UnicodeError as error:
        raise EvaluationError(f'{path} is not text in UTF-8 or UTF-16: {error}. {SAVE_AS_UTF8}.'
                              ) from error
    lines = [line for line in text.splitlines() if line.strip()]
    if text.lstrip()[:1] in ('[', '{'):
        pairs = _pairs_of_json(text, path)
    elif lines and {'id', 'key'} <= {name.strip() for name in lines[0].split(',')}:
        pairs = [(row['id'].strip(), row['key'].strip())
                 for row in csv.DictReader(lines, skipinitialspace=True)]
    elif lines and all(map(_NUMBERED.match, lines)):
        pairs = [match.groups() for match in map(_NUMBERED.match, lines) if match]
    else:
        pairs = [(str(number), line.strip()) for number, line in enumerate(lines)]
    classes = {str(int(number)): name for number, name in pairs}
    if not classes or len(classes) < len(pairs):
        raise EvaluationError(f'{path}: expected a class name for each number, each number once; '
                              f'got {len(pairs)} lines with {len(classes)} different numbers.')
    return classes


def numbers_of_annotation(path: str | Path) -> dict[str, str]:
    """Return the name of each ``label_id`` of an annotation of ActionFormer; empty without.

    Raises:
        EvaluationError: a number has two names.
    """
    content = read_json(path, 'annotations')
    videos = content.get('database', {}) if isinstance(content, dict) else {}
    classes: dict[str, str] = {}
    for video in videos.values():
        for item in video.get('annotations', []) if isinstance(video, dict) else []:
            if isinstance(item, dict) and isinstance(item.get('label_id'), int):
                number, name = str(item['label_id']), str(item.get('label'))
                if classes.setdefault(number, name) != name:
                    raise EvaluationError(
                        f'{path}: label_id {number} is both {classes[number]!r} and {name!r}. '
                        'Correct the annotation, or give a file to --labels-by-index.')
    return dict(sorted(classes.items(), key=lambda pair: int(pair[0])))


def numbered(names: Sequence[str]) -> dict[str, str]:
    """Return the names by their number, from 0."""
    return {str(number): name for number, name in enumerate(names)}


def _pairs_of_json(text: str, path: str | Path) -> list[Any]:
    try:
        content = json.loads(text)
        if isinstance(content, list) and all(isinstance(name, str) for name in content):
            return list(numbered(content).items())
        if isinstance(content, dict) and all(isinstance(n, int) for n in content.values()):
            return [(str(number), name) for name, number in content.items()]
        if isinstance(content, dict) and all(key.isdigit() and isinstance(name, str)
                                             for key, name in content.items()):
            return list(content.items())
    except ValueError as error:
        raise EvaluationError(f'{path} is not valid JSON: {error}.') from error
    raise EvaluationError(f'{path}: expected a list of class names, {{name: number}} or '
                          '{number: name}.')
