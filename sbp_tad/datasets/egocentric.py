"""EPIC-Kitchens-100 and the Moment Queries of Ego4D, which share a protocol."""
from __future__ import annotations

from typing import Any

from sbp_tad.datasets.base import TemporalDetectionDataset
from sbp_tad.datasets.class_names import read_class_names
from sbp_tad.registry import DATASETS

EGOCENTRIC_TIOU_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)


class EgocentricDataset(TemporalDetectionDataset):
    """Common settings of the data sets of this module.

    Annotation files name the subsets `training` and `validation` (ActionFormer)
    or `train` and `val` (OpenTAD). The labels of the test videos are not public.

    Args:
        ann_file: annotation file of one task.
        out_of_range: see :class:`TemporalDetectionDataset`.
        kwargs: of :class:`TemporalDetectionDataset`.
    """

    TRAIN_SUBSETS = ('training', 'train')
    TEST_SUBSETS = ('validation', 'val')

    def __init__(self, ann_file: str, *, out_of_range: str = 'clip', **kwargs: Any) -> None:
        super().__init__(ann_file, out_of_range=out_of_range, **kwargs)


@DATASETS.register_module()
class EpicKitchens100VerbDataset(EgocentricDataset):
    """EPIC-Kitchens-100 with 97 verbs; labels are the keys of the published verb classes.

    Args:
        kwargs: of :class:`EgocentricDataset`.
    """

    METAINFO: dict = dict(dataset_type='epic_kitchens_100_verb',
                          classes=read_class_names('epic_kitchens_100_verb'),
                          tiou_thresholds=EGOCENTRIC_TIOU_THRESHOLDS)

    VIDEO_TEMPLATE = '{video_id}.MP4'

    def __init__(self, ann_file: str = 'annotations/epic_kitchens_100_verb.json',
                 **kwargs: Any) -> None:
        super().__init__(ann_file, **kwargs)


@DATASETS.register_module()
class EpicKitchens100NounDataset(EpicKitchens100VerbDataset):
    """EPIC-Kitchens-100 with 300 nouns; labels are the keys of the published noun classes.

    Args:
        kwargs: of :class:`EpicKitchens100VerbDataset`.
    """

    METAINFO: dict = dict(dataset_type='epic_kitchens_100_noun',
                          classes=read_class_names('epic_kitchens_100_noun'),
                          tiou_thresholds=EGOCENTRIC_TIOU_THRESHOLDS)

    def __init__(self, ann_file: str = 'annotations/epic_kitchens_100_noun.json',
                 **kwargs: Any) -> None:
        super().__init__(ann_file, **kwargs)


@DATASETS.register_module()
class Ego4DMQDataset(EgocentricDataset):
    """Moment Queries of Ego4D: clips (not whole videos) with 110 primary classes.

    Args:
        kwargs: of :class:`EgocentricDataset`.
    """

    METAINFO: dict = dict(dataset_type='ego4d_mq', classes=read_class_names('ego4d_mq'),
                          tiou_thresholds=EGOCENTRIC_TIOU_THRESHOLDS)

    def __init__(self, ann_file: str = 'annotations/ego4d_mq.json', **kwargs: Any) -> None:
        super().__init__(ann_file, **kwargs)
