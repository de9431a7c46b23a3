"""ActivityNet-1.3 and HACS Segments, which share classes, subsets and protocol."""
from __future__ import annotations

from typing import Any

from sbp_tad.datasets.base import TemporalDetectionDataset
from sbp_tad.datasets.class_names import read_class_names
from sbp_tad.registry import DATASETS

ACTIVITYNET_TIOU_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@DATASETS.register_module()
class ActivityNetDataset(TemporalDetectionDataset):
    """ActivityNet-1.3: 200 classes; `training` for training, `validation` for testing.

    The labels of `testing` are not public. Published scores leave out the
    videos that YouTube no longer has (OpenTAD tests on 4,728 of 4,926). List
    them in ``excluded_videos``. The published file names begin with ``v_``.

    Args:
        out_of_range: ``'clip'``, because some segments end after their video.
        kwargs: of :class:`TemporalDetectionDataset`.
    """

    METAINFO: dict = dict(dataset_type='activitynet', classes=read_class_names('activitynet'),
                          tiou_thresholds=ACTIVITYNET_TIOU_THRESHOLDS)
    TRAIN_SUBSETS = ('training',)
    TEST_SUBSETS = ('validation',)
    VIDEO_TEMPLATE = 'v_{video_id}.mp4'

    def __init__(self, ann_file: str = 'annotations/activitynet.json', *,
                 out_of_range: str = 'clip', **kwargs: Any) -> None:
        super().__init__(ann_file, out_of_range=out_of_range, **kwargs)


@DATASETS.register_module()
class HACSDataset(ActivityNetDataset):
    """HACS Segments 1.1.1: 37,618 videos in `training`, 5,982 in `validation`.

    Args:
        kwargs: of :class:`ActivityNetDataset`.
    """

    METAINFO: dict = dict(ActivityNetDataset.METAINFO, dataset_type='hacs')

    def __init__(self, ann_file: str = 'annotations/hacs.json', **kwargs: Any) -> None:
        super().__init__(ann_file, **kwargs)
