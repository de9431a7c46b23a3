"""Data sets: from annotations and video files to windows of frames.

Names are imported on first use, because the modules for annotations need
neither torch nor mmaction.
"""
from importlib import import_module

_EXPORTS = {
    'activitynet': ('ActivityNetDataset', 'HACSDataset'),
    'augmentation': ('RandomRotation', ),
    'base': ('TemporalDetectionDataset', ),
    'egocentric': ('Ego4DMQDataset', 'EpicKitchens100NounDataset', 'EpicKitchens100VerbDataset'),
    'errors': ('DatasetError', 'VideoReadError'),
    'fineaction': ('FineActionDataset', ),
    'load_features': ('LoadFeatures', ),
    'localizer_inputs': ('LocalizerInputs', ),
    'multithumos': ('MultiTHUMOSDataset', ),
    'online': ('OnlineDetectionDataset', 'PackOnlineInputs', 'SampleOnlineWindow',
               'THUMOS14OnlineDataset', 'ToyOnlineDataset'),
    'online_features': ('OnlineFeaturesDataset', ),
    'readers.features': ('FeatureFiles', 'FeatureGrid'),
    'readers.frame_folders': ('FrameFolders', ),
    'readers.video_decoding': ('PyAVSeekDecode', ),
    'readers.video_files': ('VideoFiles', ),
    'readers.video_header': ('probe_video', ),
    'thumos14': ('THUMOS14_CLASSES', 'THUMOS14_EXCLUDED_VIDEOS', 'THUMOS14Dataset'),
    'toy': ('ToyDataset', ),
    'transforms': ('PackTADInputs', 'SampleWindow', 'build_pipeline', 'pack_failure'),
}
_MODULES = {name: f'{__name__}.{module}' for module, names in _EXPORTS.items() for name in names}

__all__ = [
    'ActivityNetDataset', 'DatasetError', 'Ego4DMQDataset', 'EpicKitchens100NounDataset',
    'EpicKitchens100VerbDataset', 'FeatureFiles', 'FeatureGrid',
    'FineActionDataset', 'FrameFolders', 'HACSDataset', 'LoadFeatures', 'LocalizerInputs',
    'MultiTHUMOSDataset', 'OnlineDetectionDataset', 'OnlineFeaturesDataset', 'PackOnlineInputs',
    'PackTADInputs',
    'PyAVSeekDecode', 'RandomRotation', 'SampleOnlineWindow', 'SampleWindow',
    'THUMOS14Dataset', 'THUMOS14OnlineDataset', 'THUMOS14_CLASSES', 'THUMOS14_EXCLUDED_VIDEOS',
    'TemporalDetectionDataset', 'ToyDataset', 'ToyOnlineDataset', 'VideoFiles', 'VideoReadError',
    'build_pipeline', 'pack_failure', 'probe_video',
]


def __getattr__(name: str) -> object:
    """Import an exported name on its first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """List the exported names too."""
    return sorted({*globals(), *__all__})
