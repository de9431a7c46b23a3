"""Annotations of other tools turned into ActivityNet's form, see :mod:`sbp_tad.annotations`.

A reader turns one file into rows; :func:`to_database` groups rows by video.
Readers check the syntax, ``tools/check_dataset.py`` the meaning.
"""
from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbp_tad.datasets.errors import DatasetError


@dataclass(frozen=True)
class Row:
    """One annotated segment, or with ``label`` None a video without one.

    Args:
        where: file and line, for messages.
        video_id: key of the video.
        label: class name.
        start, end: seconds.
        timing: ``subset``, ``duration`` and ``fps`` as far as the file says them.
    """

    where: str
    video_id: str
    label: str | None = None
    start: float = 0.0
    end: float = 0.0
    timing: tuple[tuple[str, str | float], ...] = ()


def to_database(rows: Iterable[Row], subset: str = 'training') -> dict[str, Any]:
    """``{'database': ...}``: videos and segments in the order of the rows.

    Args:
        rows: of one file or several.
        subset: of videos for which no row names one.

    Raises:
        DatasetError: there is no row, or two rows of a video differ
            in subset, duration or fps.
    """
    database: dict[str, dict[str, Any]] = {}
    origin: dict[tuple[str, str], str] = {}
    for row in rows:
        entry = database.setdefault(row.video_id, {})
        for name, value in row.timing:
            first = origin.setdefault((row.video_id, name), row.where)
            if entry.setdefault(name, value) != value:
                raise DatasetError(
                    f'{row.where}: {name} of video {row.video_id!r} is {value!r}, but {first} '
                    f'says {entry[name]!r}. Write the same on every line, or on one alone.')
        items = entry.setdefault('annotations', [])
        if row.label is not None:
            items.append(dict(segment=[row.start, row.end], label=row.label))
    if not database:
        raise DatasetError('no annotated video was found in the input. Check the file '
                           'and the options that choose labels.')
    return {'database': {video_id: dict(
        subset=entry.get('subset', subset),
        **{name: entry[name] for name in ('duration', 'fps') if name in entry},
        annotations=entry['annotations']) for video_id, entry in database.items()}}


def parse_seconds(text: str, where: str) -> float:
    """Seconds as ``12.5``, ``1:02.5`` or ``00:01:02.5``.

    Raises:
        DatasetError: anything else.
    """
    parts = text.strip().split(':')
    if len(parts) <= 3 and all(re.fullmatch(r'\d+', part) for part in parts[:-1]):
        try:
            seconds = sum(float(part) * 60 ** power for power, part in enumerate(reversed(parts)))
        except ValueError:
            seconds = math.nan
        if math.isfinite(seconds) and (len(parts) == 1 or '-' not in parts[-1]):
            return round(seconds, 9)  # 60 * minutes + 1.47 is not off in its last bit
    raise DatasetError(f'{where}: expected seconds or [hours:]minutes:seconds, got '
                       f'{text!r}.')


def read_csv(path: str | Path, delimiter: str = ',') -> Iterator[Row]:
    """Rows of a table with the columns video, start, end, label[, subset, fps, duration].

    The first line names the columns, in any order; others are not read. A
    line with a video alone is a video without an action.

    Raises:
        DatasetError: a column is absent, or a value is.
    """
    for where, line in read_table(path, ('video', 'start', 'end', 'label'), delimiter):
        timing: list[tuple[str, str | float]] = \
            [('subset', line['subset'])] if line.get('subset') else []
        timing += [(name, _positive(line[name], name, where))
                   for name in ('duration', 'fps') if line.get(name)]
        given = [name for name in ('start', 'end', 'label') if line[name]]
        if not line['video'] or 0 < len(given) < 3:
            absent = [name for name in ('video', 'start', 'end', 'label') if not line[name]]
            raise DatasetError(f'{where}: {" and ".join(absent)} is empty. Fill it in, '
                               'or leave start, end and label empty together.')
        if given:
            yield Row(where, line['video'], line['label'], parse_seconds(line['start'], where),
                      parse_seconds(line['end'], where), tuple(timing))
        else:
            yield Row(where, line['video'], timing=tuple(timing))


