"""Generated toy set: six motions that a single frame cannot distinguish."""
from __future__ import annotations

from typing import Any

from sbp_tad.datasets.base import TemporalDetectionDataset
from sbp_tad.datasets.toy_videos.motion import CLASS_NAMES
from sbp_tad.registry import DATASETS


@DATASETS.register_module()
class ToyDataset(TemporalDetectionDataset):
    """Toy set that ``tools/make_toy_dataset.py`` writes.

    Args:
        kwargs: of :class:`TemporalDetectionDataset`.
    """

    METAINFO: dict = dict(dataset_type='toy', classes=CLASS_NAMES)
    TRAIN_SUBSETS = ('training',)
    TEST_SUBSETS = ('test',)

    def __init__(self, ann_file: str = 'annotations.json', **kwargs: Any) -> None:
        super().__init__(ann_file, **kwargs)
