"""Display matrix of a video: how a player turns and mirrors its frames."""
from __future__ import annotations

from typing import Any, NamedTuple

import av
import numpy as np


class Orientation(NamedTuple):
    """Steps from stored to shown pixels, in this order."""

    transposed: bool = False
    mirrored_x: bool = False
    mirrored_y: bool = False

    @property
    def is_turned(self) -> bool:
        """Return whether the shown frame differs from the stored one."""
        return any(self)

    @property
    def is_mirrored(self) -> bool:
        """Return whether no turn alone leads to the shown frame."""
        return sum(self) % 2 == 1


def display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """Return the display matrix (9,) int32 of a frame, None if it has none."""
    matrix: Any = frame.side_data.get('DISPLAYMATRIX')
    return None if matrix is None else np.frombuffer(bytes(matrix), np.int32)


def orientation(matrix: np.ndarray | None) -> Orientation:
    """Return the nearest quarter turn and mirroring of a display matrix.

    Args:
        matrix: (9,) rows ``a b u, c d v, x y w``; the pixel (x, y) is shown at
            ``(a x + c y, b x + d y)``, up to a shift and a scale. None: as stored.
    """
    if matrix is None:
        return Orientation()
    a, b, _, c, d = matrix[:5].astype(np.int64)
    if abs(a) + abs(d) < abs(b) + abs(c):
        return Orientation(True, bool(c < 0), bool(b < 0))
    return Orientation(False, bool(a < 0), bool(d < 0))


def displayed(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return an image (H, W, 3) as its display matrix shows it."""
    transposed, mirrored_x, mirrored_y = orientation(matrix)
    image = image.transpose(1, 0, 2) if transposed else image
    return np.ascontiguousarray(image[::-1 if mirrored_y else 1, ::-1 if mirrored_x else 1])
