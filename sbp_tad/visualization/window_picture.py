"""Picture of one window as the model gets it: its frames and its actions."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sbp_tad.structures import TADDataSample, Window
from sbp_tad.visualization.errors import VisualizationError
from sbp_tad.visualization.figures import style_axes, write_png
from sbp_tad.visualization.palette import FAINT_INK, INK, OTHER_COLOUR, PALETTE, shade
from sbp_tad.visualization.sheet import CHARACTER_INCHES, LANE_INCHES, WIDTH_INCHES, assign_lanes
from sbp_tad.wording import count_of

MARGIN_INCHES = 0.3
HEAD_INCHES, GAP_INCHES, FOOT_INCHES = 0.55, 0.1, 0.55
FEATURE_INCHES = 2.0


def draw_window(path: str | Path, inputs: np.ndarray, sample: TADDataSample,
                class_names: Sequence[str], num_frames: int = 12) -> None:
    """Write a PNG of the frames of a packed window above its annotated segments.

    Args:
        path: file to write; its folder is created.
        inputs: frames (3, T, H, W), of which some are shown, or features (C, T),
            shown as a map. Values other than uint8 are scaled to [0, 1].
        sample: with ``window`` and, if annotated, ``gt_instances``.
        class_names: by label.
        num_frames: frames shown, each from the middle of an equal part.

    Raises:
        VisualizationError: inputs that are neither frames nor features, or the file cannot
            be written.
    """
    if not (inputs.ndim == 4 and len(inputs) == 3) and inputs.ndim != 2:
        raise VisualizationError('inputs of a window must be frames (3, T, H, W) or features (C, '
                                 f'T), got shape {inputs.shape}.')
    window: Window = sample.window
    found = sample.get('gt_instances')
    segments = np.empty((0, 2)) if found is None else np.asarray(found.segments_seconds)
    labels = [] if found is None else found.labels.tolist()
    names = [class_names[label] for label in labels]
    places = _name_places(window, segments, names)
    lanes = assign_lanes(np.stack([np.minimum(segments[:, 0], places[:, 0]),
                                   np.maximum(segments[:, 1], places[:, 1])], axis=1))
    strip = _strip(inputs, num_frames)
    width = WIDTH_INCHES - 2 * MARGIN_INCHES
    heights = (FEATURE_INCHES if inputs.ndim == 2 else width * strip.shape[0] / strip.shape[1],
               1.5 * LANE_INCHES * (lanes.max(initial=0) + 1))
    figure, upper, lower = _figure(heights)
    start, end = window.start_seconds, _end_seconds(window)
    upper.imshow(strip, extent=(start, end, 0, 1), aspect='auto', cmap='viridis')
    if inputs.ndim == 4:
        borders = np.linspace(start, end, strip.shape[1] // inputs.shape[3] + 1)[1:-1]
        upper.vlines(borders, 0, 1, color='white', linewidth=1.5)
    for (left, _), name, lane in zip(places, names, lanes):
        lower.text(left, lane, f' {name}', size=9, color=INK, va='center')
    _draw_segments(lower, window, segments, labels, lanes)
    for axes in (upper, lower):
        axes.set_xlim(start, end)
    _write_head(figure, window, inputs, len(segments))
    write_png(path, figure, make_folder=True)


def _end_seconds(window: Window) -> float:
    """Return the end of the window, padding included."""
    return window.start_seconds + window.num_frames * window.seconds_per_frame


def _strip(inputs: np.ndarray, num_frames: int) -> np.ndarray:
    """Return frames side by side (H, n * W, 3), or the map of features (C, T)."""
    if inputs.dtype != np.uint8:
        values = inputs.astype(np.float64)
        inputs = (values - values.min()) / max(np.ptp(values), np.finfo(float).tiny)
    if inputs.ndim == 2:
        return inputs
    number = min(num_frames, inputs.shape[1])
    chosen = ((np.arange(number) + 0.5) * inputs.shape[1] / number).astype(int)
    return np.concatenate(list(inputs[:, chosen].transpose(1, 2, 3, 0)), axis=1)


def _figure(heights: tuple[float, float]) -> tuple[Figure, Axes, Axes]:
    """Return a figure with two axes of these heights in inches, one above the other."""
    total = HEAD_INCHES + sum(heights) + GAP_INCHES + FOOT_INCHES
    figure = Figure(figsize=(WIDTH_INCHES, total), dpi=150, facecolor='white')
    left, width = MARGIN_INCHES / WIDTH_INCHES, 1 - 2 * MARGIN_INCHES / WIDTH_INCHES
    upper = figure.add_axes((left, 1 - (HEAD_INCHES + heights[0]) / total, width,
                             heights[0] / total))
    upper.set_axis_off()
    return figure, upper, figure.add_axes((left, FOOT_INCHES / total, width, heights[1] / total))


def _write_head(figure: Figure, window: Window, inputs: np.ndarray, num_segments: int) -> None:
    left, line = MARGIN_INCHES / WIDTH_INCHES, 1 - 0.34 / figure.get_figheight()
    figure.text(left, line, f'{window.video_id}, {window.start_seconds:.2f} to '
                f'{window.valid_end_seconds:.2f} s', size=13, weight='bold', color=INK)
    figure.text(1 - left, line, f"{' x '.join(map(str, inputs.shape))} {inputs.dtype}, stride "
                f'{window.stride_frames:g} at {window.fps:g} fps, '
                f"{count_of(num_segments, 'segment')}", size=9, color=FAINT_INK, ha='right')


def _name_places(window: Window, segments: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return the time span (N, 2) of each written name: at the start, but within the window."""
    seconds_per_inch = (_end_seconds(window) - window.start_seconds) / (
        WIDTH_INCHES - 2 * MARGIN_INCHES)
    room = seconds_per_inch * CHARACTER_INCHES * np.array([len(name) + 1 for name in names])
    left = np.minimum(segments[:, 0], _end_seconds(window) - room)
    return np.stack([left, left + room], axis=1)


def _draw_segments(axes: Axes, window: Window, segments: np.ndarray, labels: Sequence[int],
                   lanes: np.ndarray) -> None:
    """Draw one bar per segment; hatch the padding after the end of the video."""
    for (start, end), label, lane in zip(segments, labels, lanes):
        axes.barh(lane, end - start, left=start, height=0.8,
                  color=shade(PALETTE[label % len(PALETTE)], 0.6))  # pale enough to write on
    end = _end_seconds(window)
    if window.valid_end_seconds < end:
        axes.axvspan(window.valid_end_seconds, end, facecolor='none', edgecolor=OTHER_COLOUR,
                     hatch='///', linewidth=0)
    axes.set_ylim(lanes.max(initial=0) + 0.5, -0.5)
    axes.set_yticks([])
    axes.set_xlabel('time in the video, seconds', size=9, color=FAINT_INK)
    style_axes(axes, 'x')
