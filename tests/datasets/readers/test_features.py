"""Features as windows: which moments steps stand for, what training draws, what is refused."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.errors import DatasetError, VideoReadError
from sbp_tad.datasets.load_features import LoadFeatures
from sbp_tad.datasets.readers.feature_files import write_features, write_sidecar
from sbp_tad.datasets.readers.features import FeatureFiles, FeatureGrid
from sbp_tad.datasets.windows import draw_any_start
from sbp_tad.registry import DATASETS

FPS, FRAMES = 10.0, 200  # 20 s
VIDEO = VideoAnnotation('a', 'test', 20.0, FPS, FRAMES, np.zeros((0, 2)), ())
PIPELINE = [dict(type='LoadFeatures'), dict(type='PackTADInputs')]


def ramp(num_steps: int, channels: int = 3) -> np.ndarray:
    """(T, C) features whose value is the number of their step."""
    return np.repeat(np.arange(num_steps, dtype=np.float32)[:, None], channels, axis=1)


@pytest.fixture
def make(tmp_path, write_annotation):
    """Builds a dataset over video ``a``, 200 frames at 10 fps, and 47 steps of features."""
    def build(features=None, timing=None, segments=((5.0, 9.0), ), suffix='.npy', source=None,
              **arguments):
        (tmp_path / 'features').mkdir(exist_ok=True)
        if features is None:
            features = ramp(47)  # stride 4, window 16: (200 - 16) / 4 + 1
        if not isinstance(features, str):
            write_features(tmp_path / 'features' / f'a{suffix}', features)
        timing = dict(duration=FRAMES / FPS, fps=FPS) if timing is None else timing
        database = {'a': {'subset': 'test', **timing, 'annotations': [
            {'segment': list(segment), 'label': 'jump'} for segment in segments]}}
        source = dict(stride_frames=4, window_frames=16) if source is None else source
        defaults = dict(type='sbp_tad.TemporalDetectionDataset', data_root=str(tmp_path),
                        ann_file=str(write_annotation(database)), num_frames=16,
                        subsets=['test'], metainfo=dict(classes=['jump']), test_mode=True,
                        filename_template='{video_id}' + suffix, pipeline=PIPELINE,
                        data_prefix=dict(features='features'), source=source)
        return DATASETS.build({**defaults, **arguments})
    return build


def middles_seconds(window) -> np.ndarray:
    """The moments of a window's steps, by the rule that detectors use."""
    return window.grid_to_seconds(np.arange(window.num_frames) + 0.5, 1.0)


def test_a_step_stands_for_the_middle_of_what_it_has_seen(make):
    """ActionFormer's rule, second = (t * stride + window / 2) / fps, in every window."""
    samples = list(make())
    assert len(samples) == 5
    for sample in samples:
        steps = sample['inputs'][0].numpy()  # the number of each step is its value
        valid = sample['data_samples'].window.num_valid_frames
        moments = middles_seconds(sample['data_samples'].window)[:valid]
        np.testing.assert_allclose(moments, (steps[:valid] * 4 + 16 / 2) / FPS)


@settings(max_examples=50, deadline=None)
@given(fps=st.floats(1, 60), stride=st.floats(0.5, 64), window=st.floats(0.5, 64),
       first=st.integers(0, 1000), seconds=st.floats(0, 1000), width=st.floats(0.2, 5))
def test_seconds_to_grid_and_back(fps, stride, window, first, seconds, width):
    grid = FeatureGrid(fps, stride, window)
    found = grid.window('v', first, 8, 8, width)
    assert found.grid_to_seconds(found.seconds_to_grid(seconds, 1.0), 1.0) == pytest.approx(
        seconds, abs=1e-6)
    moment = found.seconds_to_grid((first * stride + window / 2) / fps, 1.0)
    assert moment * width == pytest.approx(0.5, abs=1e-5 * (1 + first))


@settings(max_examples=50, deadline=None)
@given(frames=st.floats(1, 5000), stride=st.integers(1, 32), extra=st.integers(0, 32))
def test_steps_reach_to_the_end_and_no_further_than_needed(frames, stride, extra):
    grid = FeatureGrid(10.0, stride, stride + extra)
    steps = grid.num_steps(frames)
    assert grid.num_frames(steps) >= frames - 1e-3
    assert steps == 1 or grid.num_frames(steps - 1) < frames


