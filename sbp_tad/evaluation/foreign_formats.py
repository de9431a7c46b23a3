"""Detections in the formats of other code bases, as ``{video: [detection]}``.

- JSON lists of detections, or of videos with ``proposal_list`` (mmaction2) or
  ``detections`` (``tools/infer.py --format json``);
- tables (``.csv``, ``.tsv``) with a header, such as ActivityNet's data frames;
- tables without header (``.txt``) of the THUMOS'14 challenge;
- pickled columns (``.pkl``) of ActionFormer.
"""
from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.plain_pickles import read_plain_pickle
from sbp_tad.text_files import SAVE_AS_UTF8, decode_text

Results = dict[str, list[dict[str, Any]]]

# Accepted names of each column, compared in lower case and without - _ and spaces.
COLUMN_NAMES: Mapping[str, tuple[str, ...]] = {
    'video': ('videoid', 'video', 'videoname', 'vid', 'filename'),
    'start': ('tstart', 'start', 'starttime', 'startseconds', 'segmentstart', 'begin'),
    'end': ('tend', 'end', 'endtime', 'endseconds', 'segmentend', 'stop', 'stoptime'),
    'label': ('label', 'class', 'classname', 'category', 'labelid', 'classid', 'action'),
    'score': ('score', 'confidence', 'conf', 'probability'),
}
ACTIVITYNET_COLUMNS = 'video-id, t-start, t-end, label, score'


def results_of_list(entries: list[Any], path: str | Path) -> Results:
    """Group a flat list of detections by video.

    Raises:
        EvaluationError: the entries do not name their videos.
    """
    results: Results = {}
    for number, entry in enumerate(entries):
        names = _columns_of(entry) if isinstance(entry, dict) else {}
        video = entry.get(names['video']) if 'video' in names else None
        if not isinstance(video, str):
            raise EvaluationError(
                f'{path}: the content is a list whose entry {number} names no video: '
                f'{str(entry)[:200]}. Expected {{video: [{{"segment", "label", "score"}}]}}, or a '
                'list of {"video_id", "segment", "label", "score"}.')
        of_video = entry.get('proposal_list', entry.get('detections'))
        results.setdefault(video, []).extend(
            map(_with_segment, of_video if isinstance(of_video, list) else [entry]))
    return results


def read_table(path: str | Path) -> Results:
    """Read a table with a header.

    Raises:
        EvaluationError: a column is missing or occurs twice, or a value is not a number.
    """
    rows = _rows(path)
    header = rows[0] if rows else []
    columns = _columns_of(header)
    twice = [name for name in columns.values() if header.count(name) > 1]
    if twice:
        raise EvaluationError(f'{path}: the header of the table has a column more than once: '
                              f'{", ".join(twice)}. Remove or rename all but one of each.')
    names = {key: header.index(name) for key, name in columns.items()}
    missing = [key for key in ('video', 'start', 'end', 'score') if key not in names]
    if missing:
        raise EvaluationError(
            f'{path}: the header of the table has no column for {", ".join(missing)}; it is '
            f'{", ".join(header[:10]) or "empty"}. Name the columns {ACTIVITYNET_COLUMNS}'
            + (', and join the tables of all videos.' if missing == ['video'] else '.'))
    return _group((row, f'{path}, line {line}') for line, row in enumerate(
        (_pick(row, names, f'{path}, line {number}')
         for number, row in enumerate(rows[1:], start=2) if row), start=2))


def read_challenge_text(path: str | Path) -> Results:
    """Read lines ``video start end class score`` of the THUMOS'14 challenge.

    Raises:
        EvaluationError: a line has another form.
    """
    rows = [line.replace(',', ' ').replace('\t', ' ').split() for line in _lines(path)]
    names = dict(video=0, start=1, end=2, label=3, score=4)
    for number, row in enumerate(rows, start=1):
        if row and len(row) != len(names):
            raise EvaluationError(
                f'{path}, line {number}: expected "video start end class score", got '
                f'{len(row)} values. Tables with a header must be named .csv.')
    return _group((_pick(row, names, f'{path}, line {number}'), f'{path}, line {number}')
                  for number, row in enumerate(rows, start=1) if row)


