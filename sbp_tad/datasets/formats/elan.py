"""Reader of ELAN annotation files (EAF), https://archive.mpi.nl/tla/elan."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.elan_times import AnnotationTimes, milliseconds
from sbp_tad.datasets.formats.rows import Report, Row, no_report, video_key
from sbp_tad.datasets.formats.xml_lines import line_of, parse_xml
from sbp_tad.wording import count_of

ANNOTATIONS = ('ANNOTATION/ALIGNABLE_ANNOTATION', 'ANNOTATION/REF_ANNOTATION')
AUDIO_SUFFIXES = ('.wav', '.mp3', '.m4a', '.aac', '.flac', '.ogg', '.aif', '.aiff', '.wma')


@dataclass(frozen=True)
class _Medium:
    """Linked media file; time 0 of the annotation lies at ``origin`` milliseconds in it."""

    key: str
    origin: int
    is_audio: bool = False


def read_elan(path: str | Path, tiers: Sequence[str] | None = None,
              media: Sequence[str] | None = None, report: Report = no_report) -> Iterator[Row]:
    """Read the annotations of an ELAN file; the text of an annotation is its label.

    Each linked video gets all segments, at its own ``TIME_ORIGIN``. Its key is
    the stem of its file. Linked sound files are ignored beside a video. Without
    linked media the key is the stem of the EAF file.

    Args:
        path: an ``.eaf`` file.
        tiers: tiers to read; None reads all whose annotations have times of
            their own. See :mod:`elan_times` for the times of dependent tiers.
        media: stems or names of the linked files to use; None uses all videos.
        report: receives a sentence about each part that is left out.

    Raises:
        DatasetError: not EAF, a document type or entity declaration, unknown
            tiers or media, or an annotation without a time or text.
    """
    root = parse_xml(path)
    if root.tag != 'ANNOTATION_DOCUMENT' or root.find('TIME_ORDER') is None:
        raise DatasetError(f'{path}: not an ELAN file: expected ANNOTATION_DOCUMENT with '
                           f'TIME_ORDER, got {root.tag}.')
    chosen_media = _choose_media(path, _read_media(path, root), media, report)
    yield from (Row(str(path), medium.key) for medium in chosen_media)
    segments = list(_segments(path, _choose_tiers(path, root, tiers, report),
                              AnnotationTimes(path, root)))
    for medium in chosen_media:
        yield from _place(path, segments, medium, report)


def _segments(path: str | Path, tiers: Sequence[Element], times: AnnotationTimes
              ) -> Iterator[tuple[str, str, float, float]]:
    """Yield (where, label, start, end) of all annotations, in milliseconds."""
    for tier in tiers:
        for annotation in (each for kind in ANNOTATIONS for each in tier.iterfind(kind)):
            where = line_of(path, annotation)
            span = times.of(annotation)
            label = (annotation.findtext('ANNOTATION_VALUE') or '').strip()
            if span is None or not label:
                raise DatasetError(
                    f"{where}: annotation {annotation.get('ANNOTATION_ID')!r} of tier "
                    f"{tier.get('TIER_ID')!r} has no {'time' if span is None else 'text'}. "
                    'Complete it in ELAN, or leave its tier out with --tiers.')
            yield where, label, *span


def _place(path: str | Path, segments: Sequence[tuple[str, str, float, float]], medium: _Medium,
           report: Report) -> Iterator[Row]:
    """Yield the segments as rows of a medium, as far as they lie after its start."""
    absent = cut = 0
    for where, label, start, end in segments:
        start, end = start + medium.origin, end + medium.origin
        absent, cut = absent + (start < 0 and end <= 0), cut + (start < 0 < end)
        if start >= 0 or end > 0:
            yield Row(where, medium.key, label, max(start, 0) / 1000, end / 1000)
    if absent or cut:
        report(f'{path}: media file {medium.key!r} begins later than the annotation: '
               f"{count_of(absent, 'segment')} before it left out, {cut} cut at its start.")


def _read_media(path: str | Path, root: Element) -> list[_Medium]:
    """Return the linked media files, or one named after the EAF file if there are none."""
    header = root.find('HEADER')
    units = 'milliseconds' if header is None else header.get('TIME_UNITS', 'milliseconds')
    if units != 'milliseconds':
        raise DatasetError(f'{path}: times must be in milliseconds, got {units!r}.')
    found: dict[str, _Medium] = {}
    for each in root.iterfind('HEADER/MEDIA_DESCRIPTOR'):
        name = each.get('MEDIA_URL') or each.get('RELATIVE_MEDIA_URL') or str(path)
        medium = _Medium(
            video_key(name), milliseconds(each.get('TIME_ORIGIN') or '0', line_of(path, each)),
            (each.get('MIME_TYPE') or '').startswith('audio')
            or name.lower().endswith(AUDIO_SUFFIXES))
        other = found.setdefault(medium.key, medium)
        if other.is_audio and not medium.is_audio:
            found[medium.key] = medium
        elif other.origin != medium.origin and other.is_audio == medium.is_audio:
            raise DatasetError(
                f'{line_of(path, each)}: two media files named {medium.key!r} have different '
                'offsets. Unlink one of them in ELAN.')
    return list(found.values()) or [_Medium(Path(path).stem, 0)]


def _choose_media(path: str | Path, found: Sequence[_Medium], names: Sequence[str] | None,
                  report: Report) -> list[_Medium]:
    keys = [medium.key for medium in found]
    if names is not None:
        chosen = [medium for medium in found
                  if medium.key in names or medium.key in map(video_key, names)]
        if not chosen:
            raise DatasetError(f'{path}: no linked media file is one of {list(names)}; the file '
                               f'links {keys}.')
        return chosen
    videos = [medium for medium in found if not medium.is_audio] or list(found[:1])
    if len(videos) > 1:
        report(f'{path}: links {len(videos)} videos, {[video.key for video in videos]}; each '
               'gets all segments at its own offset. Choose with --media.')
    return videos


def _choose_tiers(path: str | Path, root: Element, names: Sequence[str] | None, report: Report
                  ) -> list[Element]:
    tiers = {str(tier.get('TIER_ID')): tier for tier in root.iterfind('TIER')}
    filled = [name for name, tier in tiers.items()
              if any(tier.find(kind) is not None for kind in ANNOTATIONS)]
    if names is None:
        dependent = [name for name in filled if tiers[name].find(ANNOTATIONS[0]) is None]
        if dependent:
            report(f'{path}: the tiers {dependent} depend on others and are left out. Name '
                   'the tiers that hold the labels with --tiers.')
        return [tiers[name] for name in filled if name not in dependent]
    absent = [name for name in names if name not in tiers]
    if absent and filled:  # a file without annotations may lack tiers too
        raise DatasetError(f'{path}: there are no tiers {absent}; the file has {list(tiers)}.')
    return [tiers[name] for name in tiers if name in names]