def test_actions_are_cut_where_the_steps_have_seen_them(make):
    """The first step has seen the video from its start, the last one to its end."""
    dataset = make(segments=((0.0, 20.0), ), num_frames=47)
    segments = dataset[0]['data_samples'].gt_instances.segments_seconds
    torch.testing.assert_close(segments, torch.tensor([[0.0, 20.0]], dtype=torch.float64))
    second = make(segments=((0.0, 20.0), ), overlap=0)[1]['data_samples']
    np.testing.assert_allclose(second.gt_instances.segments_seconds, [[6.4, 14.0]])


@pytest.mark.parametrize('overlap', [0.0, 0.3, 0.5])
def test_test_windows_hold_every_step(make, overlap):
    steps = [sample['inputs'][0].numpy() for sample in make(overlap=overlap)]
    assert set(np.concatenate(steps)) == set(range(47))
    assert all(len(one) == 16 and (np.diff(one) == 1).all() for one in steps)


def test_windows_without_overlap_tile_the_video(make):
    samples = list(make(overlap=None))
    assert [sample['data_samples'].window.num_valid_frames for sample in samples] == [16, 16, 15]
    steps = np.concatenate([sample['inputs'][0].numpy() for sample in samples])
    np.testing.assert_array_equal(steps, [*range(47), 0])


def test_short_video_is_padded(make):
    sample = make(num_frames=64)[0]
    window = sample['data_samples'].window
    assert sample['inputs'].shape == (3, 64) and window.num_valid_frames == 47
    assert not sample['inputs'][:, 47:].any()


@pytest.mark.parametrize('num_frames, expected', [(64, 64), (16, 47)])
def test_whole_videos(make, num_frames, expected):
    dataset = make(num_frames=num_frames, source=dict(stride_frames=4, window_frames=16,
                                                      cover='whole'))
    assert len(dataset) == 1
    window = dataset[0]['data_samples'].window
    assert dataset[0]['inputs'].shape == (3, expected)
    assert (window.num_frames, window.num_valid_frames) == (expected, 47)


@pytest.mark.parametrize('test_mode', [True, False])
@pytest.mark.parametrize('num_frames', [10, 94])
def test_resized_videos(make, num_frames, test_mode):
    """A feature that grows with time still does, at the same moments."""
    dataset = make(num_frames=num_frames, test_mode=test_mode, source=dict(
        stride_frames=4, window_frames=16, cover='resize'))
    sample = dataset[0]
    window = sample['data_samples'].window
    assert len(dataset) == 1 and window.num_valid_frames == window.num_frames == num_frames
    moments = (sample['inputs'][0].numpy() * 4 + 8) / FPS
    inner = slice(1, -1)  # beyond the first and the last step there is nothing to go by
    np.testing.assert_allclose(moments[inner], middles_seconds(window)[inner], rtol=1e-5)
    np.testing.assert_allclose(window.seen_seconds, (0, 20))


@pytest.mark.parametrize('timing', [dict(duration=20.0), dict(duration=20.0, fps=25)])
def test_steps_can_divide_the_video_evenly(make, timing):
    """ActivityNet's resized features: 100 steps, whatever the video's length and fps."""
    window = make(ramp(100), timing, source=dict(cover='resize'))[0]['data_samples'].window
    assert window.start_seconds == 0
    np.testing.assert_allclose(middles_seconds(window), (np.arange(16) + 0.5) * 20 / 16)


def test_training_draws_windows_that_begin_on_a_step(make):
    dataset = make(test_mode=False, segments=((5.0, 9.0), ))
    firsts = set()
    for seed in range(20):
        np.random.seed(seed)
        sample = dataset[0]
        steps, window = sample['inputs'][0].numpy(), sample['data_samples'].window
        assert (np.diff(steps) == 1).all() and 0 <= steps[0] <= 31
        np.testing.assert_allclose(middles_seconds(window), (steps * 4 + 8) / FPS)
        assert len(sample['data_samples'].gt_instances) == 1
        firsts.add(steps[0])
    assert len(firsts) > 3
    np.random.seed(3)
    again = [dataset[0]['inputs'][0, 0] for _ in range(3)]
    np.random.seed(3)
    assert again == [dataset[0]['inputs'][0, 0] for _ in range(3)]


def test_training_may_crop_videos_that_fit(make):
    pipeline = [dict(type='LoadFeatures', crop_ratio=(0.5, 0.9)), PIPELINE[1]]
    dataset = make(test_mode=False, num_frames=64, pipeline=pipeline)
    for seed in range(5):
        np.random.seed(seed)
        window = dataset[0]['data_samples'].window
        assert 0.5 * 47 - 1 <= window.num_valid_frames <= 0.9 * 47 + 1
        assert window.num_frames == 64
    for ratio in ((0.9, 0.5), (0, 1), (0.5, 2), (1, )):
        with pytest.raises(DatasetError, match='crop_ratio must be'):
            LoadFeatures(crop_ratio=ratio)


