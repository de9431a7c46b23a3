"""What the annotation tools VIA and ELAN write, read as rows of segments.

VIA: https://www.robots.ox.ac.uk/~vgg/software/via, version 3, project JSON
and CSV export. ELAN: https://archive.mpi.nl/tla/elan, EAF files.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.tables import Row, parse_seconds, read_table, reading

SEGMENT_COLUMNS = ('temporal_segment_start', 'temporal_segment_end')


@dataclass(frozen=True)
class _ViaSegment:
    """A temporal segment of VIA; ``values`` are option ids or text by attribute."""

    where: str
    filename: str
    start: float
    end: float
    values: Mapping[str, str]


@dataclass(frozen=True)
class _ViaProject:
    """``attributes``: id -> name and options; ``files``: all, also those without a segment."""

    segments: list[_ViaSegment]
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


def read_via(path: str | Path, attribute: str | None = None) -> Iterator[Row]:
    """Rows of a VIA 3 project (``.json``) or CSV export; a video's key is its file's stem.

    Args:
        path: the file.
        attribute: name or id of the attribute that is the label; it may be
            left out where temporal segments have one alone.

    Raises:
        DatasetError: not VIA, or no such attribute, or several.
    """
    project = _via_json(path) if Path(path).suffix.lower() == '.json' else _via_csv(path)
    key = _choose_attribute(path, project, attribute)
    options = project.attributes.get(key, {}).get('options') or {}
    for segment in project.segments:
        if segment.values.get(key):
            value = segment.values[key]
            yield Row(segment.where, _video_id(segment.filename), str(options.get(value, value)),
                      segment.start, segment.end)
    for filename in project.files:
        yield Row(str(path), _video_id(filename))


def _choose_attribute(path: str | Path, project: _ViaProject, attribute: str | None) -> str:
    used = {key: str(project.attributes.get(key, {}).get('aname', key))
            for segment in project.segments for key, value in segment.values.items() if value}
    chosen = [key for key, name in used.items() if attribute in (None, key, name)]
    if len(chosen) != 1:
        raise DatasetError(
            f'{path}: expected one attribute of temporal segments as the label, got '
            f'{len(chosen)}. Name one of {sorted(used.values())}.')
    return chosen[0]


def _via_json(path: str | Path) -> _ViaProject:
    with reading(path):
        content = json.loads(Path(path).read_text(encoding='utf-8-sig'))
    try:
        files = {vid: content['file'][view['fid_list'][0]]['fname']
                 for vid, view in content['view'].items()}
        segments = [_via_segment(f'{path}, metadata {key!r}', files[entry['vid']], entry['z'],
                                 entry['av'])
                    for key, entry in content['metadata'].items() if len(entry['z']) == 2]
        return _ViaProject(segments, content['attribute'], list(files.values()))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise DatasetError(
            f"{path}: not a VIA 3 project: expected 'file', 'view', 'attribute' and 'metadata' "
            f'that fit together, failed at {error}. Save the project with VIA 3.') from error


def _via_csv(path: str | Path) -> _ViaProject:
    with reading(path):
        text = Path(path).read_text(encoding='utf-8-sig')
    header = re.search(r'^# *CSV_HEADER *= *(.+?)[\s,]*$', text, flags=re.MULTILINE)
    if header is None:
        raise DatasetError(f"{path}: not a VIA 3 export: there is no line '# CSV_HEADER "
                           "= ...'. Export as CSV with VIA 3.")
    names = [name.strip() for name in header[1].split(',')]
    times = SEGMENT_COLUMNS if SEGMENT_COLUMNS[0] in names else ('temporal_coordinates', )
    segments = []
    for where, line in read_table(path, ('file_list', 'metadata', *times), header=names):
        coordinates = [line[name] for name in times] if len(times) == 2 \
            else _json_value(line[times[0]], where)
        if len(coordinates) == 2:
            files, values = (_json_value(line[name], where) for name in ('file_list', 'metadata'))
            segments.append(_via_segment(where, files[0], coordinates, values))
    return _ViaProject(segments, _csv_attributes(path, text))


def _csv_attributes(path: str | Path, text: str) -> dict[str, dict[str, Any]]:
    """Of the comment; older exports give the names alone."""
    line = re.search(r'^# *ATTRIBUTES? *= *(\{.*\}).*$', text, flags=re.MULTILINE)
    attributes = _json_value(line[1], f'{path}, ATTRIBUTE') if line else {}
    return {key: value if isinstance(value, dict) else dict(aname=value)
            for key, value in attributes.items()}


def _via_segment(where: str, filename: str, times: Sequence[Any], values: Mapping[str, str]
                 ) -> _ViaSegment:
    start, end = (parse_seconds(str(time), where) for time in times)
    return _ViaSegment(where, filename, start, end, values)


def _json_value(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DatasetError(f'{where}: expected JSON in this column, got {text!r}.'
                           ) from error


def _video_id(filename: str) -> str:
    """Stem of a file name or URL."""
    return PurePosixPath(unquote(filename).replace('\\', '/')).stem


def read_elan(path: str | Path, tiers: Sequence[str] | None = None) -> Iterator[Row]:
    """Rows of the time-aligned annotations of an ELAN file; the annotation's text is the label.

    The key of the video is the stem of the first media file, or of the EAF
    file where none is linked.

    Args:
        path: an ``.eaf`` file.
        tiers: those to read; None reads all that are time-aligned.

    Raises:
        DatasetError: not EAF, a document type or entity declaration,
            an unknown tier, or an annotation without a time.
    """
    root = _parse_xml(path)
    if root.tag != 'ANNOTATION_DOCUMENT' or root.find('TIME_ORDER') is None:
        raise DatasetError(f'{path}: not an ELAN file: expected ANNOTATION_DOCUMENT with '
                           f'TIME_ORDER, got {root.tag}.')
    video_id, origin = _elan_media(path, root)
    times = {slot.get('TIME_SLOT_ID'): slot.get('TIME_VALUE')
             for slot in root.iterfind('TIME_ORDER/TIME_SLOT')}
    yield Row(str(path), video_id)
    for tier in _choose_tiers(path, root, tiers):
        for annotation in tier.iterfind('ANNOTATION/ALIGNABLE_ANNOTATION'):
            where = f'{path}, line {annotation.get(_LINE)}'
            start, end = (times.get(annotation.get(f'TIME_SLOT_REF{number}')) for number in (1, 2))
            label = (annotation.findtext('ANNOTATION_VALUE') or '').strip()
            if start is None or end is None or not label:
                raise DatasetError(
                    f"{where}: annotation {annotation.get('ANNOTATION_ID')!r} of tier "
                    f"{tier.get('TIER_ID')!r} has no {'time' if None in (start, end) else 'text'}. "
                    'Complete it in ELAN, or leave its tier out.')
            begin, end_time = ((_milliseconds(time, where) + origin) / 1000
                               for time in (start, end))
            yield Row(where, video_id, label, begin, end_time)


def _elan_media(path: str | Path, root: Element) -> tuple[str, int]:
    """Key of the video, and the milliseconds at which the annotation's time 0 lies in it."""
    header = root.find('HEADER')
    units = 'milliseconds' if header is None else header.get('TIME_UNITS', 'milliseconds')
    if units != 'milliseconds':
        raise DatasetError(f'{path}: times must be in milliseconds, got {units!r}.')
    media = root.find('HEADER/MEDIA_DESCRIPTOR')
    if media is None:
        return Path(path).stem, 0
    origin = _milliseconds(media.get('TIME_ORIGIN') or '0', f'{path}, line {media.get(_LINE)}')
    return _video_id(media.get('MEDIA_URL') or str(path)), origin


