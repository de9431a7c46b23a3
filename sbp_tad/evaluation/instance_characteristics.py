"""What instances are like - length, coverage, how many in their video - in buckets XS to XL.

Characteristics and bucket borders are those of DETAD (Alwassel et al.,
"Diagnosing Error in Temporal Action Detectors", ECCV 2018). Its context size,
context distance and agreement need annotations that only its authors made.
"""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sbp_tad.evaluation.evaluate import EvaluationCase

CHARACTERISTICS = ('length', 'coverage', 'num_instances')
BUCKET_NAMES = ('XS', 'S', 'M', 'L', 'XL')

# Upper borders, which belong to the bucket below; what lies above the last is in one more.
BUCKET_BORDERS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    'activitynet': {'length': (30, 60, 120, 180), 'coverage': (0.2, 0.4, 0.6, 0.8),
                    'num_instances': (1, 4, 8)},
    'thumos14': {'length': (3, 6, 12, 18), 'coverage': (0.02, 0.04, 0.06, 0.08),
                 'num_instances': (1, 40, 80)}}


def characteristic_values(case: EvaluationCase) -> dict[str, np.ndarray]:
    """The characteristics of each instance, (M,) float64 in the order of the ground truth.

    ``length`` is in seconds; ``coverage`` is length over duration of the
    video, NaN where that is unknown; ``num_instances`` counts the instances
    of any class in the same video, as DETAD's own annotation of THUMOS'14 does.
    """
    table = case.comparison.ground_truth
    durations = np.array([np.nan if name not in case.truth else
                          case.truth[name].duration_seconds or np.nan
                          for name in case.video_names], dtype=np.float64)
    length = table.segments_seconds[:, 1] - table.segments_seconds[:, 0]
    num_instances = np.bincount(table.video_index, minlength=len(durations))
    return {'length': length, 'coverage': length / durations[table.video_index],
            'num_instances': num_instances[table.video_index].astype(np.float64)}


def in_buckets(values: np.ndarray, borders: tuple[float, ...]) -> dict[str, np.ndarray]:
    """Bucket name to (M,) bool; NaN is in none.

    Args:
        values: (M,) float64.
        borders: ascending upper borders, at most four, each in the bucket below.
    """
    bucket = np.searchsorted(borders, values, side='left')
    bucket[np.isnan(values)] = -1
    return {name: bucket == index for index, name in enumerate(BUCKET_NAMES[:len(borders) + 1])}
