"""THUMOS'14: 20 classes; `validation` for training, `test` for testing."""
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

OFFICIAL = 'official-213'
# number of evaluated test videos, or the code that evaluates so -> excluded videos
THUMOS14_EXCLUDED_VIDEOS: dict[int | str, tuple[str, ...]] = {
    213: (),
    212: (_ONLY_AMBIGUOUS,),
    211: (_ONLY_AMBIGUOUS, _WRONG_ANNOTATION),
    210: (_ONLY_AMBIGUOUS, _WRONG_ANNOTATION, _DISPUTED),
    'actionformer': (_ONLY_AMBIGUOUS,),
    'opentad': (_ONLY_AMBIGUOUS, _WRONG_ANNOTATION),
    OFFICIAL: (),
}


@DATASETS.register_module()
class THUMOS14Dataset(TemporalDetectionDataset):
    """THUMOS'14 without the label ``Ambiguous``.

    Args:
        protocol: number of evaluated test videos: 213 (all), 212 (those with
            an action of the 20 classes), 211 (also without 0000270, whose
            annotation belongs to another video; the usual choice) or 210
            (also without 0001496). With a name the segments count that begin
            after the end of their video: ``'actionformer'`` is 212 and
            ``'opentad'`` 211 as these codes have it, ``'official-213'`` all
            videos by the rules of the challenge. ``metainfo`` holds it for
            reports.
        out_of_range: ``'clip'``, because 30 published segments end after
            their video; their number is logged.
        kwargs: of :class:`TemporalDetectionDataset`.

    Raises:
        DatasetError: unknown protocol.
    """

    METAINFO: dict = dict(dataset_type='thumos14', classes=THUMOS14_CLASSES,
                          tiou_thresholds=(0.3, 0.4, 0.5, 0.6, 0.7))
    TRAIN_SUBSETS = ('validation',)
    TEST_SUBSETS = ('test',)
    IGNORED_LABELS = ('Ambiguous',)

    def __init__(self, ann_file: str = 'annotations/thumos14.json', *, protocol: int | str = 211,
                 out_of_range: str = 'clip', **kwargs: Any) -> None:
        if protocol not in THUMOS14_EXCLUDED_VIDEOS:
            raise DatasetError(
                f"protocol must be the number of evaluated THUMOS'14 test videos or the name of "
                f'a code, one of {list(THUMOS14_EXCLUDED_VIDEOS)}, got {protocol!r}.')
        self.protocol = protocol
        more = kwargs.pop('excluded_videos', ())
        excluded = (*THUMOS14_EXCLUDED_VIDEOS[protocol],
                    *((more,) if isinstance(more, str) else more))
        super().__init__(ann_file, excluded_videos=excluded, out_of_range=out_of_range, **kwargs)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Return that of :class:`TemporalDetectionDataset`, and the rules of a named protocol."""
        info = super().metainfo
        if self.test_mode and isinstance(self.protocol, str):
            info['late_ground_truth'] = 'keep'
            if self.protocol == OFFICIAL:
                info['evaluation_protocol'] = 'thumos14-official'
        return info
