"""Characteristics of instances (length, coverage, number per video) in buckets XS to XL.

The characteristics and their bucket borders are those of DETAD (Alwassel et al.,
"Diagnosing Error in Temporal Action Detectors", ECCV 2018). Its context size,
context distance and agreement need annotations of its authors. DETAD removes
instances of zero length or with a coverage above 1. Here they stay: the first
bucket includes 0, and the last has no upper border.
"""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sbp_tad.evaluation.evaluate import EvaluationCase

CHARACTERISTICS = ('length', 'coverage', 'num_instances')
BUCKET_NAMES = ('XS', 'S', 'M', 'L', 'XL')

# Upper borders; a border belongs to the bucket below it, the last bucket is open.
BUCKET_BORDERS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    'activitynet': {'length': (30, 60, 120, 180), 'coverage': (0.2, 0.4, 0.6, 0.8),
                    'num_instances': (1, 4, 8)},
    'thumos14': {'length': (3, 6, 12, 18), 'coverage': (0.02, 0.04, 0.06, 0.08),
                 'num_instances': (1, 40, 80)}}


def characteristic_values(case: EvaluationCase) -> dict[str, np.ndarray]:
    """Return the characteristics of each instance, (M,) float64 in the order of the ground truth.

    ``length`` is in seconds. ``coverage`` is length divided by the duration
    of the video, NaN if that is unknown. ``num_instances`` counts the
    instances of all classes in the same video, as DETAD does.
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
    """Return (M,) bool per bucket name; NaN is in no bucket.

    Args:
        values: (M,) float64.
        borders: ascending upper borders, at most four; each belongs to the bucket below it.
    """
    bucket = np.searchsorted(borders, values, side='left')
    bucket[np.isnan(values)] = -1
    return {name: bucket == index for index, name in enumerate(BUCKET_NAMES[:len(borders) + 1])}