def test_training_may_draw_any_window_with_an_action(make):
    """Windows as of ActionFormer: one start as likely as another, if half of an action shows."""
    pipeline = [dict(type='LoadFeatures', draw='window'), PIPELINE[1]]
    dataset = make(test_mode=False, segments=((0.0, 1.0), (5.0, 15.0)), pipeline=pipeline)
    np.random.seed(0)
    samples = [dataset[0] for _ in range(200)]
    firsts = np.array([sample['inputs'][0, 0] for sample in samples], dtype=int)
    assert all(len(sample['data_samples'].gt_instances) for sample in samples)
    # Starts 0 and 1 show half of the first action, 3 to 28 fill half of the window with the second.
    # Drawn by action, half of them would be 0 to 5.
    assert set(firsts) == {0, 1, *range(3, 29)} and (firsts < 6).mean() < 0.3
    assert abs(firsts.mean() - 14) < 2
    with pytest.raises(DatasetError, match="draw must be one of .*got 'start'"):
        LoadFeatures(draw='start')


def test_windows_without_an_action_are_drawn_again():
    rng = np.random.default_rng(0)
    firsts = {draw_any_start(rng, np.array([[40.0, 44.0]]), 100, 10, 1.0, 0.5)
              for _ in range(400)}
    assert firsts == set(range(31, 44))  # from 2 of its 4 steps at the end to 2 at the start
    assert 0 <= draw_any_start(rng, np.zeros((0, 2)), 100, 10, 1.0, 0.5) <= 90


@pytest.mark.parametrize('suffix, options', [
    ('.npy', dict()), ('.npz', dict()), ('.pt', dict()), ('.h5', dict(key='features')),
    ('.npy', dict(channels_first=True))])
def test_every_format_gives_the_same_windows(make, suffix, options):
    features = ramp(47).T if options.get('channels_first') else ramp(47)
    sample = make(np.ascontiguousarray(features), suffix=suffix, source=dict(
        stride_frames=4, window_frames=16, num_channels=3, **options))[1]
    np.testing.assert_array_equal(sample['inputs'][0], np.arange(8, 24))
    assert sample['inputs'].dtype == torch.float32


def test_one_file_of_all_videos(make, tmp_path):
    h5py = pytest.importorskip('h5py')
    (tmp_path / 'features').mkdir()
    with h5py.File(tmp_path / 'features' / 'all.h5', 'w') as file:
        file['a/i3d'] = ramp(47)
    dataset = make('there', filename_template='all.h5', source=dict(
        stride_frames=4, window_frames=16, key='{video_id}/i3d'))
    assert dataset[0]['inputs'].shape == (3, 16)


def test_a_sidecar_knows_stride_and_fps(make, tmp_path):
    (tmp_path / 'features').mkdir()
    write_sidecar(tmp_path / 'features' / 'a.npy', dict(fps=20.0, stride_frames=8.0,
                                                        window_frames=32.0))
    window = make(source={})[0]['data_samples'].window
    assert (window.fps, window.stride_frames) == (20, 8)
    np.testing.assert_allclose(middles_seconds(window), (np.arange(16) * 4 + 8) / FPS)
    error = make(source=dict(stride_frames=4))[0]['data_samples'].error
    assert 'were extracted with stride_frames=8.0, the config says 4' in error


MISFITS = {
    'channels': (ramp(47), dict(num_channels=4), 'expected 4 channels, got shape .47, 3. read as'),
    'swapped': (ramp(47), dict(channels_first=True, num_channels=3), r'read as \(C, T\)'),
    'short': (ramp(30), {}, r'shape \(30, 3\) is read as \(T, C\), but its 30 steps at stride 4 '
              'end at 13.2 s, and the annotated duration is 20 s'),
    'long': (ramp(70), {}, 'end at 29.2 s, .* duration is 20 s. Check stride_frames'),
    'steps last': (ramp(47).T, {}, r'shape \(3, 47\) is read as \(T, C\), .* 47 steps, the length '
                   r'fits: set source=dict\(channels_first=True\)'),
    'steps first': (ramp(47), dict(channels_first=True), r'shape \(47, 3\) is read as \(C, T\), .*'
                    r'set source=dict\(channels_first=False\)'),
    'nan': (np.where(ramp(47) == 9, np.nan, 1), {}, 'a.npy: step 9 holds NaN or infinity'),
    'empty': (ramp(0), {}, 'the file holds no step'),
    'missing': ('none', {}, 'a.npy: no such feature file')}


