"""Score curves of one streamed video: the score of each class over time, below the annotation."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.palette import INK, class_colours, shade
from sbp_tad.visualization.sheet import (
    Sheet,
    assign_lanes,
    draw_ground_truth,
    draw_thumbnails,
    truth_inches,
)

ROW_INCHES = 0.55
LEAST_PEAK = 0.2


def draw_scores(path: str | Path, title: str, times_seconds: np.ndarray, scores: np.ndarray,
                ground_truth: VideoAnnotation, class_names: Sequence[str],
                thumbnails: Sequence[np.ndarray] = ()) -> None:
    """Write a PNG of frames, annotated actions and one row of scores per class.

    Classes without an annotation and without a score of ``LEAST_PEAK`` have no row.

    Args:
        path: file to write; its folder is created.
        title: headline, such as the name of the video.
        times_seconds: (T,) moments at equal distances, at least two.
        scores: (T, C) in [0, 1], without the background.
        ground_truth: annotated segments and the duration of the video.
        class_names: the C classes, in the order of the scores.
        thumbnails: see :func:`draw_timeline`.

    Raises:
        VisualizationError: the arguments disagree, or the file cannot be written.
    """
    duration = ground_truth.duration_seconds
    if not duration or len(times_seconds) < 2 \
            or scores.shape != (len(times_seconds), len(class_names)):
        raise VisualizationError(
            'Scores: expected a duration, at least two moments and for each of them the scores of '
            f'{len(class_names)} classes, got {duration} s, {len(times_seconds)} moments and '
            f'scores of shape {scores.shape}.')
    peaks = dict(zip(class_names, scores.max(axis=0)))
    colours = class_colours(class_names, [*ground_truth.labels, *(
        name for name, peak in peaks.items() if peak >= LEAST_PEAK)])
    rows = [name for name in class_names if name in colours]
    lanes = assign_lanes(ground_truth.segments_seconds)
    sheet = Sheet(rows, duration)
    frames, upper, *panels = sheet.panels([
        sheet.strip_inches(thumbnails), truth_inches(lanes), *[ROW_INCHES] * max(len(rows), 1)])
    draw_thumbnails(frames, thumbnails, duration)
    draw_ground_truth(upper, ground_truth, lanes, colours)
    for axes, name in zip(panels, rows):
        spans = ground_truth.segments_seconds[[label == name for label in ground_truth.labels]]
        _draw_row(axes, name, colours[name], spans, times_seconds,
                  scores[:, class_names.index(name)])
    panels[-1].set_xlabel('time in seconds', color=INK)
    sheet.write_head(title, f'scores of {len(rows)} of {len(class_names)} classes, 0 to 1')
    sheet.draw_legend([Patch(facecolor=shade(INK, 0.15), label='annotated span of the class'),
                       Patch(facecolor=shade(INK, 0.7), label='score from the frames so far')])
    sheet.save(path)


def _draw_row(axes: Axes, name: str, colour: str, spans: np.ndarray, times_seconds: np.ndarray,
              scores: np.ndarray) -> None:
    """Draw one class: annotated spans in a pale colour, and its score as a filled step curve."""
    for start, end in spans:
        axes.axvspan(start, end, color=shade(colour, 0.15), linewidth=0)
    ends = np.append(times_seconds, 2 * times_seconds[-1] - times_seconds[-2])
    held = np.append(scores, scores[-1])  # a score holds until the next frame
    axes.fill_between(ends, held, step='post', color=shade(colour, 0.7), linewidth=0)
    axes.step(ends, held, where='post', color=colour, linewidth=1)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0.5], [name])
    axes.axhline(0, color=colour, linewidth=0.8)
