"""Evaluation of frame scores: mAP of online action detection."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.frame_average_precision import frame_average_precision
from sbp_tad.evaluation.frame_scores import FrameScores
from sbp_tad.wording import count_of


@dataclass(frozen=True, eq=False)
class FrameResult:
    """Scores of a frame evaluation, with its counts.

    Args:
        class_names: C names.
        average_precision: (C,) fractions, 0 for a class without a frame.
        calibrated_average_precision: (C,) fractions, NaN for such a class.
        num_frames: number of counted frames.
        num_ambiguous_frames: number of frames left out.
        num_videos: number of videos.
        smoothed: True if the scores were smoothed first.
    """

    class_names: tuple[str, ...]
    average_precision: np.ndarray
    calibrated_average_precision: np.ndarray
    num_frames: int
    num_ambiguous_frames: int
    num_videos: int
    smoothed: bool

    @property
    def mean_average_precision(self) -> float:
        """Return the mAP over all classes; a class without a frame counts as 0."""
        return float(self.average_precision.mean())

    @property
    def mean_calibrated_average_precision(self) -> float:
        """Return the mean calibrated AP; NaN if that of a class is undefined."""
        return float(self.calibrated_average_precision.mean())

    @property
    def absent_classes(self) -> tuple[str, ...]:
        """Return the classes without a frame."""
        undefined = np.isnan(self.calibrated_average_precision)
        return tuple(name for name, absent in zip(self.class_names, undefined) if absent)

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``tools/evaluate.py --json``: fractions, None if undefined."""
        calibrated = [_none_if_nan(value) for value in self.calibrated_average_precision.tolist()]
        return {'mAP': self.mean_average_precision,
                'calibrated_mAP': _none_if_nan(self.mean_calibrated_average_precision),
                'per_class': dict(zip(self.class_names, self.average_precision.tolist())),
                'calibrated_per_class': dict(zip(self.class_names, calibrated)),
                'absent_classes': list(self.absent_classes),
                'num_frames': self.num_frames,
                'num_ambiguous_frames': self.num_ambiguous_frames,
                'num_videos': self.num_videos,
                'smoothed': self.smoothed}


def evaluate_frames(frames: FrameScores, smooth: bool = False) -> FrameResult:
    """Return AP and calibrated AP of each action over all frames that are not ambiguous.

    The protocol of online action detection (De Geest et al., ECCV 2016; LSTR,
    Xu et al., NeurIPS 2021) ranks the frames of all videos together.
    Background is not a class.

    Raises:
        EvaluationError: no counted frame shows an action.
    """
    scores = (frames.smoothed() if smooth else frames).scores
    counted = ~frames.targets[:, -1]
    targets = frames.targets[counted, 1:-1]
    if not targets.any():
        raise EvaluationError(
            f'There is no action to find in {count_of(len(targets), "frame")} of '
            f'{count_of(len(frames.video_names), "video")}. Check the targets: column 0 is '
            'background, the last column ambiguous.')
    ap, calibrated = frame_average_precision(scores[counted, 1:-1], targets)
    names = frames.class_names or tuple(f'class {i + 1}' for i in range(targets.shape[1]))
    return FrameResult(names, ap, calibrated, len(targets), int((~counted).sum()),
                       len(frames.video_names), smooth)


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else value