@pytest.mark.parametrize('kind', MISFITS)
def test_every_misfit_is_named(make, kind):
    features, options, message = MISFITS[kind]
    source = dict(stride_frames=4, window_frames=16, **options)
    with pytest.raises(VideoReadError, match=message):
        make(features, test_mode=False, source=source, num_frames=64)[0]
    sample = make(features, source=source)[0]
    assert sample['inputs'] is None and sample['data_samples'].error


@pytest.mark.parametrize('suffix', ['.npy', '.npz', '.pt', '.h5'])
def test_a_file_of_another_width_is_named_with_both(tmp_path, suffix):
    if suffix == '.h5':
        pytest.importorskip('h5py')
    source = FeatureFiles(stride_frames=4)
    for name, width in (('a', 3), ('b', 3), ('c', 5)):
        write_features(tmp_path / f'{name}{suffix}', ramp(50, width))
    for name in 'ab':
        source.inspect(str(tmp_path / f'{name}{suffix}'), VIDEO)
    with pytest.raises(VideoReadError) as caught:
        source.inspect(str(tmp_path / f'c{suffix}'), VIDEO)
    assert str(caught.value).startswith(
        f'{tmp_path}/c{suffix}: expected 3 channels, as {tmp_path}/a{suffix} has, got shape '
        '(50, 5), which has 5.')
    FeatureFiles(stride_frames=4).inspect(str(tmp_path / f'c{suffix}'), VIDEO)
    assert source == FeatureFiles(stride_frames=4)


def test_a_missing_file_hints_at_one_with_another_name(tmp_path):
    write_features(tmp_path / 'v_a.npy', ramp(50))
    with pytest.raises(VideoReadError, match="a.npy: no such feature file. .* v_a.npy exists. Its "
                                             "name follows filename_template='v_{video_id}.npy'"):
        FeatureFiles(stride_frames=4).inspect(
            str(tmp_path / 'a.npy'), VIDEO)


def test_unlike_lengths_can_be_allowed(make):
    source = dict(stride_frames=4, window_frames=16, length_tolerance=0.5)
    assert make(ramp(30), source=source)[0]['data_samples'].error is None


@pytest.mark.parametrize('timing', [dict(duration=20.0), dict(duration=20.0, fps=99.0)])
def test_the_fps_of_the_config_replaces_that_of_the_annotation(make, timing):
    """As default_fps in ActionFormer's configs."""
    source = dict(stride_frames=4, window_frames=16, default_fps=30.0)
    sample = make(ramp(147), timing=timing, source=source)[0]['data_samples']
    assert sample.error is None and sample.window.fps == 30.0


@pytest.mark.parametrize('timing, source, message', [
    (dict(duration=20.0), None, 'the annotation has no fps, in which'),
    (dict(duration=20.0), None, 'without an annotation, give --fps'),
    (None, {}, 'the number of video frames between two steps is unknown')])
def test_unknown_timing(make, timing, source, message):
    assert message in make(timing=timing, source=source)[0]['data_samples'].error


def test_duration_from_the_file(make):
    samples = [sample['data_samples'] for sample in make(timing=dict(fps=10))]
    assert samples[-1].window.seen_seconds[1] == pytest.approx(20)


@pytest.mark.parametrize('options, message', [
    (dict(cover='all'), "cover must be one of .*got 'all'"),
    (dict(stride_frames=0), 'stride_frames must be above 0'),
    (dict(num_channels=-1), 'num_channels must be above 0'),
    (dict(window_frames=16), 'window_frames needs stride_frames')])
def test_options_that_cannot_work(options, message):
    with pytest.raises(DatasetError, match=message):
        FeatureFiles(**options)


@pytest.mark.parametrize('arguments, error, message', [
    (dict(stride_frames=4), DatasetError, 'neither stride_frames nor target_fps of the dataset'),
    (dict(target_fps=4), DatasetError, 'neither stride_frames nor target_fps of the dataset'),
    (dict(source=dict(fps=3)), DatasetError, "source has the options .*got also .'fps'")])
def test_declarations_that_cannot_work(make, arguments, error, message):
    with pytest.raises(error, match=message):
        make(**arguments)


def test_the_fixture_folder_is_where_the_error_says(make, tmp_path):
    error = make('none')[0]['data_samples'].error
    assert str(Path(tmp_path) / 'features' / 'a.npy') in error
