"""Suggest window and pyramid settings from the lengths of a data set's segments.

The settings serve a share ``coverage`` of the segments. Half of the segments
that are left out are the shortest ones, the other half the longest ones. The
frame rate of the videos is a limit: at stride 1 a feature step cannot become
shorter, and segments that are not longer than a step are not served. The
advice states the share that it serves.

``shortest`` and ``longest`` are the shortest and the longest segment to serve,
in seconds. The settings follow in this order:

* A feature step lasts at most ``shortest / 3``. If both ends of a segment of
  three steps are wrong by half a step, the tIoU is still at least 2/3.
* A window lasts ``longest / overlap``. Neighbouring test windows share
  ``overlap`` of their length, so each segment lies completely in one of them.
* The pyramid has enough levels that no point of the last level regresses more
  than four of its strides. (ActionFormer, ECCV 2022: level l has stride
  ``2 ** l`` and regresses 2 to 4 strides, with centre sampling in a radius of
  1.5 strides.)
"""
from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.errors import DatasetError

MIN_STEPS = 3
MIN_SAMPLED_FPS = 4.0  # lowest rate in use (LSTR on THUMOS'14); a lower one loses motion
MAX_REACH_STRIDES = 4.0
CENTER_RADIUS = 1.5  # strides, as in AnchorFreeHead
OPEN_END = 10000  # end of the last regression range, at least
ROUNDING = 1e-6
FPS_SPREAD = 0.01  # relative; within it a stride samples all videos alike


@dataclass(frozen=True)
class SegmentStatistics:
    """Statistics of a data set from which the advice is computed.

    Args:
        num_segments: number of segments with a length.
        shortest: shortest segment to serve, in seconds.
        median: median length of all segments, in seconds.
        longest: longest segment to serve, in seconds.
        longest_video: longest duration in seconds; None if one is unknown.
        fps: median frame rate of the videos; None if none is known.
        fps_range: lowest and highest frame rate; None if none is known.
    """

    num_segments: int
    shortest: float
    median: float
    longest: float
    longest_video: float | None
    fps: float | None
    fps_range: tuple[float, float] | None


@dataclass(frozen=True)
class BackboneShape:
    """Properties of a backbone that the advice depends on.

    Args:
        clip_len: frames per clip; a window is a multiple of it.
        frames_per_step: sampled frames per feature step.
    """

    clip_len: int = 1
    frames_per_step: float = 1.0


FRAME_BY_FRAME = BackboneShape()


@dataclass(frozen=True)
class WindowAdvice:
    """Settings of data set, neck and head.

    Args:
        num_frames: sampled frames per window.
        stride_frames: video frames between sampled frames, at ``video_fps``.
        target_fps: sampled frames per second.
        video_fps: frame rate of the videos, for ``stride_frames``.
        mixed_fps: True if the frame rates of the videos differ; then use
            ``target_fps`` instead of ``stride_frames``.
        overlap: share that neighbouring test windows have in common.
        frames_per_step: sampled frames per feature step.
        strides: strides of the pyramid levels, in feature steps.
        regression_ranges: regression ranges of the levels, in feature steps.
        coverage: share of the segments that are served.
    """

    num_frames: int
    stride_frames: int
    target_fps: float
    video_fps: float
    mixed_fps: bool
    overlap: float
    frames_per_step: float
    strides: tuple[int, ...]
    regression_ranges: tuple[tuple[int, int], ...]
    coverage: float

    @property
    def window_seconds(self) -> float:
        """Return the length of a window in seconds."""
        return self.num_frames / self.target_fps

    @property
    def step_seconds(self) -> float:
        """Return the length of a feature step in seconds."""
        return self.frames_per_step / self.target_fps


def segment_lengths(videos: Iterable[VideoAnnotation]) -> np.ndarray:
    """Return the lengths (N,) in seconds of all segments, clipped to their video, above 0."""
    lengths = [np.zeros(0)]
    for video in videos:
        end = np.inf if video.duration_seconds is None else video.duration_seconds
        lengths.append(np.diff(video.segments_seconds.clip(0, end), axis=1)[:, 0])
    joined = np.concatenate(lengths)
    return joined[joined > 0]


