"""Choice of the source of a dataset by its ``data_prefix``."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.readers.features import FeatureFiles
from sbp_tad.datasets.readers.frame_folders import FrameFolders
from sbp_tad.datasets.readers.video_files import VideoFiles

# Key of data_prefix -> source of the frames or features in that folder.
SOURCES: dict[str, type[VideoFiles]] = dict(video=VideoFiles, frames=FrameFolders,
                                            features=FeatureFiles)


def build_source(data_prefix: dict[str, str], options: dict[str, Any] | None) -> VideoFiles:
    """Build the source that ``data_prefix`` names.

    Raises:
        DatasetError: no or several folders, or options that the source lacks.
    """
    if not isinstance(data_prefix, Mapping) or len(data_prefix) != 1 \
            or not set(data_prefix) <= set(SOURCES):
        raise DatasetError(f'data_prefix must name one folder as one of {list(SOURCES)}, for '
                           f"example dict(video='videos'), got {data_prefix!r}.")
    kind = SOURCES[next(iter(data_prefix))]
    known = [field.name for field in fields(kind) if field.init]
    unknown = sorted(set(options or {}) - set(known))
    if unknown:
        raise DatasetError(f'source has the options {known} with data_prefix='
                           f'{dict(data_prefix)}, got also {unknown}.')
    return kind(**(options or {}))
