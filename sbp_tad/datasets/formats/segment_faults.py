"""Segments that a dataset refuses or drops, in rows of an annotation."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.rows import Report, Row
from sbp_tad.wording import count_of

Lengths = dict[str, float]  # duration of each video, as far as it is known

# fault of one and of several segments, what to do, and the condition
FAULTS: tuple[tuple[str, str, str, Callable[[Row, Lengths], bool]], ...] = (
    ('ends before it starts', 'end before they start',
     'Correct such segments: the datasets refuse the file.',
     lambda row, _: row.end < row.start),
    ('has no length', 'have no length', 'The datasets drop such segments.',
     lambda row, _: row.end == row.start),
    ('starts before 0', 'start before 0', 'Correct such segments: they lie outside their videos.',
     lambda row, _: min(row.start, row.end) < 0),
    ('ends after its video', 'end after their videos', 'Correct such segments, or the durations.',
     lambda row, lengths: max(row.start, row.end) > lengths.get(row.video_id, float('inf')) + 1),
)


def report_segment_faults(rows: Sequence[Row], report: Report) -> None:
    """Report each kind of fault with its number and the first segment.

    Args:
        rows: rows of all files.
        report: receives one sentence per kind.

    Raises:
        DatasetError: there are segments, and none starts before it ends.
    """
    segments = [row for row in rows if row.label is not None]
    lengths = {row.video_id: float(value) for row in rows
               for name, value in row.timing if name == 'duration'}
    if segments and all(row.end <= row.start for row in segments):
        raise DatasetError(
            f'No segment of {count_of(len(segments), "segment")} starts before it ends; the '
            f'first is {_describe(segments[0])}. Check which columns are start and end.')
    for of_one, of_several, advice, is_faulty in FAULTS:
        found = [row for row in segments if is_faulty(row, lengths)]
        if found:
            report(f'{len(found)} of {count_of(len(segments), "segment")} '
                   f'{of_one if len(found) == 1 else of_several}; the first is '
                   f'{_describe(found[0])}. {advice}')


def _describe(row: Row) -> str:
    return f'[{row.start:g}, {row.end:g}] {row.label!r} of video {row.video_id!r} ({row.where})'