def summarize(videos: Iterable[VideoAnnotation], coverage: float = 0.99) -> SegmentStatistics:
    """Compute the statistics of the segments.

    Raises:
        DatasetError: no segment has a length, or ``coverage`` is outside (0, 1].
    """
    videos = list(videos)
    if not 0 < coverage <= 1:
        raise DatasetError(f'coverage must lie in (0, 1], got {coverage!r}.')
    lengths = segment_lengths(videos)
    if not len(lengths):
        raise DatasetError('the advice needs segments with a length, but there is none; '
                           'correct the annotation first.')
    tail = (1 - coverage) / 2
    durations = [video.duration_seconds for video in videos
                 if video.duration_seconds is not None]
    fps = [video.fps for video in videos if video.fps is not None]
    return SegmentStatistics(
        len(lengths), float(np.quantile(lengths, tail, method='lower')),
        float(np.median(lengths)), float(np.quantile(lengths, 1 - tail, method='higher')),
        max(durations) if len(durations) == len(videos) else None,
        float(np.quantile(fps, 0.5, method='nearest')) if fps else None,
        (min(fps), max(fps)) if fps else None)


def advise(videos: Iterable[VideoAnnotation], backbone: BackboneShape = FRAME_BY_FRAME,
           coverage: float = 0.99, overlap: float = 0.5, default_fps: float = 30.0
           ) -> WindowAdvice:
    """Return settings that serve ``coverage`` of the segments, as far as the frames allow.

    ``WindowAdvice.coverage`` is the share that they serve. It is below
    ``coverage`` only if the stride is 1 at the median frame rate of the videos
    and the shortest segment to serve is still not longer than a step.

    Args:
        videos: training videos without their ignored labels.
        backbone: known properties of the backbone.
        coverage: share of the segments to serve, in (0, 1].
        overlap: share that neighbouring test windows have in common, in (0, 1).
        default_fps: frame rate if no video has one.

    Raises:
        DatasetError: see :func:`summarize`, or ``overlap`` is outside (0, 1).
    """
    videos = list(videos)
    if not 0 < overlap < 1:
        raise DatasetError(f'overlap must lie in (0, 1) for advice, got {overlap!r}: without '
                           'overlap every test window may cut an action.')
    facts = summarize(videos, coverage)
    video_fps = facts.fps or default_fps
    low, high = facts.fps_range or (video_fps, video_fps)
    stride = _stride_frames(facts, video_fps, backbone.frames_per_step)
    target_fps = video_fps / stride
    step_seconds = backbone.frames_per_step / target_fps
    num_levels = _num_levels(facts.longest / step_seconds)
    num_frames = _num_frames(facts, target_fps, overlap, backbone, num_levels)
    return WindowAdvice(
        num_frames, stride, target_fps, video_fps, high - low > FPS_SPREAD * low, overlap,
        backbone.frames_per_step, tuple(2 ** level for level in range(num_levels)),
        regression_ranges(num_levels),
        served_share(videos, step_seconds, num_frames / target_fps, overlap, num_levels))


def regression_ranges(num_levels: int) -> tuple[tuple[int, int], ...]:
    """Return ActionFormer's ranges: (0, 4), (4, 8), ..., doubling, the last one open."""
    ends = [0] + [4 * 2 ** level for level in range(num_levels - 1)]
    ends.append(max(OPEN_END, 4 * ends[-1]))
    return tuple(zip(ends, ends[1:]))


def longest_reachable(num_levels: int) -> float:
    """Return the length in steps of the longest segment that the last level can regress.

    A point lies at most 1.5 strides from the centre of the segment. Half the
    length of the segment and this distance must not exceed four strides.
    """
    return 2 * (MAX_REACH_STRIDES - CENTER_RADIUS) * 2 ** (num_levels - 1)


def served_share(videos: Iterable[VideoAnnotation], step_seconds: float, window_seconds: float,
                 overlap: float, num_levels: int) -> float:
    """Return the share of the segments that fit into a test window and a pyramid level.

    A segment must be longer than a step, so that it contains a point, and
    short enough for the last level. It lies completely in a test window if it
    is not longer than the overlap of two neighbouring windows, or if the
    window is at least as long as the video.
    """
    served = total = 0
    for video in videos:
        lengths = segment_lengths([video])
        end = np.inf if video.duration_seconds is None else video.duration_seconds
        room = end if end <= window_seconds else overlap * window_seconds
        steps = lengths / step_seconds
        fits = (lengths <= room * (1 + ROUNDING)) & (steps > 1) \
            & (steps <= longest_reachable(num_levels) * (1 + ROUNDING))
        served, total = served + int(fits.sum()), total + len(lengths)
    return served / total


