"""FineAction: 106 classes, whose names come from the annotation."""
from __future__ import annotations

from typing import Any

from sbp_tad.annotations import read_annotations
from sbp_tad.datasets.activitynet import ACTIVITYNET_TIOU_THRESHOLDS
from sbp_tad.datasets.base import TemporalDetectionDataset
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.registry import DATASETS


@DATASETS.register_module()
class FineActionDataset(TemporalDetectionDataset):
    """FineAction: 106 classes; `training` for training, `validation` for testing.

    The class names are published only in the annotation file. The config either
    lists them (``metainfo=dict(classes=[...])``) or sets
    ``classes_from_annotation=True``.

    Args:
        classes_from_annotation: use the sorted labels of all subsets of
            ``ann_file`` as the classes and ignore ``metainfo``.
        out_of_range: see :class:`TemporalDetectionDataset`.
        kwargs: of :class:`TemporalDetectionDataset`.

    Raises:
        DatasetError: neither is set (raised when the annotation is read).
    """

    METAINFO: dict = dict(dataset_type='fineaction', tiou_thresholds=ACTIVITYNET_TIOU_THRESHOLDS)
    TRAIN_SUBSETS = ('training',)
    TEST_SUBSETS = ('validation',)

    def __init__(self, ann_file: str = 'annotations/fineaction.json', *,
                 classes_from_annotation: bool = False, out_of_range: str = 'clip',
                 **kwargs: Any) -> None:
        self.classes_from_annotation = classes_from_annotation
        super().__init__(ann_file, out_of_range=out_of_range, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return one dict per video (training) or per window (testing)."""
        if self.classes_from_annotation:
            videos = read_annotations(self.ann_file).values()
            labels = {label for video in videos for label in video.labels}
            self._metainfo['classes'] = sorted(labels - set(self.ignored_labels))
        elif not self._metainfo.get('classes'):
            raise DatasetError(
                "The names of FineAction's 106 classes are not part of this package: set either "
                'classes_from_annotation=True to use the sorted labels of the annotation, or '
                'metainfo=dict(classes=[...]).')
        return super().load_data_list()
