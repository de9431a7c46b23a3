"""Scores and targets of every frame of a test set, and files of them.

The file is an ``.npz`` with ``scores`` and ``targets`` (N, 1 + C + 1): column
0 is background, then C actions, then ambiguous frames, which are not counted;
``video_names`` (V,) and ``video_lengths`` (V,), the number of frames of each
video, in the order of the rows; and optionally ``class_names`` (1 + C + 1,).
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sbp_tad.evaluation.array_files import read_arrays, write_arrays
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.frame_average_precision import smooth_scores

BACKGROUND, AMBIGUOUS = 'Background', 'Ambiguous'
_REQUIRED = ('scores', 'targets', 'video_names', 'video_lengths')
_OPTIONAL = ('class_names',)


@dataclass(frozen=True, eq=False)
class FrameScores:
    """N frames of V videos, one video after the other.

    Args:
        scores: (N, 2 + C) finite: background, C actions, ambiguous.
        targets: (N, 2 + C) bool, True where the frame shows the column.
        video_names: V different names.
        video_lengths: (V,) int64, frames per video; their sum is N.
        class_names: C names of the actions, None if unknown.

    Raises:
        EvaluationError: shapes that do not fit each other, or scores that are not finite.
    """

    scores: np.ndarray
    targets: np.ndarray
    video_names: tuple[str, ...]
    video_lengths: np.ndarray
    class_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        shape = self.scores.shape
        if self.targets.shape != shape or len(shape) != 2 or shape[1] < 3:
            raise EvaluationError(
                'scores and targets must both be (frames, background + classes + ambiguous), got '
                f'{shape} and {self.targets.shape}.')
        lengths = self.video_lengths
        if lengths.shape != (len(self.video_names), ) or (lengths < 0).any() \
                or lengths.sum() != shape[0] or len(set(self.video_names)) < lengths.size:
            raise EvaluationError(
                f'video_lengths must give the number of frames of each of the '
                f'{len(self.video_names)} video_names, which must differ, with the sum {shape[0]}; '
                f'got {lengths.size} lengths with the sum {lengths.sum()}.')
        finite = np.isfinite(self.scores).all(axis=1)
        if not finite.all():
            raise EvaluationError(f'Scores must be finite; those of frame {np.argmin(finite)} '
                                  f'are {self.scores[np.argmin(finite)].tolist()}.')
        if self.class_names is not None and len(self.class_names) != shape[1] - 2:
            raise EvaluationError(f'{shape[1]} columns are background, {shape[1] - 2} classes and '
                                  f'ambiguous; got {len(self.class_names)} class names.')

    def smoothed(self) -> FrameScores:
        """Return the same frames with the scores of each video smoothed in time."""
        ends = np.cumsum(self.video_lengths)[:-1]
        scores = [smooth_scores(part) if len(part) else part
                  for part in np.split(self.scores, ends)]
        return FrameScores(np.concatenate(scores), self.targets, self.video_names,
                           self.video_lengths, self.class_names)


def read_frame_scores(path: str | Path) -> FrameScores:
    """Read an ``.npz`` file of frame scores; pickled objects are never loaded.

    Raises:
        EvaluationError: the file is missing or has another format.
    """
    arrays = read_arrays(path, _REQUIRED, _OPTIONAL, 'frame scores', EvaluationError)
    try:
        return _frame_scores(arrays)
    except EvaluationError as error:
        raise EvaluationError(f'{path}: {error}') from error


def write_frame_scores(path: str | Path, frames: FrameScores) -> None:
    """Write a file for :func:`read_frame_scores`.

    Raises:
        EvaluationError: the file cannot be written.
    """
    names = {} if frames.class_names is None else dict(
        class_names=np.array([BACKGROUND, *frames.class_names, AMBIGUOUS]))
    write_arrays(path, dict(
        scores=frames.scores, targets=frames.targets.astype(np.uint8),
        video_names=np.array(frames.video_names, dtype=np.str_),
        video_lengths=frames.video_lengths, **names), 'frame scores', EvaluationError)


def _frame_scores(arrays: dict[str, np.ndarray]) -> FrameScores:
    for name, kinds in dict(scores='iuf', targets='biuf', video_names='U', video_lengths='iu',
                            class_names='U').items():
        if name in arrays and arrays[name].dtype.kind not in kinds:
            raise EvaluationError(f'{name} cannot be of type {arrays[name].dtype}.')
    for name in {'video_names', 'class_names'} & set(arrays):
        if arrays[name].ndim != 1:
            raise EvaluationError(f'{name} must be a list, got shape {arrays[name].shape}.')
    targets = arrays['targets']
    if not ((targets == 0) | (targets == 1)).all():
        raise EvaluationError('targets must be 0 or 1: a frame shows a class or does not.')
    names = tuple(arrays['class_names'].tolist()[1:-1]) if 'class_names' in arrays else None
    return FrameScores(arrays['scores'], targets.astype(bool),
                       tuple(arrays['video_names'].tolist()),
                       arrays['video_lengths'].astype(np.int64),
                       names)
