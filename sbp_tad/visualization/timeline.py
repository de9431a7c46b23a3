"""A picture of one video: annotated actions above, detected ones below.

Figures are built without pyplot, which would keep every one of them alive and
look for a window system.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.visualization.errors import VisualizationError

# Paul Tol's "bright" and "muted" qualitative schemes, told apart with any
# colour vision (https://personal.sron.nl/~pault/); they come round after these
PALETTE = ('#4477AA', '#EE6677', '#228833', '#CCBB44', '#66CCEE', '#AA3377', '#332288', '#DDAA77',
           '#117733', '#882255')
OTHER_COLOUR = '#999999'  # labels that are no class, such as Ambiguous
INK, FAINT_INK, GRID = '#24292F', '#6B7280', '#E3E5E9'

WIDTH_INCHES = 12.0
RIGHT_INCHES = 0.35
LANE_INCHES = 0.27
MAX_PANEL_INCHES = 8.0  # more lanes than fit get thinner
CHARACTER_INCHES = 0.085  # of a class name in the margin


@dataclass(frozen=True, eq=False)
class ScoredSegments:
    """What was detected in one video.

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
            raise VisualizationError('Timeline: expected one label and one score a segment, got '
                                     f'{len(segments)} segments, {len(self.labels)} labels and '
                                     f'{len(scores)} scores.')
        if not (np.isfinite(segments).all() and np.isfinite(scores).all()):
            raise VisualizationError('Timeline: segments and scores must be finite numbers; '
                                     'a NaN comes from a model that has diverged.')
        object.__setattr__(self, 'segments_seconds', segments)
        object.__setattr__(self, 'scores', scores)

    def best_first(self, score_threshold: float) -> ScoredSegments:
        """Those that score at least ``score_threshold``, by decreasing score."""
        order = np.argsort(-self.scores, kind='stable')
        order = order[self.scores[order] >= score_threshold]
        return ScoredSegments(self.segments_seconds[order], [self.labels[i] for i in order],
                              self.scores[order])


def draw_timeline(path: str | Path, title: str, duration_seconds: float,
                  ground_truth: VideoAnnotation | None, predictions: ScoredSegments,
                  class_names: Sequence[str], score_threshold: float = 0.2,
                  thumbnails: Sequence[np.ndarray] = ()) -> None:
    """Write a PNG: frames, annotated actions, detected actions, over one time axis.

    A class has one colour throughout; detections are paler the lower they
    score, each class has rows of its own in which the annotated spans show
    through, and segments that overlap get separate lanes.

    Args:
        path: file to write; its folder is created.
        title: headline, such as the name of the video.
        duration_seconds: end of the time axis.
        ground_truth: annotated segments; labels that are no class are grey. None where
            nothing is annotated, which leaves out their row.
        predictions: detected segments.
        class_names: every class in order, which fixes the colours.
        score_threshold: leave out detections below it.
        thumbnails: frames (H, W, 3) uint8 RGB of one size, the i-th from the
            middle of the i-th of ``len(thumbnails)`` equal parts of the video.

    Raises:
        VisualizationError: the duration is not a positive number of seconds.
    """
    _compose(title, duration_seconds, ground_truth, predictions, class_names, score_threshold,
             thumbnails).save(path)


def timeline_image(title: str, duration_seconds: float, ground_truth: VideoAnnotation | None,
                   predictions: ScoredSegments, class_names: Sequence[str],
                   score_threshold: float = 0.2, thumbnails: Sequence[np.ndarray] = ()
                   ) -> np.ndarray:
    """The picture of :func:`draw_timeline` as (H, W, 3) uint8 RGB."""
    return _compose(title, duration_seconds, ground_truth, predictions, class_names,
                    score_threshold, thumbnails).pixels()


