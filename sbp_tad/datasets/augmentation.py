"""Spatial augmentation that mmaction2 lacks."""
from __future__ import annotations

from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomRotation(BaseTransform):
    """Rotate all frames of a window by one random angle around their centre.

    Reads and sets ``imgs``, a list of (H, W, 3) frames of one size. The size
    stays the same; pixels from outside the frame are its mirror image.

    Args:
        max_degrees: bound of the angle, which is uniform in [-max_degrees, max_degrees].
        probability: probability of rotating a window, in [0, 1].

    Raises:
        DatasetError: a probability outside [0, 1] or negative ``max_degrees``.
    """

    def __init__(self, max_degrees: float = 45.0, probability: float = 0.5) -> None:
        if max_degrees < 0 or not 0 <= probability <= 1:
            raise DatasetError('RandomRotation needs max_degrees >= 0 and a probability in [0, 1], '
                               f'got {max_degrees} and {probability}.')
        self.max_degrees, self.probability = max_degrees, probability

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Rotate the frames of ``results`` with the given probability."""
        if np.random.rand() < self.probability:
            degrees = np.random.uniform(-self.max_degrees, self.max_degrees)
            results['imgs'] = [mmcv.imrotate(frame, degrees, border_mode='reflect_101')
                               for frame in results['imgs']]
        return results

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(max_degrees={self.max_degrees}, '
                f'probability={self.probability})')
