"""Check that the transforms of a pipeline fit the source of a dataset, before an item is read."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from sbp_tad.datasets.errors import DatasetError

# Key of data_prefix -> transforms that read its items.
READERS = {'video': ('PyAVSeekDecode', 'DecordDecode', 'OpenCVDecode', 'PyAVDecode', 'PIMSDecode'),
           'frames': ('RawFrameDecode', ),
           'features': ('LoadFeatures', )}
PIPELINES = {'video': 'SampleWindow, PyAVSeekDecode, Resize, FormatShape, PackTADInputs',
             'frames': 'SampleWindow, RawFrameDecode, Resize, FormatShape, PackTADInputs',
             'features': 'LoadFeatures, PackTADInputs'}
INITS = {'DecordDecode': 'DecordInit', 'OpenCVDecode': 'OpenCVInit', 'PyAVDecode': 'PyAVInit',
         'PIMSDecode': 'PIMSInit'}
# Transforms of mmaction that choose frames of trimmed videos.
FRAME_SAMPLERS = ('SampleFrames', 'DenseSampleFrames', 'UniformSample', 'UniformSampleFrames',
                  'UntrimmedSampleFrames', 'SampleAVAFrames')
FOREIGN_PACKERS = ('PackActionInputs', 'PackLocalizationInputs')
MULTI_CROPS = ('ThreeCrop', 'TenCrop')
KNOWN_PACKAGES = ('sbp_tad', 'mmaction', 'mmcv', 'mmengine')


def check_pipeline(source: str, transforms: Sequence[Callable]) -> None:
    """Check a pipeline against the source that ``data_prefix`` names.

    A pipeline that does not pack its results, or with transforms of other
    packages, may lack a reader or sampler; wrong ones are found in any case.

    Args:
        source: ``'video'``, ``'frames'`` or ``'features'``.
        transforms: built transforms.

    Raises:
        DatasetError: a transform that does not fit; the message names it and
            a pipeline that does.
    """
    names = [type(transform).__name__ for transform in transforms]
    fault = _wrong_transform(source, names) or _unavailable(transforms)
    is_known = all(type(each).__module__.split('.')[0] in KNOWN_PACKAGES for each in transforms)
    if not fault and is_known and any(name.startswith('Pack') for name in names):
        fault = _missing_reader(source, names)
        if not fault and source != 'features':
            fault = _order_of_frames(source, transforms) or _shape(transforms)
    if fault:
        raise DatasetError(
            f'pipeline {names} of a dataset with data_prefix=dict({source}=...): {fault}. '
            f'A pipeline for {source} is {PIPELINES[source]}.')


def missing_entry(error: KeyError, transform: Callable, results: dict[str, Any],
                  transforms: Sequence[Callable]) -> str | None:
    """Return the fault of a pipeline in which a transform lacks an entry of the results.

    Args:
        error: raised by the transform.
        transform: of this project or OpenMMLab; None is returned for others, whose
            errors keep their traceback.
        results: entries before the transform.
        transforms: the whole pipeline.
    """
    key = error.args[0] if error.args else None
    if not isinstance(key, str) or key in results or \
            type(transform).__module__.split('.')[0] not in KNOWN_PACKAGES:
        return None
    return (f'{type(transform).__name__} needs {key!r}, which no transform before it sets; the '
            f'pipeline is {[type(each).__name__ for each in transforms]}. Correct its order, or '
            'add the transform that is missing.')


def _wrong_transform(source: str, names: Sequence[str]) -> str | None:
    """Return the fault of a transform that cannot be in a pipeline of the source."""
    kinds = {name: kind for kind, readers in READERS.items() for name in readers}
    kinds.update(dict.fromkeys(INITS.values(), 'video'))
    for name in names:
        if kinds.get(name, source) != source:
            return (f'{name} reads {kinds[name]}, but the dataset gives {source}. Replace it, or '
                    f'set data_prefix=dict({kinds[name]}=...)')
        if name in FRAME_SAMPLERS:
            return f'{name} samples trimmed videos. Replace it by SampleWindow'
        if name in FOREIGN_PACKERS and not (
                name == 'PackLocalizationInputs' and 'LocalizerInputs' in names):
            return f'{name} packs for other models. Replace it by PackTADInputs'
        if name in MULTI_CROPS:
            return f'{name} gives several crops. Replace it by CenterCrop or Resize'
    return None


def _unavailable(transforms: Sequence[Callable]) -> str | None:
    """Return the fault of a transform whose storage backend is not installed."""
    for transform in transforms:
        backend = getattr(transform, 'io_backend', None)
        if backend == 'petrel' and find_spec('petrel_client') is None:
            return (f'{type(transform).__name__} has io_backend={backend!r}, but petrel_client is '
                    "not installed. Set io_backend='disk'")
    return None


def _missing_reader(source: str, names: Sequence[str]) -> str | None:
    reader = next((name for name in names if name in READERS[source]), None)
    if reader is None:
        return f'no transform reads the {source}. Add {READERS[source][0]}'
    init = INITS.get(reader)
    if init and init not in names[:names.index(reader)]:
        return f'{reader} needs {init} before it'
    return None


def _order_of_frames(source: str, transforms: Sequence[Callable]) -> str | None:
    """Return the fault of a pipeline without a window sampler before its decoder."""
    families = [{base.__name__ for base in type(each).__mro__} for each in transforms]
    sampler = next((place for place, family in enumerate(families) if 'SampleWindow' in family),
                   None)
    reader = next(place for place, family in enumerate(families)
                  if family & set(READERS[source]))
    if sampler is None or sampler > reader:
        return 'SampleWindow must stand before the decoder'
    return None


def _shape(transforms: Sequence[Callable]) -> str | None:
    layouts = [getattr(each, 'input_format', None) for each in transforms
               if type(each).__name__ == 'FormatShape']
    if layouts != ['NCTHW']:
        found = f'got {layouts}' if layouts else 'there is none'
        return f"FormatShape(input_format='NCTHW') must stand before the packing, {found}"
    return None
