"""Advise windows and a pyramid for a data set: numbers that follow from its segments.

The advice serves a share ``coverage`` of the segments; it leaves out the
shortest and the longest in equal parts. The frame rate of the videos sets the
limit: at stride 1 a step cannot become shorter, and segments that are no
longer than a step are not served. The advice states the share that it serves.
In the order of the derivation, for the ``shortest`` and the ``longest``
segment in seconds among the rest:

* a feature step lasts at most a third of ``shortest``: with each end off by
  half a step, a segment of three steps still reaches tIoU 2/3;
* a window lasts ``longest / overlap``: neighbouring test windows share
  ``overlap`` of it, so that each segment is whole in one of them;
* the pyramid has so many levels that at the last one no point has to regress
  more than four strides (ActionFormer, ECCV 2022: level l answers for 2 to 4
  strides of ``2 ** l``, with centre sampling in a radius of 1.5 strides).
"""
from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.datasets.errors import DatasetError

MIN_STEPS = 3
MIN_SAMPLED_FPS = 4.0  # the lowest rate in use (LSTR on THUMOS'14): slower, motion is lost
MAX_REACH_STRIDES = 4.0
CENTER_RADIUS = 1.5  # strides, as in AnchorFreeHead
OPEN_END = 10000  # of the last regression range
ROUNDING = 1e-6
FPS_SPREAD = 0.01  # relative: videos within it are sampled alike by a stride


@dataclass(frozen=True)
class SegmentStatistics:
    """What the advice is drawn from, in seconds.

    Args:
        num_segments: N.
        shortest, median, longest: lengths of segments; the ends after the
            share that need not be covered is left out.
        longest_video: None where a duration is not known.
        fps: the middle one of the videos' own; None where none is known.
        fps_range: the lowest and the highest.
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
    """What of a backbone the advice depends on.

    Args:
        clip_len: frames of a clip; windows are a multiple of it.
        frames_per_step: sampled frames of a feature step.
    """

    clip_len: int = 1
    frames_per_step: float = 1.0


FRAME_BY_FRAME = BackboneShape()


@dataclass(frozen=True)
class WindowAdvice:
    """Settings of data set, neck and head.

    Args:
        num_frames: sampled frames of a window.
        stride_frames: video frames from one to the next at ``video_fps``.
        target_fps: sampled frames a second.
        video_fps: what ``stride_frames`` counts in.
        mixed_fps: whether the videos differ, so that ``target_fps`` samples
            them alike and ``stride_frames`` does not.
        overlap: of neighbouring test windows.
        frames_per_step: sampled frames of a feature step.
        strides: of the pyramid levels, in feature steps.
        regression_ranges: of the levels, in feature steps.
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
        """Length of a window."""
        return self.num_frames / self.target_fps

    @property
    def step_seconds(self) -> float:
        """Length of a feature step."""
        return self.frames_per_step / self.target_fps


def segment_lengths(videos: Iterable[VideoAnnotation]) -> np.ndarray:
    """Seconds (N,) of all segments that have a length, as far as they lie in their video."""
    lengths = [np.zeros(0)]
    for video in videos:
        end = np.inf if video.duration_seconds is None else video.duration_seconds
        lengths.append(np.diff(video.segments_seconds.clip(0, end), axis=1)[:, 0])
    joined = np.concatenate(lengths)
    return joined[joined > 0]


def summarize(videos: Iterable[VideoAnnotation], coverage: float = 0.99) -> SegmentStatistics:
    """Statistics of the segments, ``coverage`` of them from shortest to longest.

    Raises:
        DatasetError: no segment with a length, or coverage outside (0, 1].
    """
    videos = list(videos)
    if not 0 < coverage <= 1:
        raise DatasetError(f'coverage must lie in (0, 1], got {coverage!r}.')
    lengths = segment_lengths(videos)
    if not len(lengths):
        raise DatasetError('advice needs segments with a length, and there is none; correct '
                           'the annotation first.')
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

    ``WindowAdvice.coverage`` is the share that they serve. It is below the
    asked one only where the stride is 1 at the median frame rate of the videos
    and the shortest segment to serve still lasts no longer than a step.

    Args:
        videos: those to train on, less the labels that do not count.
        backbone: what is known of it.
        coverage: share in (0, 1] of the segments to serve.
        overlap: share in (0, 1) that neighbouring test windows have in common.
        default_fps: where no video has an fps.

    Raises:
        DatasetError: see :func:`summarize`, or overlap outside (0, 1).
    """
    videos = list(videos)
    if not 0 < overlap < 1:
        raise DatasetError(f'overlap must lie in (0, 1) for advice, got {overlap!r}: without '
                           'it an action may be cut by every test window.')
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
    """(0, 4), (4, 8), ... doubling, the last open: ActionFormer's for any number of levels."""
    ends = [0] + [4 * 2 ** level for level in range(num_levels - 1)] + [OPEN_END]
    return tuple(zip(ends, ends[1:]))


