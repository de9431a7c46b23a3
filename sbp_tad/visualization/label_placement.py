"""Placement of labels beside points without overlaps. Numpy only."""
from __future__ import annotations

import numpy as np

ANGLES = np.radians(np.arange(0, 360, 15))
GAPS = (2.0, 8.0, 18.0, 32.0, 50.0)
MAX_SWEEPS = 30
OUTSIDE_WEIGHT, DISTANCE_WEIGHT = 4.0, 0.6


def place_labels(anchors: np.ndarray, radii: np.ndarray, sizes: np.ndarray, bounds: np.ndarray,
                 obstacles: np.ndarray | None = None) -> np.ndarray:
    """Return boxes (N, 4) of labels, each near its point: left, bottom, right, top.

    Each label in turn takes the candidate box that covers least, the nearest of
    equal ones, until no label moves any more. All lengths are in pixels.

    Args:
        anchors: (N, 2) centres of round points.
        radii: (N,) of the points.
        sizes: (N, 2) width and height of the labels.
        bounds: (4,) box that should contain the labels.
        obstacles: (M, 4) further boxes that no label should cover.
    """
    squares = np.concatenate([anchors - radii[:, None], anchors + radii[:, None]], axis=1)
    fixed = squares if obstacles is None else np.concatenate([squares, obstacles])
    candidates = [_candidates(*point) for point in zip(anchors, radii, sizes)]  # N of (K, 4)
    costs = [_fixed_cost(boxes, fixed, bounds) for boxes in candidates]
    chosen = np.array([boxes[cost.argmin()] for boxes, cost in zip(candidates, costs)])
    for _ in range(MAX_SWEEPS):
        before = chosen.copy()
        for label, (boxes, cost) in enumerate(zip(candidates, costs)):
            others = np.delete(chosen, label, axis=0)
            chosen[label] = boxes[(cost + overlap_areas(boxes, others).sum(axis=1)).argmin()]
        if np.array_equal(before, chosen):
            break
    return chosen


def overlap_areas(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the areas (N, M) that boxes (N, 4) and others (M, 4) share."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return (high - low).clip(min=0).prod(axis=2)


def _candidates(anchor: np.ndarray, radius: float, size: np.ndarray) -> np.ndarray:
    """Return boxes (K, 4) around a point, the nearest first, and to the right first of all."""
    directions = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)  # (A, 2)
    # From the centre of the box to its edge, in the direction of the point.
    reach = np.minimum.reduce([size[axis] / 2 / np.abs(directions[:, axis]).clip(1e-9)
                               for axis in (0, 1)])  # (A,)
    middles = np.concatenate([anchor + directions * (radius + gap + reach)[:, None]
                              for gap in GAPS])
    return np.concatenate([middles - size / 2, middles + size / 2], axis=1)


def _fixed_cost(boxes: np.ndarray, fixed: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return the cost (K,) of boxes (K, 4) without the overlaps with other labels."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    outside = areas - overlap_areas(boxes, bounds[None])[:, 0]
    gaps = np.repeat(GAPS, len(ANGLES))
    return overlap_areas(boxes, fixed).sum(axis=1) + OUTSIDE_WEIGHT * outside + \
        DISTANCE_WEIGHT * gaps
