"""Fusion of detections with the scores of a video-level classifier.

On ActivityNet and HACS, detectors often propose segments without a class, and
an external classifier predicts the classes of the video (CUHK's for
ActivityNet; used by BMN, G-TAD, ActionFormer and OpenTAD). Two file formats
are read:

- JSON, ``{video: {class: score}}``, where a class that is not listed scores 0,
  or ``{"class": [...], "results": {video: [one score per class]}}``;
- ``.npz`` with ``scores`` (N, C), ``video_names`` (N,) and ``class_names`` (C,).
"""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sbp_tad.evaluation.array_files import read_arrays
from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.segments.merging import VideoColumns
from sbp_tad.wording import count_of

FUSION_METHODS = ('product', 'geometric_mean')


def fuse_scores(detections: VideoColumns, class_scores: np.ndarray, method: str = 'product',
                top_k: int | None = None) -> VideoColumns:
    """Multiply the scores of a video's detections by those of its classes.

    Args:
        detections: segments (N, 2), scores (N,) and labels (N,) of one video.
        class_scores: (C,) scores of the video, not negative.
        method: ``'product'``, or ``'geometric_mean'``, its square root.
        top_k: ``None`` uses the class of each detection; ``k`` ignores it and
            returns each detection once for each of the best k classes.

    Returns:
        The same three arrays, best score first; N * k rows with ``top_k``.

    Raises:
        EvaluationError: an unknown method, a ``top_k`` below 1 or negative scores.
    """
    if method not in FUSION_METHODS or (top_k is not None and top_k < 1):
        raise EvaluationError(f'score fusion needs a method of {FUSION_METHODS} and a top_k of '
                              f'at least 1 or None, got {method!r} and {top_k!r}.')
    if not (np.isfinite(class_scores).all() and (class_scores >= 0).all()):
        raise EvaluationError('video-level scores must be finite and not negative (probabilities, '
                              f'not logits), got {np.min(class_scores)} among them.')
    segments, scores, labels = detections
    if top_k is not None:
        best = np.argsort(-class_scores, kind='stable')[:top_k]
        segments, scores = np.repeat(segments, len(best), axis=0), np.repeat(scores, len(best))
        labels = np.tile(best, len(labels))
    fused = scores * class_scores[labels]
    if method == 'geometric_mean':
        fused = np.sqrt(fused)
    order = np.argsort(-fused, kind='stable')
    return segments[order], fused[order], labels[order]


@dataclass(frozen=True, eq=False)
class ScoreFusion:
    """:func:`fuse_scores` with the scores of a file.

    Args:
        path: file of scores, see the module.
        class_names: classes of the detections, in the order of label indices.
        method: see :func:`fuse_scores`.
        top_k: see :func:`fuse_scores`.

    Raises:
        EvaluationError: the file cannot be read or contains a class that is
            not in ``class_names``.
    """

    path: str | Path
    class_names: Sequence[str]
    method: str = 'product'
    top_k: int | None = None
    _scores: dict[str, np.ndarray] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, '_scores', read_video_scores(self.path, self.class_names))

    def apply(self, videos: Mapping[str, VideoColumns]) -> dict[str, VideoColumns]:
        """Fuse the detections of each video.

        Raises:
            EvaluationError: the file has no scores of a video.
        """
        missing = [video_id for video_id in videos if video_id not in self._scores]
        if missing:
            raise EvaluationError(
                f'{self.path} has scores of {count_of(len(self._scores), "video")}, but not of '
                f'{count_of(len(missing), "tested video")}: {", ".join(missing[:5])}'
                f'{", ..." * (len(missing) > 5)}. Give a file with all tested videos, named as '
                'in the annotation.')
        return {video_id: fuse_scores(found, self._scores[video_id], self.method, self.top_k)
                for video_id, found in videos.items()}


def read_video_scores(path: str | Path, class_names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the scores (C,) of each video in a file, in the order of ``class_names``.

    Raises:
        EvaluationError: see :class:`ScoreFusion`.
    """
    if str(path).endswith('.npz'):
        return _from_table(path, class_names)
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise EvaluationError(f'Cannot read the scores in {path}: {error.strerror}.') from error
    except ValueError as error:
        raise EvaluationError(f'{path} is not valid JSON: {error}.') from error
    if isinstance(content, dict) and {'class', 'results'} <= content.keys():
        content = {video: dict(zip(content['class'], row)) if isinstance(row, list)
                   and len(row) == len(content['class']) else row
                   for video, row in content['results'].items()}
    if not isinstance(content, dict) or not all(map(_is_scores, content.values())):
        raise EvaluationError(
            f'{path}: expected {{video: {{class: score}}}}, or {{"class": [...], "results": '
            '{video: [one score per class]}}, with finite numbers.')
    _check_classes(path, {name for row in content.values() for name in row}, class_names)
    return {video: np.array([row.get(name, 0.0) for name in class_names], dtype=np.float64)
            for video, row in content.items()}


def _from_table(path: str | Path, class_names: Sequence[str]) -> dict[str, np.ndarray]:
    names = ('scores', 'video_names', 'class_names')
    arrays = read_arrays(path, names, (), 'video-level scores', EvaluationError)
    table, videos, classes = (arrays[name] for name in names)
    if table.shape != (videos.size, classes.size) or table.dtype.kind not in 'iuf':
        raise EvaluationError(f'{path}: scores must be numbers, one row per video and one column '
                              f'per class ({videos.size}, {classes.size}), got {table.shape}.')
    _check_classes(path, set(classes.tolist()), class_names)
    missing = sorted(set(class_names) - set(classes.tolist()))
    if missing:
        raise EvaluationError(f'{path} has no scores of the classes {", ".join(missing[:5])}.')
    columns = [classes.tolist().index(name) for name in class_names]
    return dict(zip(videos.tolist(), table[:, columns].astype(np.float64)))


def _is_scores(row: Any) -> bool:
    return isinstance(row, dict) and all(
        isinstance(score, (int, float)) and np.isfinite(score) for score in row.values())


def _check_classes(path: str | Path, found: set[str], class_names: Sequence[str]) -> None:
    unknown = sorted(found - set(class_names))
    if unknown:
        raise EvaluationError(
            f'{path} has scores of {count_of(len(unknown), "class", "classes")} that the dataset '
            f'does not have: {", ".join(unknown[:5])}. The dataset has '
            f'{", ".join(class_names[:5])} and others. Rename the classes of the file.')