def _compose(title: str, duration_seconds: float, ground_truth: VideoAnnotation | None,
             predictions: ScoredSegments, class_names: Sequence[str], score_threshold: float,
             thumbnails: Sequence[np.ndarray]) -> _Sheet:
    if not 0 < duration_seconds < float('inf'):
        raise VisualizationError('Timeline: expected a positive duration in seconds, '
                                 f'got {duration_seconds}.')
    shown = predictions.best_first(score_threshold)
    is_annotated = ground_truth is not None
    if ground_truth is None:
        ground_truth = _nothing_annotated()
    palette = _palette(class_names, [*ground_truth.labels, *shown.labels])
    rows = {name: int(assign_lanes(_of_label(shown, name)).max(initial=0)) + 1 for name in palette}
    lanes = assign_lanes(ground_truth.segments_seconds)
    left = 0.5 + CHARACTER_INCHES * max([len('ground truth'), *map(len, rows)])
    sheet = _Sheet(left, WIDTH_INCHES - left - RIGHT_INCHES, duration_seconds)
    strip = sheet.width * thumbnails[0].shape[0] / (
        len(thumbnails) * thumbnails[0].shape[1]) if len(thumbnails) else 0.0
    heights = [strip, LANE_INCHES * 1.3 * (lanes.max(initial=0) + 1) * is_annotated,
               min(LANE_INCHES * max(sum(rows.values()), 1), MAX_PANEL_INCHES)]
    frames, upper, lower = sheet.panels(heights)
    _draw_thumbnails(frames, thumbnails, duration_seconds)
    if is_annotated:
        _draw_ground_truth(upper, ground_truth, lanes, palette)
    _draw_predictions(lower, shown, ground_truth, rows, palette)
    lower.set_xlabel('time in seconds', color=FAINT_INK)
    hidden = len(predictions.scores) - len(shown.scores)
    sheet.write_head(title, f'{len(shown.scores)} detections shown, {hidden} more score below '
                            f'{score_threshold:g}')
    sheet.draw_legend(score_threshold, is_annotated)
    return sheet


def assign_lanes(segments: np.ndarray) -> np.ndarray:
    """Lowest lane in which each segment (N, 2) meets no earlier one: (N,) int."""
    lanes = np.zeros(len(segments), dtype=int)
    for index, (start, end) in enumerate(segments):
        clash = (segments[:index, 0] < end) & (start < segments[:index, 1])
        lanes[index] = min(set(range(index + 1)) - set(lanes[:index][clash].tolist()))
    return lanes


def shade(colour: str, score: float) -> tuple[float, ...]:
    """The colour itself at score 1, nearly white at 0."""
    strength = 0.08 + 0.92 * float(np.clip(score, 0, 1))
    return tuple(1 - strength * (1 - channel) for channel in to_rgb(colour))


