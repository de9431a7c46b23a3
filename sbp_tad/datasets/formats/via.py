"""Reader of VIA 3 projects (JSON) and CSV exports.

VIA: https://www.robots.ox.ac.uk/~vgg/software/via
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.csv_tables import read_table
from sbp_tad.datasets.formats.rows import (
    Report,
    Row,
    no_report,
    parse_seconds,
    reading,
    video_key,
)
from sbp_tad.text_files import decode_text
from sbp_tad.wording import count_of

SEGMENT_COLUMNS = ('temporal_segment_start', 'temporal_segment_end')
CHECKBOX = 2  # type of a VIA attribute; its value is 'id,id,...', one id per marked box
SEGMENT_ANCHOR = 'Z2'  # anchor of attributes of temporal segments: FILE1_Z2_XY0


@dataclass(frozen=True)
class _Segment:
    """Temporal segment; ``values`` are option ids or text by attribute id."""

    where: str
    file_name: str
    start: float
    end: float
    values: Mapping[str, str]


@dataclass(frozen=True)
class _Project:
    """Segments, attributes by id, all files, and the number of other entries (regions)."""

    segments: list[_Segment]
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    num_others: int = 0

    def name_of(self, key: str) -> str:
        """Return the name of an attribute."""
        return str(self.attributes.get(key, {}).get('aname', key))


def read_via(path: str | Path, attribute: str | None = None, report: Report = no_report
             ) -> Iterator[Row]:
    """Read a VIA 3 project (``.json``) or CSV export; a video's key is the stem of its file.

    Each marked box of a checkbox attribute is a label: a segment with two
    marked boxes gives two rows.

    Args:
        path: the file.
        attribute: name or id of the attribute that is the label. It may be
            omitted if temporal segments have only one attribute.
        report: receives a sentence about segments that are left out.

    Raises:
        DatasetError: not VIA 3; no such attribute, or several; an unknown
            option; entries, but none is a temporal segment; or two files with the same stem.
    """
    project = _read_json(path) if Path(path).suffix.lower() == '.json' else _read_export(path)
    _check_names(path, (*project.files, *(segment.file_name for segment in project.segments)))
    if project.num_others and not project.segments:
        raise DatasetError(
            f'{path}: none of {count_of(project.num_others, "entry", "entries")} is a temporal '
            'segment with start and end. Mark the actions on the time line of VIA.')
    key = _choose_attribute(path, project, attribute)
    unlabelled = 0
    for segment in project.segments:
        labels = list(_labels(segment, project, key)) if key is not None else []
        unlabelled += not labels
        for label in labels:
            yield Row(segment.where, video_key(segment.file_name), label, segment.start,
                      segment.end)
    if unlabelled:
        name = attribute if key is None else project.name_of(key)
        report(f'{path}: {unlabelled} of {count_of(len(project.segments), "temporal segment")} '
               f'left out: no value of {name!r}.')
    if project.num_others:
        report(f'{path}: {count_of(project.num_others, "entry", "entries")} left out: not a '
               'temporal segment with start and end.')
    for file_name in project.files:
        yield Row(str(path), video_key(file_name))


def _labels(segment: _Segment, project: _Project, key: str) -> Iterator[str]:
    """Yield the labels of a segment."""
    value, entry = str(segment.values.get(key) or ''), project.attributes.get(key, {})
    options, kind = entry.get('options') or {}, entry.get('type')
    if kind is None and re.fullmatch(r'\d+(,\d+)+', value):
        raise DatasetError(
            f'{segment.where}: {value!r} are numbers of options, which this old export does not '
            'name. Convert the JSON project instead.')
    parts = [part.strip() for part in value.split(',')] if kind == CHECKBOX else [value]
    for part in dict.fromkeys(filter(None, parts)):
        if options and part not in options and re.fullmatch(r'[\d\s,]+', part):
            raise DatasetError(
                f'{segment.where}: {project.name_of(key)!r} has no option {part!r}; its options '
                f'are {options}. Choose the value again in VIA.')
        yield str(options.get(part, part))


def _choose_attribute(path: str | Path, project: _Project, attribute: str | None) -> str | None:
    """Return the id of the attribute; None if no temporal segment has a value."""
    used = dict.fromkeys(key for segment in project.segments
                         for key, value in segment.values.items() if value)
    defined = [key for key, entry in project.attributes.items()
               if SEGMENT_ANCHOR in str(entry.get('anchor_id', ''))]
    known = {key: project.name_of(key) for key in (*used, *defined)}
    chosen = [key for key in used if attribute in (None, key, known[key])]
    if not chosen and (not used or attribute in (*known, *known.values())):
        return None
    if len(chosen) != 1:
        raise DatasetError(
            f'{path}: expected one attribute of temporal segments as the label, got '
            f'{len(chosen)}. Name one of {sorted(known.values())}.')
    return chosen[0]


def _check_names(path: str | Path, file_names: Iterable[str]) -> None:
    """Raise DatasetError if two files would be one video."""
    names: dict[str, str] = {}
    for name in file_names:
        other = names.setdefault(video_key(name), name)
        if other != name:
            raise DatasetError(f'{path}: the files {other!r} and {name!r} both give the video '
                               f'{video_key(name)!r}. Rename one of them in the project.')


def _read_json(path: str | Path) -> _Project:
    with reading(path):
        content = json.loads(decode_text(Path(path).read_bytes()))
    try:
        files = {vid: content['file'][str(view['fid_list'][0])]['fname']
                 for vid, view in content['view'].items()}
        segments = [_segment(f'{path}, metadata {key!r}', files[str(entry['vid'])], entry['z'],
                             entry['av'])
                    for key, entry in content['metadata'].items() if len(entry['z']) == 2]
        return _Project(segments, content['attribute'], list(files.values()),
                        len(content['metadata']) - len(segments))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise DatasetError(
            f"{path}: not a VIA 3 project: expected consistent entries 'file', 'view', "
            f"'attribute' and 'metadata', failed at {error}. Save the project with VIA 3."
            ) from error


def _read_export(path: str | Path) -> _Project:
    with reading(path):
        text = decode_text(Path(path).read_bytes())
    header = re.search(r'^# *CSV_HEADER *= *(.+?)[\s,]*$', text, flags=re.MULTILINE)
    if header is None:
        raise DatasetError(f"{path}: not a VIA 3 export: there is no line '# CSV_HEADER "
                           "= ...'. Export as CSV with VIA 3.")
    names = [name.strip() for name in header[1].split(',')]
    times = SEGMENT_COLUMNS if SEGMENT_COLUMNS[0] in names else ('temporal_coordinates', )
    segments, num_others = [], 0
    for where, line in read_table(path, ('file_list', 'metadata', *times), header=names):
        coordinates = [line[name] for name in times] if len(times) == 2 \
            else _json_value(line[times[0]], where)
        if len(coordinates) == 2:
            files, values = (_json_value(line[name], where) for name in ('file_list', 'metadata'))
            segments.append(_segment(where, files[0], coordinates, values))
        else:
            num_others += 1
    return _Project(segments, _export_attributes(path, text), num_others=num_others)


def _export_attributes(path: str | Path, text: str) -> dict[str, dict[str, Any]]:
    """Read the attributes from the comment; older exports have only their names."""
    line = re.search(r'^# *ATTRIBUTES? *= *(\{.*\}).*$', text, flags=re.MULTILINE)
    attributes = _json_value(line[1], f'{path}, ATTRIBUTE') if line else {}
    return {key: value if isinstance(value, dict) else dict(aname=value)
            for key, value in attributes.items()}


def _segment(where: str, file_name: str, times: Sequence[Any], values: Mapping[str, str]
             ) -> _Segment:
    start, end = (parse_seconds(str(time), where) for time in times)
    return _Segment(where, file_name, start, end, values)


def _json_value(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DatasetError(f'{where}: expected JSON in this column, got {text!r}.') from error