def _milliseconds(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise DatasetError(f'{where}: expected whole milliseconds, got {text!r}.'
                           ) from error


def _choose_tiers(path: str | Path, root: Element, tiers: Sequence[str] | None) -> list[Element]:
    aligned = {tier.get('TIER_ID'): tier for tier in root.iterfind('TIER')
               if tier.find('ANNOTATION/ALIGNABLE_ANNOTATION') is not None}
    absent = [tier for tier in tiers or () if tier not in aligned]
    if absent:
        raise DatasetError(f'{path}: the tiers {absent} have no time-aligned annotation; '
                           f'those that have are {list(aligned)}.')
    return [tier for name, tier in aligned.items() if tiers is None or name in tiers]


_LINE = 'line of the file'  # an attribute that no XML file can hold


def _parse_xml(path: str | Path) -> Element:
    """The tree of an XML file, each element with its line.

    Entities can grow a small file beyond all memory or read other files;
    they are declared in a document type, which is refused.
    """
    builder, parser = TreeBuilder(), expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        builder.start(tag, {**attributes, _LINE: str(parser.CurrentLineNumber)})

    def refuse(*_: Any) -> None:
        raise DatasetError(
            f'{path}, line {parser.CurrentLineNumber}: a document type (DTD) with possible entity '
            'declarations is not accepted; ELAN writes none. Remove it.')

    parser.StartElementHandler, parser.EndElementHandler = start, builder.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, refuse
    with reading(path):
        content = Path(path).read_bytes()
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise DatasetError(f'{path}, line {error.lineno}: not XML ({error}).') from error
    return builder.close()
