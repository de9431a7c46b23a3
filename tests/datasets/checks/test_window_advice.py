"""The advised windows and pyramids, held against the dataset's windows and the head's assigner."""
from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from sbp_tad.annotations import VideoAnnotation, read_annotations
from sbp_tad.datasets.checks.window_advice import (
    BackboneShape,
    advise,
    explain,
    regression_ranges,
    served_share,
    summarize,
)
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.toy_videos import build
from sbp_tad.datasets.windows import sliding_window_starts
from sbp_tad.models.heads.anchor_free_head import ACTIONFORMER_RANGES, AnchorFreeHead
from sbp_tad.models.task_modules.assigners import assign_points
from sbp_tad.models.task_modules.prior_generators import pyramid_points

ROOT = Path(__file__).parents[3]


def video(*segments, duration=600.0, fps=30.0, name='v'):
    return VideoAnnotation(name, 'training', duration, fps, None,
                           np.array(segments, dtype=float).reshape(-1, 2), ('x',) * len(segments))


def is_learnable(segment, whole, advice) -> bool:
    """Return True if a test window holds the whole segment and the head gives it a point there."""
    span = advice.num_frames * whole.fps / advice.target_fps
    starts = sliding_window_starts(whole.duration_seconds * whole.fps, span, advice.overlap)
    starts = starts / whole.fps
    ends = starts + advice.window_seconds
    held = (starts <= segment[0] + 1e-6) & (segment[1] <= ends + 1e-6)
    steps = round(advice.num_frames / advice.frames_per_step)
    points = pyramid_points([steps // stride for stride in advice.strides], advice.strides,
                            advice.regression_ranges, 0.5)
    for start in starts[held]:
        grid = torch.tensor((segment - start) / advice.step_seconds)[None]
        classes, _ = assign_points(points, grid, torch.tensor([0]), 1)
        if classes.any():
            return True
    return False


LOG_LENGTHS = st.lists(st.floats(np.log(0.1), np.log(60)), min_size=1, max_size=60)


@settings(deadline=None, max_examples=60)
@example([np.log(0.135)], (32, 2), (12, 60, 60), 0.5, 0)  # shorter than a step at every frame
@given(LOG_LENGTHS, st.sampled_from([(1, 1), (8, 2), (16, 1), (32, 2)]),
       st.sampled_from([(30,), (25,), (24, 30), (12, 60, 60)]), st.sampled_from([0.25, 0.5, 0.75]),
       st.integers(0, 2**31))
def test_at_least_99_percent_can_be_learned_and_found(logs, shape, fps, overlap, seed):
    """Test the advice's promise with the windows and the assigner of training and testing."""
    rng = np.random.default_rng(seed)
    videos = []
    for index, length in enumerate(np.exp(logs)):
        duration = length + rng.uniform(0, 200)
        start = rng.uniform(0, duration - length)
        videos.append(video((start, start + length), duration=duration,
                            fps=float(fps[index % len(fps)]), name=str(index)))
    advice = advise(videos, BackboneShape(*shape), overlap=overlap)
    found = [is_learnable(each.segments_seconds[0], each, advice) for each in videos]
    assert np.mean(found) >= advice.coverage - 1e-9
    has_all_frames = advice.stride_frames == 1
    shortest = summarize(videos, 0.99).shortest
    assert advice.coverage >= 0.99 - 1e-9 or (has_all_frames and shortest <= advice.step_seconds)
    assert advice.num_frames % shape[0] == 0
    assert advice.num_frames / shape[1] % advice.strides[-1] == 0


@settings(deadline=None, max_examples=50)
@given(LOG_LENGTHS, st.floats(0.5, 1.0))
def test_statistics_leave_out_no_more_than_allowed(logs, coverage):
    lengths = np.exp(logs)
    videos = [video((1, 1 + length)) for length in lengths]
    facts = summarize(videos, coverage)
    inside = (lengths >= facts.shortest - 1e-6) & (lengths <= facts.longest + 1e-6)
    assert inside.mean() >= coverage - 1e-9
    assert facts.num_segments == len(lengths)


def test_an_outlier_does_not_decide():
    usual = [video(*((i, i + 2) for i in range(0, 500, 2)))] * 2
    strange = video((0, 300), (400, 400.05))
    advice = advise([*usual, strange])
    assert advice.coverage == pytest.approx(500 / 502)
    assert advice.window_seconds < 10 and advice.target_fps < 10
    assert advise([*usual, strange], coverage=1.0).window_seconds >= 600


def test_window_is_no_longer_than_whole_videos_need():
    videos = [video((0, 50), (50, 52), duration=60)]
    advice = advise(videos)
    assert 60 <= advice.window_seconds < 80 and advice.coverage == 1
    assert 'the longest video lies in one window' in explain(advice, summarize(videos))[2][2]


def test_slow_actions_keep_enough_frames_for_motion():
    advice = advise([video((0, 100), (100, 300))])
    assert (advice.stride_frames, advice.target_fps) == (7, pytest.approx(30 / 7))


def test_actions_too_short_for_the_video_are_said():
    videos = [video((0, 0.05), (1, 1.06))]
    advice = advise(videos)
    assert advice.stride_frames == 1
    reason = explain(advice, summarize(videos))[0][2]
    assert 'has 1.5 feature steps, the most that the frame rate of the videos allows' in reason
    assert advise([video((0, 0.02))]).coverage == 0


def test_unknown_fps_and_duration():
    videos = [video((0, 4), (5, 10), fps=None, duration=None)]
    advice = advise(videos)
    assert advice.video_fps == 30 and not advice.mixed_fps and advice.coverage == 1
    assert 'assumed: no video has an fps' in explain(advice, summarize(videos))[1][2]


def test_segments_count_as_far_as_the_video_goes():
    facts = summarize([video((0, 4), (8, 30), (20, 25), (3, 3), duration=10)])
    assert (facts.num_segments, facts.shortest, facts.longest) == (2, 2, 4)


def test_served_share_counts_each_reason_to_fail():
    one = video((0, 1), (0, 0.1), (0, 8), (0, 30))
    # steps of 0.2 s; a window of 12 s holds 6 s; two levels reach 10 steps
    assert served_share([one], 0.2, 12.0, 0.5, 2) == 0.25
    assert served_share([one], 0.05, 12.0, 0.5, 6) == 0.5
    assert served_share([one], 0.2, 16.0, 0.5, 4) == 0.5
    assert served_share([video((0, 8), duration=9)], 0.2, 9, 0.5, 4) == 1.0


def test_ranges_are_those_of_actionformer():
    assert regression_ranges(6) == ACTIONFORMER_RANGES
    assert regression_ranges(1) == ((0, 10000),)


@pytest.mark.parametrize('num_levels', [1, 6, 12, 13, 14, 20])
def test_the_head_takes_the_ranges_of_any_number_of_levels(num_levels):
    ranges = regression_ranges(num_levels)
    strides = [2 ** level for level in range(num_levels)]
    head = AnchorFreeHead(1, 8, strides=strides, regression_ranges=ranges)
    assert head.regression_ranges == ranges
    assert ranges[-1][1] >= 4 * strides[-1]  # the farthest end that the last level serves


def test_segments_of_hours_among_short_ones_get_ranges_that_the_head_takes():
    advice = advise([video(*((second, second + 0.4) for second in range(0, 400, 10)),
                           (1000, 55000), duration=60000.0, fps=25.0)], coverage=1.0)
    AnchorFreeHead(1, 8, strides=advice.strides, regression_ranges=advice.regression_ranges)
    assert advice.coverage == 1.0


@pytest.mark.parametrize('options, message', [
    (dict(coverage=0), r'coverage must lie in \(0, 1\], got 0'),
    (dict(coverage=1.1), 'coverage must lie'),
    (dict(overlap=0), r'overlap must lie in \(0, 1\) for advice, got 0'),
    (dict(overlap=1), 'overlap must lie'),
])
def test_impossible_wishes(options, message):
    with pytest.raises(DatasetError, match=message):
        advise([video((0, 1))], **options)


def test_no_segment_no_advice():
    with pytest.raises(DatasetError, match='needs segments with a length'):
        advise([video(), video((3, 3))])


@pytest.fixture
def toy_videos(tmp_path, monkeypatch):
    """The annotation of the whole toy set, its videos not drawn."""
    monkeypatch.setattr(build, 'write_video', lambda path, frames, fps: path.touch())
    build.build_toy_dataset(tmp_path, build.ToySettings())
    return list(read_annotations(tmp_path / 'annotations.json', 'training').values())


def test_toy_set_gets_the_settings_of_its_recipe(toy_videos):
    cfg = Config.fromfile(ROOT / 'configs/toy/actionformer_r3d10_sbp-r4_toy.py')
    advice = advise(toy_videos, BackboneShape(cfg.model.backbone.clip_len, 2))
    dataset = cfg.train_dataloader.dataset
    assert (advice.num_frames, advice.stride_frames) == (dataset.num_frames, dataset.stride_frames)
    assert advice.strides == tuple(cfg.model.head.strides)
    assert advice.regression_ranges == tuple(map(tuple, cfg.model.head.regression_ranges))
    assert advice.coverage >= 0.99 and not advice.mixed_fps


@pytest.mark.parametrize('shape, stride, fps', [
    (BackboneShape(1, 1), 4, 7.5),    # AdaTAD and ActionFormer end to end: stride 4 at 30 fps
    (BackboneShape(16, 1), 4, 7.5),
    (BackboneShape(32, 2), 2, 15.0),  # TALLFormer's Swin: 15 fps, two frames a step
])
def test_thumos14_gets_what_published_recipes_use(shared_data, shape, stride, fps):
    path = shared_data / 'thumos14' / 'thumos14_official_with_ambiguous.json'
    videos = [each.without(['Ambiguous'])
              for each in read_annotations(path, 'validation').values()]
    advice = advise(videos, shape)
    assert (advice.stride_frames, advice.target_fps, advice.mixed_fps) == (stride, fps, True)
    assert advice.regression_ranges == ACTIONFORMER_RANGES
    assert 30.7 < advice.window_seconds < 102.4  # DaoTAD's and AdaTAD's windows
    assert advice.num_frames % 32 == 0 and advice.coverage >= 0.99


def test_every_number_is_explained_in_a_sentence():
    videos = [video((0, 4), (5, 10))]
    rows = explain(advise(videos), summarize(videos))
    assert [name for name, _, _ in rows] == [
        'target_fps', 'stride_frames', 'num_frames', 'num_levels', 'regression_ranges', 'coverage']
    for _, value, reason in rows:
        assert re.search(r'\d', value) and reason.endswith('.') and len(reason) > 40


def test_a_segment_shorter_than_a_step_of_all_frames_is_said_to_be_unserved():
    videos = [video((1, 1.135), duration=10.0, fps=12.0)]
    advice = advise(videos, BackboneShape(32, 2))
    assert (advice.stride_frames, advice.coverage) == (1, 0.0)
    reasons = {name: why for name, _, why in explain(advice, summarize(videos))}
    assert 'allows; it is not longer than a step, so it cannot be detected' in reasons['target_fps']
