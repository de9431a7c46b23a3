"""Rows of segments and their conversion to ActivityNet's form, see :mod:`sbp_tad.annotations`.

A reader turns one file into rows; :func:`to_database` groups rows by video.
Readers check the syntax, ``tools/check_dataset.py`` the meaning.
"""
from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.text_files import SAVE_AS_UTF8

Report = Callable[[str], None]  # receives one sentence about a part of the input that is not used


def no_report(sentence: str) -> None:
    """Ignore a sentence."""


@dataclass(frozen=True)
class Row:
    """One annotated segment, or a video without a segment if ``label`` is None.

    Args:
        where: file and line, for messages.
        video_id: key of the video.
        label: class name.
        start: start in seconds.
        end: end in seconds.
        timing: ``subset``, ``duration``, ``fps`` and ``frames``, as far as the file has them.
    """

    where: str
    video_id: str
    label: str | None = None
    start: float = 0.0
    end: float = 0.0
    timing: tuple[tuple[str, str | float], ...] = ()


def to_database(rows: Iterable[Row], subset: str = 'training') -> dict[str, Any]:
    """Return ``{'database': ...}`` with videos and segments in the order of the rows.

    Args:
        rows: rows of one or several files.
        subset: subset of the videos whose rows name none.

    Raises:
        DatasetError: there is no row, or two rows of a video differ in
            subset, duration or fps.
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
                    f'says {entry[name]!r}. Write the same value on every line, or on only one.')
        items = entry.setdefault('annotations', [])
        if row.label is not None:
            items.append(dict(segment=[row.start, row.end], label=row.label))
    if not database:
        raise DatasetError('no annotated video was found in the input. Check the file '
                           'and the options that choose labels.')
    return {'database': {video_id: dict(
        subset=entry.get('subset', subset),
        **{name: entry[name] for name in ('duration', 'fps', 'frames') if name in entry},
        annotations=entry['annotations']) for video_id, entry in database.items()}}


def parse_seconds(text: str, where: str) -> float:
    """Parse seconds that are written as ``12.5``, ``1:02.5`` or ``00:01:02.5``.

    Raises:
        DatasetError: another form.
    """
    parts = text.strip().split(':')
    if len(parts) <= 3 and all(re.fullmatch(r'\d+', part) for part in parts[:-1]):
        try:
            seconds = sum(float(part) * 60 ** power for power, part in enumerate(reversed(parts)))
        except ValueError:
            seconds = math.nan
        if math.isfinite(seconds) and (len(parts) == 1 or '-' not in parts[-1]):
            return round(seconds, 9)  # removes the rounding error of 60 * minutes + seconds
    raise DatasetError(f'{where}: expected seconds or [hours:]minutes:seconds, got {text!r}.')


def video_key(file_name: str) -> str:
    """Return the stem of a file name, path or URL, which is the key of its video."""
    return PurePosixPath(unquote(file_name).replace('\\', '/')).stem


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn errors of the file system and of decoders into errors that name the file.

    Raises:
        DatasetError: in place of them.
    """
    try:
        yield
    except json.JSONDecodeError as error:
        raise DatasetError(f'{path}, line {error.lineno}: not JSON ({error.msg}).') from error
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read ({error.strerror or error}).') from error
    except UnicodeError as error:
        raise DatasetError(f'{path}: not text in UTF-8 or UTF-16 ({error}). '
                           f'{SAVE_AS_UTF8}.') from error