def longest_reachable(num_levels: int) -> float:
    """Steps of the longest segment all of whose points regress at most four strides.

    A point lies at most 1.5 strides from the centre: half the segment and
    that must not exceed four.
    """
    return 2 * (MAX_REACH_STRIDES - CENTER_RADIUS) * 2 ** (num_levels - 1)


def served_share(videos: Iterable[VideoAnnotation], step_seconds: float, window_seconds: float,
                 overlap: float, num_levels: int) -> float:
    """Share of the segments that some test window holds whole and some level answers for.

    A segment must be longer than a step, so that a point lies in it, and
    short enough for the last level. It is whole in a window if it is no
    longer than two neighbours' common part, or the window than the video.
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
    """The largest that leaves the shortest segment its steps and motion its frames."""
    needed = max(MIN_STEPS * frames_per_step / facts.shortest, MIN_SAMPLED_FPS)
    return max(1, math.floor(video_fps / needed + ROUNDING))


def _num_levels(longest_steps: float) -> int:
    levels = 1
    while longest_reachable(levels) * (1 + ROUNDING) < longest_steps:
        levels += 1
    return levels


def _num_frames(facts: SegmentStatistics, target_fps: float, overlap: float,
                backbone: BackboneShape, num_levels: int) -> int:
    """Enough for the longest segment; whole clips, and whole steps at the last level."""
    seconds = facts.longest / overlap
    if facts.longest_video is not None:  # a window of a whole video needs no neighbour
        seconds = min(seconds, facts.longest_video)
    unit = math.lcm(backbone.clip_len, 2 ** (num_levels - 1) * _whole(backbone.frames_per_step))
    return unit * math.ceil(seconds * target_fps / unit - ROUNDING)


def _whole(frames_per_step: float) -> int:
    return round(frames_per_step) if frames_per_step == round(frames_per_step) else 1


def explain(advice: WindowAdvice, facts: SegmentStatistics) -> list[tuple[str, str, str]]:
    """(setting, value, one sentence why) for each number of the advice."""
    alike = 'the videos have different fps, so set target_fps and leave stride_frames out' \
        if advice.mixed_fps else 'all videos have this fps, so either of the two may be set'
    steps = facts.shortest / advice.step_seconds
    known = ' (assumed: no video has an fps)' if facts.fps is None else ''
    reason = (f'three steps a shortest segment of {facts.shortest:g} s and {MIN_SAMPLED_FPS:g} '
              f'frames a second are asked for; it gets {steps:.1f}')
    if advice.stride_frames == 1 and steps < MIN_STEPS:
        reason += ', all that the videos have'
        if steps <= 1:
            reason += ('; a step lasts as long as this segment or longer, so segments of this '
                       'length are not served')
    whole = facts.longest_video is not None and facts.longest_video <= advice.window_seconds
    held = ('the longest video lies in one window' if whole else
            f'test windows share {advice.overlap:g} of their length, so a segment of up to '
            f'{advice.overlap * advice.window_seconds:.1f} s is whole in one of them')
    half = facts.longest / advice.step_seconds / 2
    return [
        ('target_fps', f'{advice.target_fps:.4g}', f'{reason}.'),
        ('stride_frames', f'{advice.stride_frames}',
         f'at {advice.video_fps:g} fps{known} this is the same; {alike}.'),
        ('num_frames', f'{advice.num_frames}',
         f'{advice.window_seconds:.1f} s: {held}; the longest to serve lasts '
         f'{facts.longest:.1f} s; whole clips and whole steps at the last level.'),
        ('num_levels', f'{len(advice.strides)}',
         f'strides 1 to {advice.strides[-1]}: half of the longest segment is {half:.0f} steps of '
         f'{advice.step_seconds:.3g} s, which the last level reaches within '
         f'{MAX_REACH_STRIDES:g} strides from every point it trains.'),
        ('regression_ranges', str(advice.regression_ranges).replace(' ', ''),
         'in steps, from a point to the farther end: each level answers for reaches of two to '
         'four of its strides, the last for all beyond.'),
        ('coverage', f'{100 * advice.coverage:.2f} %',
         f'of {facts.num_segments} segments are whole in a window, longer than a step and in '
         'the range of a level.'),
    ]