def _stride_frames(facts: SegmentStatistics, video_fps: float, frames_per_step: float) -> int:
    """Return the largest stride that still samples short segments and motion densely enough."""
    needed = max(MIN_STEPS * frames_per_step / facts.shortest, MIN_SAMPLED_FPS)
    return max(1, math.floor(video_fps / needed + ROUNDING))


def _num_levels(longest_steps: float) -> int:
    levels = 1
    while longest_reachable(levels) * (1 + ROUNDING) < longest_steps:
        levels += 1
    return levels


def _num_frames(facts: SegmentStatistics, target_fps: float, overlap: float,
                backbone: BackboneShape, num_levels: int) -> int:
    """Return a window for the longest segment, in whole clips and whole steps of the last level."""
    seconds = facts.longest / overlap
    if facts.longest_video is not None:  # a window with the whole video needs no neighbour
        seconds = min(seconds, facts.longest_video)
    unit = math.lcm(backbone.clip_len, 2 ** (num_levels - 1) * _whole(backbone.frames_per_step))
    return unit * math.ceil(seconds * target_fps / unit - ROUNDING)


def _whole(frames_per_step: float) -> int:
    return round(frames_per_step) if frames_per_step == round(frames_per_step) else 1


def explain(advice: WindowAdvice, facts: SegmentStatistics) -> list[tuple[str, str, str]]:
    """Return (setting, value, reason in one sentence) for each number of the advice."""
    alike = 'the videos have different fps, so set target_fps and omit stride_frames' \
        if advice.mixed_fps else 'all videos have this fps, so set either of the two'
    steps = facts.shortest / advice.step_seconds
    known = ' (assumed: no video has an fps)' if facts.fps is None else ''
    reason = (f'the shortest segments to detect last {facts.shortest:g} s; a feature step '
              f'should last at most 1/{MIN_STEPS} of that, and motion needs {MIN_SAMPLED_FPS:g} '
              f'frames per second; such a segment has {steps:.1f} feature steps')
    if advice.stride_frames == 1 and steps < MIN_STEPS:
        reason += ', the most that the frame rate of the videos allows'
        if steps <= 1:
            reason += '; it is not longer than a step, so it cannot be detected'
    whole = facts.longest_video is not None and facts.longest_video <= advice.window_seconds
    held = ('the longest video lies in one window' if whole else
            f'test windows overlap by {advice.overlap:g} of their length, so every segment of up '
            f'to {advice.overlap * advice.window_seconds:.1f} s lies completely in one of them')
    half = facts.longest / advice.step_seconds / 2
    return [
        ('target_fps', f'{advice.target_fps:.4g}', f'{reason}.'),
        ('stride_frames', f'{advice.stride_frames}',
         f'the same at {advice.video_fps:g} fps{known}; {alike}.'),
        ('num_frames', f'{advice.num_frames}',
         f'a window lasts {advice.window_seconds:.1f} s: {held}; the longest segments to detect '
         f'last {facts.longest:.1f} s. The number is a multiple of the clip length and of the '
         'stride of the last pyramid level.'),
        ('num_levels', f'{len(advice.strides)}',
         f'pyramid levels with strides 1 to {advice.strides[-1]}: a point regresses the ends of '
         f'its segment up to {MAX_REACH_STRIDES:g} strides away, and half of the longest segment '
         f'is {half:.0f} steps of {advice.step_seconds:.3g} s.'),
        ('regression_ranges', str(advice.regression_ranges).replace(' ', ''),
         'distances in feature steps, from a point to the farther end of its segment: each level '
         'regresses two to four of its strides, the last level all longer distances.'),
        ('coverage', f'{100 * advice.coverage:.2f} %',
         f'share of the {facts.num_segments} segments that can be detected: they lie completely in '
         'one window, are longer than a step, and are short enough for the last level.'),
    ]
