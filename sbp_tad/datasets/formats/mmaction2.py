"""Reader of the annotations of mmaction2's localizers, such as ``anet_anno_val.json``."""
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.rows import Row, reading

NEEDED = ('duration_second', 'duration_frame', 'annotations')


def read_mmaction2(path: str | Path) -> Iterator[Row]:
    """Read ``{video: {duration_second, duration_frame, annotations}}``.

    The ``v_`` before the names is removed, as in ActivityNet's annotation.

    Raises:
        DatasetError: another layout.
    """
    with reading(path):
        content = json.loads(Path(path).read_text(encoding='utf-8'))
    if not isinstance(content, dict):
        raise DatasetError(f'{path}: expected an object of videos, got {type(content).__name__}.')
    for name, video in content.items():
        lacking = [key for key in NEEDED if not isinstance(video, dict) or key not in video]
        if lacking:
            raise DatasetError(f'{path}: {name} has no {", ".join(lacking)}; expected videos with '
                               f'{", ".join(NEEDED)}.')
        yield from _rows(f'{path}, {name}', name.removeprefix('v_'), video)


def _rows(where: str, video_id: str, video: dict[str, Any]) -> Iterator[Row]:
    timing = (('duration', video['duration_second']), ('frames', video['duration_frame']),
              ('fps', video['duration_frame'] / video['duration_second']))
    yield Row(where, video_id, timing=timing)
    for item in video['annotations']:
        start, end = item['segment']
        yield Row(where, video_id, item['label'], start, end)
