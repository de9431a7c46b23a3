"""Videos whose times seem to be in another unit than the times of the other videos."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sbp_tad.evaluation.corrections import listed
from sbp_tad.evaluation.matching import SegmentTable, best_overlaps
from sbp_tad.evaluation.plausibility.finding import ERROR, Finding
from sbp_tad.evaluation.plausibility.time_fits import MIN_TIOU, Sample, seconds_of
from sbp_tad.evaluation.time_units import COMMON_RATES, PARTS_OF_A_VIDEO, TimeUnit
from sbp_tad.segments.overlap import temporal_iou_of_pairs

STEPS = (1, 2, 4, 8, 16)
CHANCE_PLACES = (0.29, 0.59)  # of the video
LEAST_EXCESS = 0.4  # overlaps above chance if each video has its own unit
ENOUGH_DETECTIONS = 100  # for half of the overlaps to be sure
LEAST_GAIN = 0.375  # of that, overlaps more than with one unit for all videos
LEAST_ADDED = 0.05  # overlaps that each further unit must add
FEWEST_DETECTIONS = 20
LENGTH_FACTORS = tuple(np.arange(1.0, 1.3, 0.02))  # duration by the end of the last instance
LATEST_PART = 1.01  # of the video
LEAST_PART_EXCESS = 0.2
FEWEST_GAINED = 2  # overlaps that a video must gain to be named
GAINED_SHARE = 0.3


@dataclass(frozen=True, eq=False)
class MixedUnits:
    """Best unit of each video whose own unit explains its times better.

    Args:
        units: unit by video id.
        num_videos: number of compared videos.
        reference: unit of the other videos.
    """

    units: dict[str, TimeUnit]
    num_videos: int
    reference: TimeUnit

    def finding(self, given: TimeUnit, without_fps: bool) -> Finding:
        """Return the error.

        Args:
            given: unit that the user chose.
            without_fps: the annotation lacks fps of some videos.
        """
        rates = [unit for unit in self.units.values() if unit.name == 'frames']
        if without_fps and len(rates) == len(self.units) and (
                given.fps is not None or len({unit.fps for unit in rates}) > 1):
            return Finding(
                ERROR, 'The times look like frames or feature steps, whose number per second '
                f'differs between the videos ({listed(list(self.units))} have others than most), '
                "and the annotation has no 'fps'. Write the 'fps' of each video into the "
                'annotation.', 'Then give --time-unit frames without --fps; for feature steps also '
                '--frames-per-step.', '--time-unit')
        titles = ' or '.join(dict.fromkeys(unit.title for unit in self.units.values()))
        return Finding(
            ERROR, f'The times of {len(self.units)} of {self.num_videos} videos look like '
            f'{titles}, those of the others like {self.reference.title}: '
            f'{listed(list(self.units))}. Write the times of all videos in the same unit.')


def find_mixed_units(sample: Sample, raw: np.ndarray, given: TimeUnit) -> MixedUnits | None:
    """Return the videos with another unit, None if one unit explains all videos about as well.

    Args:
        sample: detections and instances.
        raw: the times of the detections as in their file, (M, 2).
        given: unit that the user chose.
    """
    if len(raw) < FEWEST_DETECTIONS or len(sample.videos) < 2:
        return None
    units = list(dict.fromkeys((given, *_units(sample))))
    segments = [raw * seconds_of(sample, unit)[:, None] for unit in units]
    hits = np.stack([_hits(sample, one) for one in segments])
    chosen = _covering(hits, LEAST_ADDED * len(raw))
    best = hits[chosen].max(axis=0)
    chance = _chance(sample, [segments[unit] for unit in chosen])
    least = LEAST_EXCESS * len(raw) / (2 if len(raw) >= ENOUGH_DETECTIONS else 1)
    if best.sum() - chance < least or best.sum() - hits.sum(axis=1).max() < LEAST_GAIN * least:
        return None
    reference = 0 if 0 in chosen else chosen[0]
    counts = np.bincount(sample.best.video_index, minlength=len(sample.videos))
    others = np.flatnonzero(best - hits[reference] >= np.maximum(FEWEST_GAINED,
                                                                 GAINED_SHARE * counts))
    found = {sample.videos[video].video_id: units[chosen[int(hits[chosen, video].argmax())]]
             for video in others}
    return MixedUnits(found, len(sample.videos), units[reference]) if found else None


def find_parts_without_duration(sample: Sample, raw: np.ndarray
                                ) -> tuple[TimeUnit, float, float] | None:
    """Return fraction or percent, the share of overlaps, and their excess over chance.

    The end of the last instance, times a factor that may differ between the
    videos, stands for the unknown duration. It is too inexact to convert times.
    """
    if len(raw) < FEWEST_DETECTIONS:
        return None
    lengths = sample.lengths[sample.best.video_index][:, None]
    found = []
    for name, part in PARTS_OF_A_VIDEO.items():
        if raw.max() > LATEST_PART / part:
            continue
        segments = [raw * part * factor * lengths for factor in LENGTH_FACTORS]
        hits = np.max([_hits(sample, one) for one in segments], axis=0).sum() / len(raw)
        found.append((TimeUnit(name), float(hits),
                      float(hits - _chance(sample, segments) / len(raw))))
    best = max(found, key=lambda one: one[2], default=None)
    least = LEAST_PART_EXCESS / (2 if len(raw) >= ENOUGH_DETECTIONS else 1)
    return best if best is not None and best[2] >= least else None


def _covering(hits: np.ndarray, least: float) -> list[int]:
    """Return the units that together explain most detections, each at least ``least`` more."""
    chosen = [int(hits.sum(axis=1).argmax())]
    while True:
        gains = np.maximum(hits - hits[chosen].max(axis=0), 0).sum(axis=1)
        if gains.max() < least:
            return chosen
        chosen.append(int(gains.argmax()))


def _chance(sample: Sample, readings: Sequence[np.ndarray]) -> float:
    """Return the overlaps of the best reading of each video at other places of the videos."""
    lengths = sample.lengths[sample.best.video_index][:, None]
    found = []
    for place in CHANCE_PLACES:
        moved = [one + place * lengths for one in readings]
        found.append(np.max([_hits(sample, one - lengths * (one[:, :1] >= lengths))
                             for one in moved], axis=0).sum())
    return float(np.mean(found))


def _units(sample: Sample) -> Iterator[TimeUnit]:
    yield from map(TimeUnit, ('seconds', 'milliseconds', 'minutes'))
    if all(video.duration_seconds for video in sample.videos):
        yield from map(TimeUnit, ('fraction', 'percent'))
    if all(video.fps for video in sample.videos):
        yield from (TimeUnit('frames', frames_per_step=step) for step in STEPS)
    yield from (TimeUnit('frames', rate / step) for step in STEPS for rate in COMMON_RATES)


def _hits(sample: Sample, segments: np.ndarray) -> np.ndarray:
    """Return the number of detections of each video that overlap an instance, (V,)."""
    index = sample.best.video_index
    tiou, _ = best_overlaps(SegmentTable(index, np.zeros_like(index), segments), sample.truth,
                            temporal_iou_of_pairs)
    return np.bincount(index[tiou >= MIN_TIOU], minlength=len(sample.videos))
