"""From annotations and video files to windows of frames."""
import mmaction.datasets  # noqa: F401  (registers the decoders and spatial transforms)

import sbp_tad.registry  # noqa: F401  (cures the stack before mmaction is imported)
from sbp_tad.datasets.base import DatasetError, TemporalDetectionDataset
from sbp_tad.datasets.thumos14 import THUMOS14_CLASSES, THUMOS14_EXCLUDED_VIDEOS, THUMOS14Dataset
from sbp_tad.datasets.toy import ToyDataset
from sbp_tad.datasets.transforms import PackTADInputs, SampleWindow, build_pipeline, pack_failure
from sbp_tad.datasets.video_header import VideoReadError, probe_video

__all__ = [
    'DatasetError', 'PackTADInputs', 'SampleWindow', 'THUMOS14Dataset', 'THUMOS14_CLASSES',
    'THUMOS14_EXCLUDED_VIDEOS', 'TemporalDetectionDataset', 'ToyDataset', 'VideoReadError',
    'build_pipeline', 'pack_failure', 'probe_video',
]