def read_pickled_columns(path: str | Path) -> Results:
    """Read pickled columns, as ActionFormer writes them.

    Raises:
        EvaluationError: the file holds other objects or other columns.
    """
    content = read_plain_pickle(path)
    if isinstance(content, dict) and isinstance(content.get('results'), dict):
        content = content['results']
    names = _columns_of(content) if isinstance(content, dict) else {}
    if not {'video', 'start', 'end', 'score'} <= names.keys():
        if isinstance(content, dict) and content and all(
                isinstance(entries, list) for entries in content.values()):
            return content
        held = f'the keys {", ".join(map(str, list(content)[:8]))}' if isinstance(content, dict) \
            else f'a {type(content).__name__}'
        raise EvaluationError(
            f'{path}: expected the pickled columns {ACTIVITYNET_COLUMNS} of ActionFormer or '
            f'{{video: [detection]}}, got {held}. Raw predictions of OpenTAD hold no video names: '
            'use its result_detection.json.')
    columns = {key: _as_list(content[name]) for key, name in names.items()}
    lengths = {key: len(column) for key, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise EvaluationError(f'{path}: the columns differ in length: {lengths}.')
    rows = ({key: column[row] for key, column in columns.items()}
            for row in range(lengths['video']))
    return _group((row, f'{path}, row {number}') for number, row in enumerate(rows))


READERS: Mapping[str, Callable[[str | Path], Results]] = {
    '.csv': read_table, '.tsv': read_table, '.txt': read_challenge_text,
    '.pkl': read_pickled_columns, '.pickle': read_pickled_columns}


def _group(rows: Iterable[tuple[dict[str, Any], str]]) -> Results:
    """Turn rows with video, start, end, score and label into results."""
    results: Results = {}
    for row, where in rows:
        start, end, score = (_number(row[key], key, where) for key in ('start', 'end', 'score'))
        found = dict(segment=[start, end], score=score)
        if row.get('label') is not None:
            found['label'] = _label(row['label'])
        results.setdefault(str(row['video']), []).append(found)
    return results


def _pick(row: list[str], names: Mapping[str, int], where: str) -> dict[str, Any]:
    if len(row) <= max(names.values()):
        raise EvaluationError(f'{where}: expected at least {max(names.values()) + 1} columns, got '
                              f'{len(row)}.')
    return {key: row[place].strip() for key, place in names.items()}


def _number(value: Any, name: str, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise EvaluationError(f'{where}: {name} must be a finite number, got {value!r}.')
    return number


def _label(value: Any) -> str:
    """Return a label as text; 3 and 3.0 are both ``'3'``."""
    text = str(value)
    return text[:-2] if text.endswith('.0') and text[:-2].isdigit() else text


def _columns_of(names: Iterable[Any]) -> dict[str, Any]:
    """Return the name of each known column, the first accepted one."""
    plain = {str(name).lower().replace('-', '').replace('_', '').replace(' ', ''): name
             for name in names}
    return {key: next(plain[name] for name in accepted if name in plain)
            for key, accepted in COLUMN_NAMES.items() if any(name in plain for name in accepted)}


def _with_segment(entry: Any) -> Any:
    """Return a detection with the usual keys; what is no object stays as it is."""
    if not isinstance(entry, dict):
        return entry
    found, names = dict(entry), _columns_of(entry)
    if 'segment' not in found and {'start', 'end'} <= names.keys():
        found['segment'] = [entry[names['start']], entry[names['end']]]
    for key in ('score', 'label'):
        if key not in found and key in names:
            found[key] = entry[names[key]]
    return found


def _as_list(column: Any) -> list[Any]:
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def _lines(path: str | Path) -> list[str]:
    try:
        return decode_text(Path(path).read_bytes()).splitlines()
    except OSError as error:
        raise EvaluationError(
            f'Cannot read the detections in {path}: {error.strerror}.') from error
    except UnicodeError as error:
        raise EvaluationError(f'{path} is not text in UTF-8 or UTF-16: {error}. {SAVE_AS_UTF8}.'
                              ) from error


def _rows(path: str | Path) -> list[list[str]]:
    """Return the rows of a table with the delimiter of its header: , ; or tab."""
    lines = _lines(path)
    header = lines[0] if lines else ''
    delimiter = max(',;\t', key=header.count)
    return list(csv.reader(lines, delimiter=delimiter))
