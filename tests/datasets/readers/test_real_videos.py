"""The real videos beside the repository through every decoder of mmaction2."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmengine.dataset import Compose

from sbp_tad.datasets import VideoReadError, build_pipeline, probe_video
from sbp_tad.datasets.windows import WindowSize, sliding_window_starts
from sbp_tad.registry import DATASETS

DECODERS = {'Decord': ['DecordInit', 'SampleWindow', 'DecordDecode'],
            'PyAV': ['PyAVInit', 'SampleWindow', 'PyAVDecode'],
            'OpenCV': ['OpenCVInit', 'SampleWindow', 'OpenCVDecode'],
            'PyAVSeek': ['SampleWindow', 'PyAVSeekDecode']}
GAP = 'mmaction2_rawvideo_part_0.mp4'  # a frame is missing before the last: OpenCV is refused
# File, frames that decode, fps of the first video stream.
VIDEOS = [
    ('caffe3d_UCF-101_Rowing_g16_c03.avi', 135, 25.0),
    ('decord_flipping_a_pancake.mkv', 310, 30.0),
    ('mmaction2_demo.mp4', 280, 28.0),
    ('mmaction2_rawvideo_part_0.mp4', 32, 30.0),
    ('mmaction2_tests_test.avi', 164, 25.0),
    ('mmaction2_tests_test.mp4', 300, 30.0),
    ('torchcodec_nasa_13013.mp4', 325, 25.0),
    ('video_features_v_GGSY1Qvo990.mp4', 355, 19.62),
]


def read(path: Path, window, decoder: str) -> dict:
    pipeline = Compose(build_pipeline([
        *(dict(type=name) for name in DECODERS[decoder]),
        dict(type='Resize', scale=(-1, 64)), dict(type='CenterCrop', crop_size=56),
        dict(type='FormatShape', input_format='NCTHW'), dict(type='PackTADInputs')]))
    return pipeline(dict(filename=str(path), window=window, modality='RGB', start_index=0))


@pytest.mark.parametrize('name, num_frames, fps', VIDEOS)
def test_headers(shared_data, name, num_frames, fps):
    header = probe_video(shared_data / 'videos' / name)
    assert header.num_frames == num_frames
    assert header.fps == pytest.approx(fps)


@pytest.mark.parametrize('name', [video[0] for video in VIDEOS])
def test_decoders_agree_on_the_last_window(shared_data, name):
    path = shared_data / 'videos' / name
    header = probe_video(path)
    size = WindowSize(16, 3)
    start = sliding_window_starts(header.num_frames, 48, 0.5)[-1]
    window = size.window(name, start, header.fps, header.num_frames)
    if name == GAP:
        with pytest.raises(VideoReadError, match='seeks by a constant frame rate'):
            read(path, window, 'OpenCV')
    packed = {decoder: read(path, window, decoder) for decoder in DECODERS
              if (name, decoder) != (GAP, 'OpenCV')}
    for sample in packed.values():
        assert sample['inputs'].shape == (3, 16, 56, 56)
        assert sample['data_samples'].window == window
    for decoder, sample in packed.items():
        if decoder != 'Decord' or 'nasa' not in name:  # of two streams decord takes the larger
            np.testing.assert_array_equal(sample['inputs'], packed['PyAVSeek']['inputs'])


@pytest.mark.parametrize('decoder', DECODERS)
def test_dataset_over_real_videos(shared_data, write_annotation, decoder):
    videos = [video for video in VIDEOS if (video[0], decoder) != (GAP, 'OpenCV')]
    database = {name: {'subset': 'all', 'annotations': [{'segment': [0.3, 1.0], 'label': 'x'}]}
                for name, _, _ in videos}
    common = dict(
        type='sbp_tad.TemporalDetectionDataset', ann_file=str(write_annotation(database)),
        data_root=str(shared_data), filename_template='{video_id}', subsets='all',
        metainfo=dict(classes=['x']), num_frames=16, target_fps=5,
        pipeline=[*(dict(type=name) for name in DECODERS[decoder]),
                  dict(type='Resize', scale=(32, 32), keep_ratio=False),
                  dict(type='FormatShape', input_format='NCTHW'), dict(type='PackTADInputs')])
    training = DATASETS.build(common)
    for index in range(len(videos)):
        sample = training[index]
        assert sample['inputs'].shape == (3, 16, 32, 32)
        assert len(sample['data_samples'].gt_instances) == 1
    testing = DATASETS.build(dict(common, test_mode=True))
    ends: dict[str, float] = {}
    for index in range(len(testing)):
        item = testing.get_data_info(index)
        ends[item['video_id']] = item['window'].valid_end_seconds
    for name, num_frames, fps in videos:
        assert num_frames / fps - 1e-6 <= ends[name] < num_frames / fps + 0.2
