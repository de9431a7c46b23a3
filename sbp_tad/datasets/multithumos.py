"""MultiTHUMOS: the videos of THUMOS'14 with 65 classes that may overlap."""
from __future__ import annotations

from typing import Any

from sbp_tad.datasets.base import TemporalDetectionDataset
from sbp_tad.datasets.class_names import read_class_names
from sbp_tad.registry import DATASETS


@DATASETS.register_module()
class MultiTHUMOSDataset(TemporalDetectionDataset):
    """MultiTHUMOS: `validation` for training, `test` for testing, as THUMOS'14.

    OpenTAD's file names them `training` and `validation`: set
    ``subsets=['training']`` and ``subsets=['validation']`` with it.

    Args:
        out_of_range: see :class:`TemporalDetectionDataset`.
        kwargs: of :class:`TemporalDetectionDataset`.
    """

    METAINFO: dict = dict(dataset_type='multithumos', classes=read_class_names('multithumos'),
                          tiou_thresholds=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9))
    TRAIN_SUBSETS = ('validation',)
    TEST_SUBSETS = ('test',)

    def __init__(self, ann_file: str = 'annotations/multithumos.json', *,
                 out_of_range: str = 'clip', **kwargs: Any) -> None:
        super().__init__(ann_file, out_of_range=out_of_range, **kwargs)
