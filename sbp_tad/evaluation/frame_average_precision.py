"""Average precision per class over frames, for online action detection.

Pure functions on score and target matrices (N frames, C classes), in float64.
"""
from __future__ import annotations

import numpy as np

SMOOTHING_FRAMES = 5


def frame_average_precision(scores: np.ndarray, targets: np.ndarray
                            ) -> tuple[np.ndarray, np.ndarray]:
    """Return AP and calibrated AP of each class over all frames.

    AP is the mean, over the frames of the class, of the precision among all
    frames with the same or a higher score. Equal scores share one threshold,
    so their order does not matter, as in scikit-learn's
    ``average_precision_score``. Calibrated AP (De Geest et al., Online Action
    Detection, ECCV 2016) uses the precision ``TP / (TP + FP / w)``, where
    ``w`` is the number of negative frames divided by the number of positive
    frames. It does not depend on how rare the class is.

    Args:
        scores: (N, C) finite, any range.
        targets: (N, C) bool, True where the frame shows the class.

    Returns:
        Two arrays (C,) float64 of fractions. A class without a frame has AP 0,
        as in scikit-learn, and calibrated AP NaN, because ``w`` is undefined.
    """
    columns = zip(np.transpose(scores), np.transpose(targets))
    both = [_average_precision(*map(np.ascontiguousarray, column)) for column in columns]
    return tuple(np.array(both, dtype=np.float64).reshape(-1, 2).T)


def _average_precision(scores: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Return AP and calibrated AP of one class; both arguments are (N,)."""
    ranked, hits = np.sort(scores), np.sort(scores[targets])
    num_frames, num_hits = len(ranked), len(hits)
    if not num_hits:
        return 0.0, np.nan
    # at the score of each positive frame; sorting values alone is what makes this fast
    selected = num_frames - np.searchsorted(ranked, hits)
    true_positives = num_hits - np.searchsorted(hits, hits)
    recall = true_positives / num_hits
    false_alarms = (selected - true_positives) / max(num_frames - num_hits, 1)
    # TP / (TP + FP / w), both terms divided by the number of positive frames
    calibrated = recall / (recall + false_alarms)
    return float((true_positives / selected).mean()), float(calibrated.mean())


def smooth_scores(scores: np.ndarray) -> np.ndarray:
    """Replace each score by the largest among 5 frames around it, in one video.

    This is the post-processing of TRN (Xu et al., ICCV 2019) and LSTR. It
    uses two future frames, so the result is no longer an online score.

    Args:
        scores: (T, C) in order of time.

    Returns:
        (T, C) of the same type.
    """
    around = SMOOTHING_FRAMES // 2
    padded = np.pad(scores, ((around, around), (0, 0)), mode='edge')
    return np.maximum.reduce([padded[i:i + len(scores)] for i in range(SMOOTHING_FRAMES)])
