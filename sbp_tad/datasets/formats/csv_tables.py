"""Reader of tables with one segment per line: CSV, TSV and the like."""
from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.rows import Row, parse_seconds, reading
from sbp_tad.text_files import text_encoding

DELIMITER_NAMES = {'comma': ',', 'semicolon': ';', 'tab': '\t', 'pipe': '|', 'space': ' '}
DETECTED_DELIMITERS = (',', ';', '\t', '|')


def read_csv(path: str | Path, delimiter: str | None = None) -> Iterator[Row]:
    """Read a table with the columns video, start, end, label[, subset, fps, duration].

    The first line names the columns, in any order; other columns are ignored.
    A line with only a video stands for a video without an action.

    Args:
        path: the file.
        delimiter: see :func:`parse_delimiter`; None detects it from the first line.

    Raises:
        DatasetError: unknown delimiter, missing column or missing value.
    """
    for where, line in read_table(path, ('video', 'start', 'end', 'label'), delimiter):
        timing: list[tuple[str, str | float]] = \
            [('subset', line['subset'])] if line.get('subset') else []
        timing += [(name, parse_positive(line[name], name, where))
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


def parse_delimiter(text: str) -> str:
    r"""Return the delimiter that a user typed: ``;``, ``'\t'``, ``tab``, ``", "``, ``semicolon``.

    Raises:
        DatasetError: not one character and not a known name.
    """
    name = text.strip().strip('\'"').casefold()
    delimiter = DELIMITER_NAMES.get(name, text.replace('\\t', '\t').strip('\'"'))
    if len(delimiter) > 1:
        delimiter = delimiter.strip(' ')
    if len(delimiter) != 1 or delimiter.isalnum() or delimiter in '"\r\n\0.:-':
        raise DatasetError(
            f'the delimiter must be one character such as "," ";" "|" or "\\t", or one of '
            f'{list(DELIMITER_NAMES)}, got {text!r}. Without --delimiter it is detected.')
    return delimiter


def read_table(path: str | Path, columns: Sequence[str], delimiter: str | None = None,
               header: Sequence[str] | None = None) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield ('file, line n', {column: stripped text}) for each line that is not empty.

    Args:
        path: the file.
        columns: required columns.
        delimiter: see :func:`parse_delimiter`; None detects it from the first line.
        header: all columns, if the first line does not name them. Lines that
            begin with ``#`` are skipped then.

    Raises:
        DatasetError: unreadable, a column is absent or occurs twice, or a
            line has another length.
    """
    with reading(path), open(path, encoding=text_encoding(path), newline='') as file:
        mark = parse_delimiter(delimiter) if delimiter is not None else \
            ',' if header else _detect_delimiter(file.readline(), columns) or ','
        file.seek(0)
        # comments may contain quotes; an empty line in their place keeps the line numbers
        text = ('\n' if header and line.startswith('#') else line for line in file)
        lines = _csv_lines(path, text, mark)
        names = list(header or map(str.strip, next(lines, (1, []))[1]))
        twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
        if twice:
            raise DatasetError(f'{path}, line 1: the columns {twice} occur more than once. Remove '
                               'or rename all but one of each.')
        absent = [column for column in columns if column not in names]
        if absent:
            raise DatasetError(
                f'{path}, line 1: the columns {absent} are absent; expected {list(columns)}, got '
                f'{names}. {_column_advice(path, columns, header)}')
        for number, values in lines:
            where = f'{path}, line {number}'
            if not any(map(str.strip, values)):
                continue
            if len(values) != len(names):
                raise DatasetError(f'{where}: expected {len(names)} values, got '
                                   f'{len(values)}. Quote values that contain the delimiter.')
            yield where, dict(zip(names, map(str.strip, values)))


def parse_positive(text: str, name: str, where: str) -> float:
    """Parse a number above 0.

    Raises:
        DatasetError: not such a number.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise DatasetError(f'{where}: {name} must be a number above 0, got {text!r}.')
    return value


def _detect_delimiter(first_line: str, columns: Sequence[str]) -> str | None:
    """Return the delimiter with which the first line names all columns."""
    for delimiter in DETECTED_DELIMITERS:
        names = [name.strip() for values in csv.reader([first_line], delimiter=delimiter)
                 for name in values]
        if set(columns) <= set(names):
            return delimiter
    return None


def _column_advice(path: str | Path, columns: Sequence[str], header: Sequence[str] | None) -> str:
    if header:
        return 'Export the annotations again.'
    with open(path, encoding=text_encoding(path), newline='') as file:
        delimiter = _detect_delimiter(file.readline(), columns)
    if delimiter is not None:
        return f'The first line is separated by {delimiter!r}: give this delimiter, or none.'
    return 'Name the columns on the first line.'


def _csv_lines(path: str | Path, text: Iterable[str], delimiter: str
               ) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its last line, values) of each record."""
    lines = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        for values in lines:
            yield lines.line_num, values
    except csv.Error as error:
        raise DatasetError(f'{path}, line {lines.line_num}: not a table ({error}). Check '
                           'the quotes.') from error
