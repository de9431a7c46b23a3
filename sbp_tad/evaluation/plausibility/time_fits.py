"""Fit of detections to instances under other readings of their times.

The times of a file may be in another unit, or shifted. Each reading is tried:
the best detections are compared with the instances, and so are the same
detections at other places of their videos, which says how many overlap by
chance. A reading that explains far more overlaps than the present one, and than
chance, is the likely one. A weak detector overlaps few instances under every
reading.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.matching import SegmentTable, best_overlaps
from sbp_tad.evaluation.time_units import PARTS_OF_A_VIDEO, SECONDS_PER_UNIT, TimeUnit
from sbp_tad.segments.overlap import temporal_iou_of_pairs

MIN_TIOU = 0.5
FEWEST_DETECTIONS = 5  # of fewer nothing is sure
MOST_DETECTIONS = 1000  # compared; more say the same and cost time
STEPS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 32, 64)  # frames of a feature step
RATES = (25.0, 30.0, 24.0, 29.97, 23.976, 50.0, 60.0, 59.94, 15.0, 12.5, 12.0, 10.0, 20.0, 48.0,
         100.0, 120.0, 90000.0)
GRIDS = (128, 64, 256, 192, 200, 512, 750, 768, 1000, 1024)  # steps per video
OTHER_PLACES = (0.13, 0.29, 0.41, 0.59, 0.71, 0.87)  # of the video; chance is their mean
GOOD_ENOUGH = 0.4  # overlaps above chance; no other reading is looked for
NEARLY = 0.05
NUM_MODES = 10  # shifts, and rates, that are tried
RATIO_WIDTHS = (0.01, 0.04)  # relative, of rates that are one
RATE_ERROR = 0.003  # relative, of an estimated rate
LEAST_EXCESS = 0.2  # overlaps above chance that another reading must explain
LEAST_DEVIATIONS = 5.0  # above chance, so that the best of many readings is none by chance


@dataclass(frozen=True, eq=False)
class Sample:
    """Best detections of some videos, and the instances of these videos.

    Args:
        best: detections, best first; their class index is 0.
        truth: instances; their class index is 0.
        videos: the video of each index.
    """

    best: SegmentTable
    truth: SegmentTable
    videos: tuple[VideoAnnotation, ...]

    @property
    def lengths(self) -> np.ndarray:
        """Return the length of each video, at least to the end of its last instance, (V,)."""
        return np.array([max(video.duration_seconds or 0.0, video.segments_seconds.max(initial=0.0))
                         for video in self.videos])


@dataclass(frozen=True)
class Fit:
    """Share of the detections that overlap an instance.

    Args:
        share: of detections with a tIoU of at least ``MIN_TIOU``; several on
            one instance count once.
        chance: the same share at other places of the videos.
        mean_tiou: mean of the largest tIoU of each detection.
        count: number of detections.
    """

    share: float
    chance: float
    mean_tiou: float
    count: int

    @property
    def excess(self) -> float:
        """Return the share above chance."""
        return self.share - self.chance

    @property
    def is_sure(self) -> bool:
        """Return True if the overlaps are many more than chance explains."""
        if self.count < FEWEST_DETECTIONS:
            return False
        chance = max(self.chance, 1 / self.count)
        deviation = np.sqrt(chance * (1 - chance) / self.count)
        return self.excess >= max(LEAST_EXCESS, LEAST_DEVIATIONS * deviation)


def take_sample(annotations: Mapping[str, VideoAnnotation], detections: Detections
                ) -> Sample | None:
    """Return the best detections in videos with instances, as many as instances; None without."""
    found = {detections.video_ids[video] for video in np.unique(detections.video_index)}
    names = [name for name, video in annotations.items() if name in found and len(video)]
    if not names:
        return None
    places = {name: place for place, name in enumerate(names)}
    videos = tuple(annotations[name] for name in names)
    video_index = np.array([places.get(name, -1) for name in detections.video_ids],
                           dtype=np.int64)[detections.video_index]
    truth = np.concatenate([video.segments_seconds for video in videos])
    rows = np.flatnonzero(video_index >= 0)
    order = np.argsort(-detections.scores[rows], kind='stable')
    rows = rows[order[:min(len(truth), MOST_DETECTIONS)]]
    return Sample(_table(video_index[rows], detections.segments_seconds[rows]),
                  _table(np.repeat(np.arange(len(videos)), [len(video) for video in videos]),
                         truth), videos)


def fit(sample: Sample, segments: np.ndarray) -> Fit:
    """Compare segments (M, 2) in seconds, in the place of the best detections, with instances."""
    lengths = sample.lengths[sample.best.video_index][:, None]
    chance = []
    for place in OTHER_PLACES:
        moved = segments + place * lengths
        chance.append(_overlaps(sample, moved - lengths * (moved[:, :1] >= lengths))[0])
    share, mean_tiou = _overlaps(sample, segments)
    return Fit(share, float(np.mean(chance)), mean_tiou, len(segments))


def best_unit(sample: Sample, raw: np.ndarray, given: TimeUnit) -> tuple[TimeUnit, Fit] | None:
    """Return the unit, another than ``given``, that explains the times best, and its fit.

    Args:
        sample: detections and instances.
        raw: the times of the detections as in their file, (M, 2).
        given: unit that the user chose.

    Returns:
        None if no other unit explains far more overlaps than chance.
    """
    shares = {}
    for unit in dict.fromkeys((*candidate_units(sample), *_constant_rates(sample, raw))):
        shares[unit] = _overlaps(sample, raw * seconds_of(sample, unit)[:, None])
    shares.pop(given, None)
    most = max((share for share, _ in shares.values()), default=0.0)
    if most < LEAST_EXCESS:
        return None
    near = {unit: mean for unit, (share, mean) in shares.items() if share >= most - NEARLY}
    # a unit with a name comes before a rate that fits as well
    named = {unit: mean for unit, mean in near.items()
             if unit.fps is None and mean >= max(near.values()) - NEARLY / 2}
    chosen = max(named or near, key=lambda unit: near[unit])
    found = fit(sample, raw * seconds_of(sample, chosen)[:, None])
    return (chosen, found) if found.is_sure else None


def candidate_units(sample: Sample) -> Iterator[TimeUnit]:
    """Yield the units that times of these videos may have, the usual ones first."""
    yield from (TimeUnit(name) for name in SECONDS_PER_UNIT)
    if all(video.duration_seconds for video in sample.videos):
        yield from map(TimeUnit, PARTS_OF_A_VIDEO)
    if all(video.duration_seconds for video in sample.videos):
        yield from (TimeUnit('fraction', frames_per_step=1 / steps) for steps in GRIDS)
    if all(video.fps for video in sample.videos):
        yield from (TimeUnit('frames', frames_per_step=step) for step in (1, *STEPS))
    rates = dict.fromkeys(float(f'{rate / step:.6g}') for step in (1, *STEPS) for rate in RATES)
    yield from (TimeUnit('frames', rate) for rate in rates if rate != 1)


def best_form(sample: Sample, segments: np.ndarray) -> tuple[str, Fit] | None:
    """Return the form of a segment, if not [start, end], that explains far more than chance."""
    first, length = segments.T
    found = {'[start, length]': np.stack([first, first + length], axis=1),
             '[centre, length]': np.stack([first - length / 2, first + length / 2], axis=1)}
    fits = {form: fit(sample, moved) for form, moved in found.items()}
    form = max(fits, key=lambda one: fits[one].mean_tiou)
    return (form, fits[form]) if fits[form].is_sure else None


def best_shift(sample: Sample, segments: np.ndarray) -> tuple[float, Fit] | None:
    """Return the seconds by which all detections seem to be late, and the fit without them.

    Args:
        sample: detections and instances.
        segments: times of the detections in seconds, (M, 2).

    Returns:
        None if no shift explains far more overlaps than chance.
    """
    found_middle, true_middle = _middles(sample, segments)
    width = max(float(np.median(np.ptp(sample.truth.segments_seconds, axis=1))) / 4, 1e-3)
    shifts = _modes(found_middle - true_middle, width)
    found = {shift: _overlaps(sample, segments - shift) for shift in shifts}
    shift = max(found, key=lambda one: found[one])
    fitted = fit(sample, segments - shift)
    return (shift, fitted) if fitted.is_sure else None


def seconds_of(sample: Sample, unit: TimeUnit) -> np.ndarray:
    """Return the seconds of one unit for each of the best detections, (M,)."""
    return np.array([unit.seconds_in(video) for video in sample.videos])[sample.best.video_index]


def _constant_rates(sample: Sample, raw: np.ndarray) -> list[TimeUnit]:
    """Return units of a constant number per second that many pairs of middles agree on."""
    found, true = _middles(sample, raw)
    is_positive = (found > 0) & (true > 0)
    ratios = np.log(found[is_positive] / true[is_positive])
    return [TimeUnit('frames', _usual_rate(float(f'{np.exp(ratio):.6g}')))
            for width in RATIO_WIDTHS for ratio in _modes(ratios, width)]


def _usual_rate(rate: float) -> float:
    """Return the usual frame rate that an estimate means, else the estimate."""
    near = min(RATES, key=lambda one: abs(one - rate))
    return near if abs(near - rate) <= RATE_ERROR * rate else rate


def _middles(sample: Sample, segments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the middles of the detection and the instance of every pair in one video."""
    middles = sample.truth.segments_seconds.mean(axis=1)
    of_video = [middles[sample.truth.video_index == video] for video in range(len(sample.videos))]
    paired = [of_video[video] for video in sample.best.video_index]
    return np.repeat(segments.mean(axis=1), list(map(len, paired))), np.concatenate(paired)


def _modes(values: np.ndarray, width: float) -> list[float]:
    """Return the most frequent values, most frequent first; within ``width`` they are one."""
    places, counts = np.unique(np.round(values / width), return_counts=True)
    return [float(np.median(values[np.abs(values / width - place) <= 1]))
            for place in places[np.argsort(-counts, kind='stable')[:NUM_MODES]]]


def _overlaps(sample: Sample, segments: np.ndarray) -> tuple[float, float]:
    """Return ``share`` and ``mean_tiou`` of :class:`Fit`."""
    moved = _table(sample.best.video_index, segments)
    tiou, _ = best_overlaps(moved, sample.truth, temporal_iou_of_pairs)
    hits = int((tiou >= MIN_TIOU).sum())
    if hits >= LEAST_EXCESS * len(tiou):
        of_instances, _ = best_overlaps(sample.truth, moved, temporal_iou_of_pairs)
        hits = min(hits, int((of_instances >= MIN_TIOU).sum()))
    return hits / max(len(tiou), 1), float(tiou.mean()) if len(tiou) else 0.0


def _table(video_index: np.ndarray, segments: np.ndarray) -> SegmentTable:
    return SegmentTable(video_index, np.zeros_like(video_index), segments)