class _Sheet:
    """The figure and where things lie on it, in inches from its upper left corner."""

    TOP, GAP, BOTTOM = 0.55, 0.12, 0.95

    def __init__(self, left: float, width: float, duration_seconds: float) -> None:
        self.left, self.width, self.duration_seconds = left, width, duration_seconds

    def panels(self, heights: Sequence[float]) -> list[Axes]:
        """One axes a height, stacked from the top, sharing the time axis."""
        self.height = self.TOP + sum(heights) + self.GAP * (len(heights) - 1) + self.BOTTOM
        self.figure = Figure(figsize=(WIDTH_INCHES, self.height), dpi=150, facecolor='white')
        axes, top = [], self.TOP
        for height in heights:
            axes.append(self.figure.add_axes(self._box(top, max(height, 1e-3))))
            top += height + self.GAP
            _style(axes[-1], self.duration_seconds, with_time=len(axes) == len(heights))
        return axes

    def _box(self, top: float, height: float) -> tuple[float, float, float, float]:
        return (self.left / WIDTH_INCHES, 1 - (top + height) / self.height,
                self.width / WIDTH_INCHES, height / self.height)

    def write_head(self, title: str, note: str) -> None:
        line = 1 - 0.34 / self.height
        self.figure.text(self.left / WIDTH_INCHES, line, title, size=14, weight='bold', color=INK)
        self.figure.text(1 - RIGHT_INCHES / WIDTH_INCHES, line, note, size=9, color=FAINT_INK,
                         ha='right')

    def draw_legend(self, score_threshold: float, is_annotated: bool) -> None:
        """What the boxes and their shades mean; colours are named beside the rows."""
        keys = [Patch(facecolor=shade(INK, 0.1), linewidth=0,
                      label='annotated span of the class')] * is_annotated
        for score in np.linspace(score_threshold, 1, 4):
            keys.append(Patch(facecolor=shade(INK, score), edgecolor=INK,
                              label=f'detected, score {score:.2f}'))
        self.figure.legend(handles=keys, loc='lower center', ncols=len(keys), frameon=False,
                           fontsize=9, labelcolor=INK, handlelength=1.6)

    def save(self, path: str | Path) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        FigureCanvasAgg(self.figure).print_png(str(path))

    def pixels(self) -> np.ndarray:
        canvas = FigureCanvasAgg(self.figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _nothing_annotated() -> VideoAnnotation:
    return VideoAnnotation('', '', None, None, None, np.empty((0, 2)), ())


def _palette(class_names: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """Colours of the labels that occur: classes in their order, others grey."""
    present = set(labels)
    colours = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(class_names)
               if name in present}
    return colours | dict.fromkeys(sorted(present - set(colours)), OTHER_COLOUR)


def _of_label(shown: ScoredSegments, name: str) -> np.ndarray:
    return shown.segments_seconds[[label == name for label in shown.labels]]


def _style(axes: Axes, duration_seconds: float, with_time: bool) -> None:
    axes.set_xlim(0, duration_seconds)
    axes.xaxis.set_major_locator(MaxNLocator(12, steps=[1, 2, 5, 10]))
    axes.tick_params(length=0, pad=6, labelsize=9, labelcolor=INK, labelbottom=with_time)
    axes.grid(axis='x', color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_thumbnails(axes: Axes, thumbnails: Sequence[np.ndarray],
                     duration_seconds: float) -> None:
    axes.grid(False)
    width = duration_seconds / max(len(thumbnails), 1)
    for index, frame in enumerate(thumbnails):
        axes.imshow(frame, extent=(index * width, (index + 1) * width, 0, 1), aspect='auto')
        axes.axvline(index * width, color='white', linewidth=1.5)
    axes.set_xlim(0, duration_seconds)


def _draw_ground_truth(axes: Axes, truth: VideoAnnotation, lanes: np.ndarray,
                       palette: dict[str, str]) -> None:
    for (start, end), label, lane in zip(truth.segments_seconds, truth.labels, lanes):
        axes.barh(lane, end - start, left=start, height=0.78, color=palette[label],
                  edgecolor='white', linewidth=1)
    axes.set_ylim(lanes.max(initial=0) + 0.5, -0.5)
    axes.set_yticks([lanes.max(initial=0) / 2], ['ground truth'])
    axes.set_facecolor('#F6F7F9')


def _draw_predictions(axes: Axes, shown: ScoredSegments, truth: VideoAnnotation,
                      rows: dict[str, int], palette: dict[str, str]) -> None:
    labels, top = np.array(shown.labels, dtype=object), 0
    is_roomy = sum(rows.values()) * LANE_INCHES <= 1.5 * MAX_PANEL_INCHES
    for name, height in rows.items():
        for (start, end), label in zip(truth.segments_seconds, truth.labels):
            if label == name:  # where this class was annotated
                axes.barh(top, end - start, left=start, height=height, align='edge',
                          color=shade(palette[name], 0.1), linewidth=0)
        segments, scores = _of_label(shown, name), shown.scores[labels == name]
        for (start, end), score, lane in zip(segments, scores, assign_lanes(segments)):
            _draw_detection(axes, start, end, top + lane, score, palette[name], is_roomy)
        axes.axhline(top, color=GRID, linewidth=0.8)
        axes.add_patch(Rectangle((-0.009, top + 0.08), 0.006, height - 0.16, color=palette[name],
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
