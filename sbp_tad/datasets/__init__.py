"""From annotations and video files to windows of frames."""
import mmaction.datasets  # noqa: F401  (registers the decoders and spatial transforms)

import sbp_tad.registry  # noqa: F401  (cures the stack before mmaction is imported)
from sbp_tad.datasets.activitynet import ActivityNetDataset, HACSDataset
from sbp_tad.datasets.augmentation import RandomRotation
from sbp_tad.datasets.base import TemporalDetectionDataset
from sbp_tad.datasets.egocentric import (Ego4DMQDataset, EpicKitchens100NounDataset,
                                         EpicKitchens100VerbDataset)
from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.datasets.fineaction import FineActionDataset
from sbp_tad.datasets.load_features import LoadFeatures
from sbp_tad.datasets.multithumos import MultiTHUMOSDataset
from sbp_tad.datasets.online import (OnlineDetectionDataset, PackOnlineInputs, SampleOnlineWindow,
                                     THUMOS14OnlineDataset, ToyOnlineDataset)
from sbp_tad.datasets.readers.features import FeatureFiles, FeatureGrid
from sbp_tad.datasets.readers.sources import FrameFolders, VideoFiles
from sbp_tad.datasets.readers.video_decoding import PyAVSeekDecode
from sbp_tad.datasets.readers.video_header import probe_video
from sbp_tad.datasets.thumos14 import THUMOS14_CLASSES, THUMOS14_EXCLUDED_VIDEOS, THUMOS14Dataset
from sbp_tad.datasets.toy import ToyDataset
from sbp_tad.datasets.transforms import PackTADInputs, SampleWindow, build_pipeline, pack_failure

__all__ = [
    'ActivityNetDataset', 'DatasetError', 'Ego4DMQDataset', 'EpicKitchens100NounDataset',
    'EpicKitchens100VerbDataset', 'FeatureFiles', 'FeatureGrid',
    'FineActionDataset', 'FrameFolders', 'HACSDataset', 'LoadFeatures',
    'MultiTHUMOSDataset', 'OnlineDetectionDataset', 'PackOnlineInputs', 'PackTADInputs',
    'PyAVSeekDecode', 'RandomRotation', 'SampleOnlineWindow', 'SampleWindow',
    'THUMOS14Dataset', 'THUMOS14OnlineDataset', 'THUMOS14_CLASSES', 'THUMOS14_EXCLUDED_VIDEOS',
    'TemporalDetectionDataset', 'ToyDataset', 'ToyOnlineDataset', 'VideoFiles', 'VideoReadError',
    'build_pipeline', 'pack_failure', 'probe_video',
]
