"""Timeline of one video: annotated actions above, detected ones below."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.palette import FAINT_INK, GRID, INK, class_colours, shade
from sbp_tad.visualization.sheet import (
    LANE_INCHES,
    Sheet,
    assign_lanes,
    draw_ground_truth,
    draw_thumbnails,
    truth_inches,
)
from sbp_tad.wording import count_of

MAX_PANEL_INCHES = 8.0  # more lanes than fit get thinner


@dataclass(frozen=True, eq=False)
class ScoredSegments:
    """Detections of one video.

    Args:
        segments_seconds: (N, 2) start and end.
        labels: N class names.
        scores: (N,) in [0, 1].

    Raises:
        VisualizationError: the three differ in length or a number is not finite.
    """

    segments_seconds: np.ndarray
    labels: Sequence[str]
    scores: np.ndarray

    def __post_init__(self) -> None:
        segments = np.asarray(self.segments_seconds, dtype=float).reshape(-1, 2)
        scores = np.asarray(self.scores, dtype=float).reshape(-1)
        if not len(segments) == len(self.labels) == len(scores):
            raise VisualizationError('Timeline: expected one label and one score per segment, got '
                                     f'{len(segments)} segments, {len(self.labels)} labels and '
                                     f'{len(scores)} scores.')
        if not (np.isfinite(segments).all() and np.isfinite(scores).all()):
            raise VisualizationError('Timeline: segments and scores must be finite numbers; a '
                                     'NaN comes from a model that has diverged.')
        object.__setattr__(self, 'segments_seconds', segments)
        object.__setattr__(self, 'scores', scores)

    def best_first(self, score_threshold: float) -> ScoredSegments:
        """Return the segments that score at least ``score_threshold``, by decreasing score."""
        order = np.argsort(-self.scores, kind='stable')
        order = order[self.scores[order] >= score_threshold]
        return ScoredSegments(self.segments_seconds[order], [self.labels[i] for i in order],
                              self.scores[order])


def draw_timeline(path: str | Path, title: str, duration_seconds: float,
                  ground_truth: VideoAnnotation | None, predictions: ScoredSegments,
                  class_names: Sequence[str], score_threshold: float = 0.2,
                  thumbnails: Sequence[np.ndarray] = ()) -> None:
    """Write a PNG of frames, annotated actions and detected actions over one time axis.

    Each class has one colour and its own rows, with the annotated spans in the
    background. Detections with lower scores are paler. Overlapping segments
    get separate lanes.

    Args:
        path: file to write; its folder is created.
        title: headline, such as the name of the video.
        duration_seconds: end of the time axis.
        ground_truth: annotated segments; labels that are no class are grey. None leaves
            out their row.
        predictions: detected segments.
        class_names: all classes in order, which determines the colours.
        score_threshold: leave out detections below it.
        thumbnails: frames (H, W, 3) uint8 RGB of one size, the i-th from the
            middle of the i-th of ``len(thumbnails)`` equal parts of the video.

    Raises:
        VisualizationError: the duration is not positive, or the file cannot be written.
    """
    _compose(title, duration_seconds, ground_truth, predictions, class_names, score_threshold,
             thumbnails).save(path)


def timeline_image(title: str, duration_seconds: float, ground_truth: VideoAnnotation | None,
                   predictions: ScoredSegments, class_names: Sequence[str],
                   score_threshold: float = 0.2, thumbnails: Sequence[np.ndarray] = ()
                   ) -> np.ndarray:
    """Return the picture of :func:`draw_timeline` as (H, W, 3) uint8 RGB."""
    return _compose(title, duration_seconds, ground_truth, predictions, class_names,
                    score_threshold, thumbnails).pixels()


def _compose(title: str, duration_seconds: float, ground_truth: VideoAnnotation | None,
             predictions: ScoredSegments, class_names: Sequence[str], score_threshold: float,
             thumbnails: Sequence[np.ndarray]) -> Sheet:
    if not 0 < duration_seconds < float('inf'):
        raise VisualizationError('Timeline: expected a positive duration in seconds, '
                                 f'got {duration_seconds}.')
    shown = predictions.best_first(score_threshold)
    is_annotated = ground_truth is not None
    if ground_truth is None:
        ground_truth = _nothing_annotated()
    colours = class_colours(class_names, [*ground_truth.labels, *shown.labels])
    rows = {name: int(assign_lanes(_of_label(shown, name)).max(initial=0)) + 1
            for name in colours}
    lanes = assign_lanes(ground_truth.segments_seconds)
    sheet = Sheet(list(rows), duration_seconds)
    heights = [sheet.strip_inches(thumbnails), truth_inches(lanes) * is_annotated,
               min(LANE_INCHES * max(sum(rows.values()), 1), MAX_PANEL_INCHES)]
    frames, upper, lower = sheet.panels(heights)
    draw_thumbnails(frames, thumbnails, duration_seconds)
    if is_annotated:
        draw_ground_truth(upper, ground_truth, lanes, colours)
    _draw_predictions(lower, shown, ground_truth, rows, colours)
    lower.set_xlabel('time in seconds', color=FAINT_INK)
    hidden = len(predictions.scores) - len(shown.scores)
    sheet.write_head(title, f"{count_of(len(shown.scores), 'detection')} shown, {hidden} more "
                            f'below score {score_threshold:g}')
    sheet.draw_legend(_legend(score_threshold, is_annotated))
    return sheet


def _legend(score_threshold: float, is_annotated: bool) -> list[Patch]:
    """Boxes that explain the shades; the colours are named beside the rows."""
    keys = [Patch(facecolor=shade(INK, 0.1), linewidth=0,
                  label='annotated span of the class')] * is_annotated
    return keys + [Patch(facecolor=shade(INK, score), edgecolor=INK,
                         label=f'detected, score {score:.2f}')
                   for score in np.linspace(score_threshold, 1, 4)]


def _nothing_annotated() -> VideoAnnotation:
    return VideoAnnotation('', '', None, None, None, np.empty((0, 2)), ())


def _of_label(shown: ScoredSegments, name: str) -> np.ndarray:
    return shown.segments_seconds[[label == name for label in shown.labels]]


def _draw_predictions(axes: Axes, shown: ScoredSegments, truth: VideoAnnotation,
                      rows: dict[str, int], colours: dict[str, str]) -> None:
    labels, top = np.array(shown.labels, dtype=object), 0
    is_roomy = sum(rows.values()) * LANE_INCHES <= 1.5 * MAX_PANEL_INCHES
    for name, height in rows.items():
        for (start, end), label in zip(truth.segments_seconds, truth.labels):
            if label == name:  # where this class was annotated
                axes.barh(top, end - start, left=start, height=height, align='edge',
                          color=shade(colours[name], 0.1), linewidth=0)
        segments, scores = _of_label(shown, name), shown.scores[labels == name]
        for (start, end), score, lane in zip(segments, scores, assign_lanes(segments)):
            _draw_detection(axes, start, end, top + lane, score, colours[name], is_roomy)
        axes.axhline(top, color=GRID, linewidth=0.8)
        axes.add_patch(Rectangle((-0.009, top + 0.08), 0.006, height - 0.16, color=colours[name],
                                 linewidth=0, clip_on=False,
                                 transform=axes.get_yaxis_transform()))
        top += height
    middles = np.cumsum(list(rows.values())) - np.array(list(rows.values())) / 2
    axes.tick_params(axis='y', pad=12)
    axes.set_yticks(middles, list(rows))
    axes.set_ylim(max(top, 1), 0)


def _draw_detection(axes: Axes, start: float, end: float, top: float, score: float,
                    colour: str, writes_score: bool) -> None:
    axes.barh(top + 0.14, end - start, left=start, height=0.72, align='edge',
              color=shade(colour, score), edgecolor=colour, linewidth=0.9)
    if writes_score and end - start > 0.03 * axes.get_xlim()[1]:
        ink = 'white' if np.mean(shade(colour, score)) < 0.62 else INK
        axes.text((start + end) / 2, top + 0.52, f'{score:.2f}', size=7, color=ink, ha='center',
                  va='center', clip_on=True)
