"""Metric of a Runner for online action detection: mAP over frames."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.frame_evaluation import FrameResult, evaluate_frames
from sbp_tad.evaluation.frame_scores import FrameScores, write_frame_scores
from sbp_tad.evaluation.metrics import check_unreadable_rule, report_unreadable
from sbp_tad.registry import METRICS


@dataclass(frozen=True)
class FrameWindow:
    """Frames of one test window.

    Args:
        video_id: video of the window.
        first_index: index of its first frame in the video, from 0.
        scores, targets: (T, 2 + C) of the frames inside the video, as of
            :class:`FrameScores`.
        error: reason why the window could not be read (it has no frames then), or None.
    """

    video_id: str
    first_index: int
    scores: np.ndarray
    targets: np.ndarray
    error: str | None


@METRICS.register_module()
class OnlineMetric(BaseMetric):
    """mAP and calibrated mAP over the frames of all test windows.

    Each frame counts once, even if several windows or repeated samples
    contain it. Ambiguous frames and frames after the end do not count.

    The result holds ``online/mAP`` (for ``save_best``) and
    ``online/calibrated_mAP``, as fractions.

    Args:
        smooth: smooth the scores in time first, as TRN and LSTR may do. This
            uses future frames, see :func:`smooth_scores`.
        out_file: file for scores and targets of every frame, for
            ``tools/evaluate.py --online``; None writes no file.
        unreadable: as of :class:`TADMetric`; the frames of an unreadable
            window do not count.
        collect_device: device of the collected results, see mmengine.
    """

    default_prefix = 'online'

    def __init__(self, smooth: bool = False, out_file: str | None = None,
                 unreadable: str = 'raise', collect_device: str = 'cpu') -> None:
        super().__init__(collect_device=collect_device)
        self.smooth = smooth
        self.out_file = out_file
        self.unreadable = check_unreadable_rule(unreadable)
        self.result: FrameResult | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Collect the frames of each window of a batch."""
        self.results.extend(map(frame_window, data_samples))

    def compute_metrics(self, results: list[FrameWindow]) -> dict[str, float]:
        """Join the windows of each video, write the scores, evaluate them.

        Raises:
            EvaluationError: unreadable videos, see ``unreadable``; or no
                frame shows an action.
        """
        readable = [result for result in results if not result.error]
        frames = join_windows(readable, self.dataset_meta['classes']) if readable else None
        if self.out_file is not None and frames is not None:
            Path(self.out_file).parent.mkdir(parents=True, exist_ok=True)
            write_frame_scores(self.out_file, frames)
        report_unreadable({result.video_id: result.error for result in results if result.error},
                          self.unreadable, self.out_file, 'their frames do not count')
        if frames is None:
            raise EvaluationError('No test window could be read, so there is nothing to score. '
                                  'Check the video files and data_prefix.')
        self.result = evaluate_frames(frames, self.smooth)
        return dict(mAP=self.result.mean_average_precision,
                    calibrated_mAP=self.result.mean_calibrated_average_precision)


def frame_window(sample: dict[str, Any]) -> FrameWindow:
    """Return scores and targets of the frames of a sample that lie inside its video."""
    window = sample['window']
    if sample['error']:
        nothing = np.empty((0, 0))
        return FrameWindow(sample['video_id'], -1, nothing, nothing, sample['error'])
    num_frames = window.num_valid_frames
    scores, targets, counted = (sample[name][:num_frames].cpu().numpy()
                                for name in ('pred_scores', 'frame_targets', 'frame_valid'))
    # the model has no column for ambiguous frames, the file has one
    scores = np.pad(scores, ((0, 0), (0, 1)))
    targets = np.column_stack([targets, ~counted]).astype(bool)
    return FrameWindow(sample['video_id'], window.first_index, scores, targets, None)


def join_windows(windows: Sequence[FrameWindow], class_names: Sequence[str]) -> FrameScores:
    """Return every frame of every video once, videos by name and frames by time.

    Raises:
        EvaluationError: the scores of the model cannot be evaluated.
    """
    names = sorted({window.video_id for window in windows})
    video = np.concatenate([np.full(len(window.scores), names.index(window.video_id))
                            for window in windows])
    frame = np.concatenate([window.first_index + np.arange(len(window.scores))
                            for window in windows])
    _, first = np.unique(video * (frame.max() + 1) + frame, return_index=True)
    return FrameScores(np.concatenate([window.scores for window in windows])[first],
                       np.concatenate([window.targets for window in windows])[first],
                       tuple(names), np.bincount(video[first], minlength=len(names)),
                       tuple(class_names))
