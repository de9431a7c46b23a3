"""Reader of the annotations of EPIC-Kitchens-100 and EPIC-Kitchens-55."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.csv_tables import parse_positive, read_table
from sbp_tad.datasets.formats.rows import Row, parse_seconds

LABEL_COLUMNS = {'verb': ('verb_class',), 'noun': ('noun_class',),
                 'action': ('verb_class', 'noun_class')}


def read_epic(path: str | Path, label: str = 'verb', class_names: str | Path | None = None,
              video_info: str | Path | None = None) -> Iterator[Row]:
    """Read ``EPIC_100_train.csv``, ``EPIC_100_validation.csv`` or the files of EPIC-Kitchens-55.

    Args:
        path: the file.
        label: ``'verb'``, ``'noun'`` or ``'action'`` (verb and noun number, ``'3,4'``).
        class_names: ``EPIC_100_verb_classes.csv`` or ``..noun_classes.csv``,
            whose ``key`` becomes the label; without it the class number does.
        video_info: ``EPIC_100_video_info.csv`` with fps and duration.

    Raises:
        DatasetError: a column is absent, a value is wrong, a class number has
            no name, or ``class_names`` is given for actions.
    """
    if label not in LABEL_COLUMNS or (label == 'action' and class_names):
        raise DatasetError(f'{path}: label must be one of {list(LABEL_COLUMNS)}, the last one '
                           f'without class names, got {label!r}.')
    names = None if class_names is None else {
        line['id']: line['key'] for _, line in read_table(class_names, ('id', 'key'))}
    timing = {} if video_info is None else {
        line['video_id']: tuple((name, parse_positive(line[name], name, where))
                                for name in ('duration', 'fps'))
        for where, line in read_table(video_info, ('video_id', 'duration', 'fps'))}
    needed = ('video_id', 'start_timestamp', 'stop_timestamp', *LABEL_COLUMNS[label])
    for where, line in read_table(path, needed):
        number = ','.join(line[column] for column in LABEL_COLUMNS[label])
        if names is not None and number not in names:
            raise DatasetError(f'{where}: class {number!r} is not in {class_names}.')
        yield Row(where, line['video_id'], number if names is None else names[number],
                  parse_seconds(line['start_timestamp'], where),
                  parse_seconds(line['stop_timestamp'], where),
                  timing.get(line['video_id'], ()))
