"""THUMOS'14: 20 classes, trained on `validation`, tested on `test`."""
from __future__ import annotations

from typing import Any

from sbp_tad.datasets.base import TemporalDetectionDataset
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.registry import DATASETS

THUMOS14_CLASSES = (
    'BaseballPitch', 'BasketballDunk', 'Billiards', 'CleanAndJerk', 'CliffDiving',
    'CricketBowling', 'CricketShot', 'Diving', 'FrisbeeCatch', 'GolfSwing', 'HammerThrow',
    'HighJump', 'JavelinThrow', 'LongJump', 'PoleVault', 'Shotput', 'SoccerPenalty',
    'TennisSwing', 'ThrowDiscus', 'VolleyballSpiking')

_ONLY_AMBIGUOUS = 'video_test_0001292'
_WRONG_ANNOTATION = 'video_test_0000270'
_DISPUTED = 'video_test_0001496'

# Number of test videos that count -> the videos that do not.
THUMOS14_EXCLUDED_VIDEOS = {
    213: (),
    212: (_ONLY_AMBIGUOUS,),
    211: (_ONLY_AMBIGUOUS, _WRONG_ANNOTATION),
    210: (_ONLY_AMBIGUOUS, _WRONG_ANNOTATION, _DISPUTED),
}


@DATASETS.register_module()
class THUMOS14Dataset(TemporalDetectionDataset):
    """THUMOS'14 with ``Ambiguous`` taken out.

    Args:
        protocol: how many test videos count: 213 (all), 212 (those with a
            class), 211 (also without 0000270, whose annotation is of another
            video; the usual count) or 210 (also without 0001496). Stands in
            ``metainfo``, so that a result can name it.
        out_of_range: 30 published segments end after their video, hence
            ``'clip'``; the count is logged.
        kwargs: of :class:`TemporalDetectionDataset`.

    Raises:
        DatasetError: an unknown protocol.
    """

    METAINFO: dict = dict(dataset_type='thumos14', classes=THUMOS14_CLASSES,
                          tiou_thresholds=(0.3, 0.4, 0.5, 0.6, 0.7))
    TRAIN_SUBSETS = ('validation',)
    TEST_SUBSETS = ('test',)
    IGNORED_LABELS = ('Ambiguous',)

    def __init__(self, ann_file: str = 'annotations/thumos14.json', *, protocol: int = 211,
                 out_of_range: str = 'clip', **kwargs: Any) -> None:
        if protocol not in THUMOS14_EXCLUDED_VIDEOS:
            raise DatasetError(
                f"protocol is the number of THUMOS'14 test videos that count, one of "
                f'{sorted(THUMOS14_EXCLUDED_VIDEOS)}, got {protocol!r}.')
        self.protocol = protocol
        excluded = (*THUMOS14_EXCLUDED_VIDEOS[protocol], *kwargs.pop('excluded_videos', ()))
        super().__init__(ann_file, excluded_videos=excluded, out_of_range=out_of_range, **kwargs)