def read_epic(path: str | Path, label: str = 'verb', class_names: str | Path | None = None,
              video_info: str | Path | None = None) -> Iterator[Row]:
    """Rows of EPIC-Kitchens' ``EPIC_100_train.csv`` or ``_validation.csv`` (and those of 55).

    Args:
        path: the file.
        label: ``'verb'``, ``'noun'`` or ``'action'`` (verb and noun number, ``'3,4'``).
        class_names: ``EPIC_100_verb_classes.csv`` or ``..noun_classes.csv``,
            whose ``key`` becomes the label; without it the class number is.
        video_info: ``EPIC_100_video_info.csv`` with fps and duration.

    Raises:
        DatasetError: a column is absent, a value is wrong, a class
            number has no name, or names are asked for actions.
    """
    columns = {'verb': ('verb_class',), 'noun': ('noun_class',),
               'action': ('verb_class', 'noun_class')}
    if label not in columns or (label == 'action' and class_names):
        raise DatasetError(f'{path}: label must be one of {list(columns)}, the last '
                           f'without class names, got {label!r}.')
    names = None if class_names is None else {
        line['id']: line['key'] for _, line in read_table(class_names, ('id', 'key'))}
    timing = {} if video_info is None else {
        line['video_id']: tuple((name, _positive(line[name], name, where))
                                for name in ('duration', 'fps'))
        for where, line in read_table(video_info, ('video_id', 'duration', 'fps'))}
    needed = ('video_id', 'start_timestamp', 'stop_timestamp', *columns[label])
    for where, line in read_table(path, needed):
        number = ','.join(line[column] for column in columns[label])
        if names is not None and number not in names:
            raise DatasetError(f'{where}: class {number!r} is not in {class_names}.')
        yield Row(where, line['video_id'], number if names is None else names[number],
                  parse_seconds(line['start_timestamp'], where),
                  parse_seconds(line['stop_timestamp'], where),
                  timing.get(line['video_id'], ()))


def read_table(path: str | Path, columns: Sequence[str], delimiter: str = ',',
               header: Sequence[str] | None = None) -> Iterator[tuple[str, dict[str, str]]]:
    """('file, line n', {column: text}) of each line that is not empty, spaces taken off.

    Args:
        path: of the file.
        columns: that must be there.
        delimiter: between two values.
        header: all columns, where the first line does not name them; then
            lines that begin with ``#`` are left out.

    Raises:
        DatasetError: unreadable, a column absent, or a line of another length.
    """
    with reading(path), open(path, encoding='utf-8-sig', newline='') as file:
        # comments may hold quotes; an empty line in their place keeps the count
        text = ('\n' if header and line.startswith('#') else line for line in file)
        lines = _csv_lines(path, text, delimiter)
        names = list(header or map(str.strip, next(lines, (1, []))[1]))
        absent = [column for column in columns if column not in names]
        if absent:
            raise DatasetError(
                f'{path}, line 1: the columns {absent} are absent; expected {list(columns)}, got '
                f'{names}. Name the columns on the first line, or give another delimiter.')
        for number, values in lines:
            where = f'{path}, line {number}'
            if not any(map(str.strip, values)):
                continue
            if len(values) != len(names):
                raise DatasetError(f'{where}: expected {len(names)} values, got '
                                   f'{len(values)}. Quote values that hold the delimiter.')
            yield where, dict(zip(names, map(str.strip, values)))


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Say errors of the file system and of decoders with the name of the file.

    Raises:
        DatasetError: in place of them.
    """
    try:
        yield
    except json.JSONDecodeError as error:
        raise DatasetError(f'{path}, line {error.lineno}: not JSON ({error.msg}).'
                           ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise DatasetError(f'{path}: cannot be read ({reason}).') from error


def _csv_lines(path: str | Path, text: Iterable[str], delimiter: str
               ) -> Iterator[tuple[int, list[str]]]:
    """(number of its last line, values) of each record."""
    lines = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        for values in lines:
            yield lines.line_num, values
    except csv.Error as error:
        raise DatasetError(f'{path}, line {lines.line_num}: not a table ({error}). Check '
                           'the quotes.') from error


def _positive(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise DatasetError(f'{where}: {name} must be a number above 0, got {text!r}.')
    return value
