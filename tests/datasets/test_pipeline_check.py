"""Pipelines that do not fit the source of a dataset are refused before an item is read."""
from __future__ import annotations

import numpy as np
import pytest
from mmcv.transforms import BaseTransform

import sbp_tad.models  # noqa: F401, registers all components
from sbp_tad.datasets.base import TemporalDetectionDataset
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.toy_videos.build import write_video

TAIL = ['Resize', 'FormatShape', 'PackTADInputs']
OPTIONS = {'Resize': dict(scale=(16, 16)), 'FormatShape': dict(input_format='NCTHW'),
           'SampleFrames': dict(clip_len=4), 'UniformSample': dict(clip_len=4),
           'ThreeCrop': dict(crop_size=8)}


def build(source, *names, **changes):
    pipeline = [dict(type=name, **{**OPTIONS.get(name, {}), **changes.get(name, {})})
                for name in names]
    return TemporalDetectionDataset('none.json', num_frames=4, stride_frames=None if
                                    source == 'features' else 1, data_prefix={source: 'x'},
                                    pipeline=pipeline, lazy_init=True)


@pytest.mark.parametrize('source, names', [
    ('video', ['SampleWindow', 'PyAVSeekDecode', *TAIL]),
    ('video', ['DecordInit', 'SampleWindow', 'DecordDecode', *TAIL]),
    ('video', ['PyAVInit', 'SampleWindow', 'PyAVDecode', *TAIL]),
    ('frames', ['SampleWindow', 'RawFrameDecode', *TAIL]),
    ('features', ['LoadFeatures', 'PackTADInputs']),
    ('video', ['SampleWindow']),
    ('video', []),
])
def test_pipelines_that_fit(source, names):
    assert len(build(source, *names).pipeline.transforms) == len(names)


@pytest.mark.parametrize('source, names, message', [
    ('video', ['LoadFeatures', 'PackTADInputs'],
     r'LoadFeatures reads features, but the dataset gives video. Replace it, or set '
     r'data_prefix=dict\(features=...\)'),
    ('video', ['SampleWindow', 'RawFrameDecode', *TAIL], 'RawFrameDecode reads frames'),
    ('frames', ['SampleWindow', 'PyAVSeekDecode', *TAIL], 'PyAVSeekDecode reads video'),
    ('frames', ['DecordInit', 'SampleWindow', 'DecordDecode', *TAIL], 'DecordInit reads video'),
    ('features', ['SampleWindow', 'PyAVSeekDecode', *TAIL], 'PyAVSeekDecode reads video'),
    ('features', ['SampleWindow', 'PackTADInputs'], 'no transform reads the features. Add LoadF'),
    ('video', ['DecordInit', 'SampleFrames', 'DecordDecode', *TAIL],
     'SampleFrames samples trimmed videos. Replace it by SampleWindow'),
    ('video', ['UniformSample', 'PyAVSeekDecode', *TAIL], 'UniformSample samples trimmed'),
    ('video', ['SampleWindow', *TAIL], 'no transform reads the video. Add PyAVSeekDecode'),
    ('video', ['PyAVSeekDecode', *TAIL], 'SampleWindow must stand before the decoder'),
    ('video', ['PyAVSeekDecode', 'SampleWindow', *TAIL], 'SampleWindow must stand before'),
    ('video', ['SampleWindow', 'DecordDecode', *TAIL], 'DecordDecode needs DecordInit before'),
    ('video', ['SampleWindow', 'PyAVSeekDecode', 'ThreeCrop', *TAIL[1:]], 'ThreeCrop gives'),
    ('video', ['SampleWindow', 'PyAVSeekDecode', 'FormatShape', 'PackActionInputs'],
     'PackActionInputs packs for other models. Replace it by PackTADInputs'),
    ('video', ['SampleWindow', 'PyAVSeekDecode', 'PackTADInputs'],
     "FormatShape.input_format='NCTHW'. must stand before the packing, there is none"),
])
def test_pipelines_that_do_not_fit(source, names, message):
    with pytest.raises(DatasetError, match=message) as error:
        build(source, *names)
    assert f'data_prefix=dict({source}=...)' in str(error.value)
    assert 'A pipeline for ' + source in str(error.value)


def test_other_faults_of_options():
    seek = ['SampleWindow', 'PyAVSeekDecode', *TAIL]
    with pytest.raises(DatasetError, match=r"must stand before the packing, got \['NCHW'\]"):
        build('video', *seek, FormatShape=dict(input_format='NCHW'))
    with pytest.raises(DatasetError, match="DecordInit has io_backend='petrel', but petrel_client"):
        build('video', 'DecordInit', 'SampleWindow', 'DecordDecode', *TAIL,
              DecordInit=dict(io_backend='petrel'))


class OwnReader(BaseTransform):
    """Transform of another package, which may read the file in its own way."""

    def transform(self, results):
        results['own'] = results['absent']
        return results


def test_a_transform_of_another_package_may_read(tmp_path, write_annotation):
    pipeline = [dict(type='SampleWindow'), OwnReader(),
                *(dict(type=name, **OPTIONS.get(name, {})) for name in TAIL)]
    write_video(tmp_path / 'a.mp4', np.zeros((12, 16, 16, 3), np.uint8), 12)
    annotation = write_annotation({'a': dict(subset='test', annotations=[])})

    def first_item(pipeline):
        return TemporalDetectionDataset(
            str(annotation), num_frames=4, stride_frames=1, metainfo=dict(classes=['x']),
            subsets=['test'], test_mode=True, data_prefix=dict(video=str(tmp_path)),
            pipeline=pipeline)[0]

    with pytest.raises(KeyError, match='absent'):  # its own fault keeps its traceback
        first_item(pipeline)
    with pytest.raises(DatasetError, match="Resize needs 'imgs', which no transform before"):
        first_item([dict(type='SampleWindow'), dict(type='Resize', scale=(16, 16))])
