"""SampleWindow and PackTADInputs, alone and among mmaction's transforms."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets import PackTADInputs, SampleWindow, build_pipeline, pack_failure
from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.datasets.frame_clock import FrameClock
from sbp_tad.datasets.readers.video_header import VideoHeader
from sbp_tad.datasets.transforms import decoder_clock
from sbp_tad.datasets.windows import WindowSize
from sbp_tad.registry import TRANSFORMS
from sbp_tad.structures import Window

CLASSES = ('jump', 'throw')
HEADER = VideoHeader(FrameClock(40, 10.0))


def annotation(*items: tuple, duration: float | None = 4.0, fps: float | None = 10.0
               ) -> VideoAnnotation:
    segments = np.array([item[:2] for item in items], dtype=np.float64).reshape(-1, 2)
    return VideoAnnotation('v', 'training', duration, fps, None, segments,
                           tuple(item[2] for item in items))


def results(video: VideoAnnotation | None, header: VideoHeader = HEADER, **more) -> dict:
    return dict(filename='v.mp4', annotation=video, class_names=CLASSES, video_header=header,
                window_size=WindowSize(8, 2), modality='RGB', start_index=0, **more)


def test_training_window_sets_what_mmaction_reads():
    np.random.seed(0)
    out = SampleWindow()(results(annotation((1.0, 2.0, 'throw')), total_frames=40, avg_fps=10.0))
    window = out['window']
    assert out['frame_inds'].shape == (8,) and out['frame_inds'].dtype == np.int64
    assert (out['clip_len'], out['num_clips'], out['frame_interval']) == (8, 1, 2)
    assert out['total_frames'] == 40 and window.num_valid_frames == 8
    assert out['gt_segments_seconds'].shape == (1, 2)
    np.testing.assert_array_equal(out['gt_labels'], [1])


def test_training_follows_the_global_numpy_seed():
    def starts(seed: int) -> list[float]:
        np.random.seed(seed)
        sample = SampleWindow()
        return [sample(results(annotation((1, 2, 'jump'))))['window'].start_frame
                for _ in range(3)]
    assert starts(3) == starts(3) != starts(4)
    assert len(set(starts(3))) == 3


def test_the_frame_of_a_stride_is_chosen():
    window = Window('v', 0, 3, 4, 10.0, 3)
    item = results(annotation((0.0, 1.0, 'throw')), window=window)
    assert SampleWindow()(dict(item))['frame_inds'].tolist() == [2, 6, 10]
    assert SampleWindow(frame='first')(dict(item))['frame_inds'].tolist() == [0, 4, 8]
    with pytest.raises(DatasetError, match="must be one of .'middle', 'first'.*, got 'last'"):
        SampleWindow(frame='last')


def test_window_of_the_dataset_is_kept():
    window = Window('v', 10, 8, 2, 10.0, 8)
    out = SampleWindow()(results(annotation((0.9, 1.4, 'jump'), (3, 4, 'throw')), window=window))
    assert out['window'] == window
    np.testing.assert_array_equal(out['frame_inds'], 11 + 2 * np.arange(8))
    np.testing.assert_allclose(out['gt_segments_seconds'], [[1.0, 1.4]])
    np.testing.assert_array_equal(out['gt_labels'], [0])


def test_a_small_rest_of_an_action_is_dropped():
    window = Window('v', 10, 8, 2, 10.0, 8)
    video = annotation((0.0, 1.2, 'jump'))
    assert len(SampleWindow(min_keep_share=0.5)(results(video, window=window))['gt_labels']) == 0
    kept = SampleWindow(min_keep_share=0.1)(results(video, window=window))
    np.testing.assert_allclose(kept['gt_segments_seconds'], [[1.0, 1.2]])


def test_short_video_is_padded_with_its_last_frame():
    header = VideoHeader(FrameClock(10, 10.0))
    out = SampleWindow()(results(annotation((0, 1, 'jump'), duration=1.0), header))
    assert out['window'].num_valid_frames == 5
    np.testing.assert_array_equal(out['frame_inds'], [1, 3, 5, 7, 9, 9, 9, 9])
    np.testing.assert_allclose(out['gt_segments_seconds'], [[0, 1]])


def test_frames_follow_seconds_when_the_file_has_another_fps():
    window = Window('v', 10, 8, 2, 10.0, 8)  # 1.0 to 2.6 s
    video = annotation((1, 2, 'jump'))
    out = SampleWindow()(results(video, VideoHeader(FrameClock(120, 30.0)), window=window))
    np.testing.assert_array_equal(out['frame_inds'], 33 + 6 * np.arange(8))


def test_training_without_annotated_fps_uses_the_file():
    out = SampleWindow()(results(annotation((1, 2, 'jump'), duration=None, fps=None),
                                 VideoHeader(FrameClock(100, 25.0))))
    assert out['window'].fps == 25.0
    assert out['window'].start_frame + 16 <= 100


def test_window_beyond_the_end_of_the_file_is_all_padding():
    window = Window('v', 30, 8, 2, 10.0, 5)
    out = SampleWindow()(results(annotation((3, 4, 'jump')), VideoHeader(FrameClock(20, 10.0)),
                                 window=window))
    assert out['window'].num_valid_frames == 0
    np.testing.assert_array_equal(out['frame_inds'], [19] * 8)
    assert out['gt_segments_seconds'].shape == (0, 2) and out['gt_labels'].shape == (0,)


def test_training_stays_inside_a_file_shorter_than_annotated():
    video = annotation((1, 2, 'jump'), (8, 9, 'throw'), duration=10.0)
    for seed in range(20):
        np.random.seed(seed)
        out = SampleWindow()(results(video, VideoHeader(FrameClock(30, 10.0))))
        assert out['window'].valid_end_seconds <= 3.0 + 1e-6
        np.testing.assert_array_equal(out['gt_labels'], [0])
    with pytest.raises(VideoReadError, match='v.mp4: the file ends after 0.5 s, before the first'):
        SampleWindow()(results(video, VideoHeader(FrameClock(5, 10.0))))


def test_video_without_annotation_has_no_ground_truth():
    out = SampleWindow()(results(None, window=Window('v', 0, 8, 2, 10.0, 8)))
    assert 'gt_labels' not in out


@pytest.mark.parametrize('claimed, avg_fps, header, expected', [
    (160, 30.0, VideoHeader(FrameClock(127, 30.0)), (127, 30.0)),  # frames hidden by an edit list
    (0, None, VideoHeader(FrameClock(310, 30.0)), (310, 30.0)),  # mkv: PyAV counts 0 frames
    (390, 29.97, VideoHeader(FrameClock(325, 25.0)), (390, 29.97)),  # decord took another stream
    (100, 25.0, VideoHeader(FrameClock(200, 25.0)), (100, 25.0)),
])
def test_clock_of_the_decoder(claimed, avg_fps, header, expected):
    clock = decoder_clock(dict(total_frames=claimed, avg_fps=avg_fps, video_header=header))
    assert (clock.num_frames, clock.fps) == expected


@pytest.mark.parametrize('shares', [(0.5, 0.75), (0.5, 0.0), (1.1, 0.5)])
def test_shares_are_checked(shares):
    with pytest.raises(DatasetError, match='0 < min_keep_share <= min_action_share <= 1, got'):
        SampleWindow(*shares)


PIPELINES = {
    'decord': ('DecordInit', 'DecordDecode'),
    'pyav': ('PyAVInit', 'PyAVDecode'),
    'opencv': ('OpenCVInit', 'OpenCVDecode'),
    'ours': ('PyAVSeekDecode', ),
}


@pytest.mark.parametrize('decoder', PIPELINES)
def test_every_decoder_shows_the_frames_asked_for(decoder, small_video, read_frame_numbers):
    *init, decode = PIPELINES[decoder]
    pipeline = Compose(build_pipeline([
        *(dict(type=name) for name in init), SampleWindow(), dict(type=decode),
        dict(type='FormatShape', input_format='NCTHW'), PackTADInputs()]))
    window = Window('v', 5, 12, 3, 10.0, 12)
    info = results(annotation((0.6, 3.0, 'jump')), window=window)
    del info['video_header']
    packed = pipeline(dict(info, filename=str(small_video)))
    frames = packed['inputs']
    assert frames.shape == (3, 12, 48, 64) and frames.dtype == torch.uint8
    np.testing.assert_array_equal(read_frame_numbers(frames.transpose(0, 1).numpy()),
                                  [*range(6, 40, 3)])


def test_mmaction_spatial_transforms_drop_in(small_video):
    pipeline = Compose(build_pipeline([
        dict(type='DecordInit'), dict(type='SampleWindow'), dict(type='DecordDecode'),
        dict(type='Resize', scale=(-1, 40)),
        dict(type='RandomResizedCrop'),
        dict(type='Resize', scale=(32, 32), keep_ratio=False), dict(type='Flip', flip_ratio=0.5),
        dict(type='ColorJitter', hue=0), dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackTADInputs')]))
    info = results(annotation((0.6, 3.0, 'jump')))
    packed = pipeline(dict(info, filename=str(small_video)))
    sample = packed['data_samples']
    assert packed['inputs'].shape == (3, 8, 32, 32)
    assert sample.error is None and sample.video_id == 'v'
    assert sample.window.num_frames == 8
    assert sample.gt_instances.segments_seconds.dtype == torch.float64
    assert sample.gt_instances.labels.dtype == torch.int64


def test_registered_names():
    for name in ('SampleWindow', 'sbp_tad.SampleWindow', 'PackTADInputs', 'DecordInit'):
        assert TRANSFORMS.get(name) is not None
    assert 'min_keep_share=0.5' in repr(SampleWindow())


@pytest.mark.parametrize('shape', [(2, 3, 8, 4, 4), (3, 9, 4, 4), (8, 3, 4)])
def test_pack_says_what_it_expects(shape):
    window = Window('v', 0, 8, 2, 10.0, 8)
    with pytest.raises(DatasetError, match=r"expects frames \(1, C, 8, H, W\), got .*FormatShape"):
        PackTADInputs()(dict(window=window, imgs=np.zeros(shape, dtype=np.uint8)))


def test_a_failure_is_collated_beside_a_success():
    window = Window('v', 0, 8, 2, 10.0, 8)
    good = PackTADInputs()(dict(window=window, imgs=np.zeros((1, 3, 8, 4, 4), dtype=np.uint8)))
    bad = pack_failure('w', None, 'w.mp4', 'w.mp4: broken')
    for batch in ([good, bad], [bad, good]):
        collated = pseudo_collate(batch)
        assert [item is None for item in collated['inputs']] == [b is bad for b in batch]
        assert {sample.error for sample in collated['data_samples']} == {None, 'w.mp4: broken'}


@pytest.mark.parametrize('scope', ['mmaction', 'mmengine', 'sbp_tad'])
def test_pipelines_build_in_any_scope(scope):
    with DefaultScope.overwrite_default_scope(scope):
        built = build_pipeline([dict(type='DecordInit'), dict(type='SampleWindow'),
                                dict(type='mmaction.Flip'), len])
    assert [type(transform).__name__ for transform in built[:3]] == [
        'DecordInit', 'SampleWindow', 'Flip']
    assert built[3] is len
