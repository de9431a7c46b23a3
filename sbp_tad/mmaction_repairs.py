"""Repairs of components of mmaction2, one function each, as in :mod:`sbp_tad.compat`.

Each function quotes the error or the wrong number that occurs without it, and
does nothing where that cannot occur. At module level only the standard library
is imported.
"""
from __future__ import annotations

import functools
import sys
import types
from typing import Any

from sbp_tad.versions import release


class _NumpyWithOldNames(types.ModuleType):
    """numpy, with the names that later versions removed."""

    renamed = dict(trapz='trapezoid', in1d='isin', Inf='inf')

    def __getattr__(self, name: str) -> Any:
        import numpy

        return getattr(numpy, name if hasattr(numpy, name) else self.renamed.get(name, name))


def repair_old_numpy_names() -> None:
    """Cure for ``module 'numpy' has no attribute 'trapz'``, and ``'in1d'``, and ``'Inf'``.

    numpy 2.0 removed ``Inf`` (mmaction's transforms of poses), 2.4 ``trapz``
    (its average recall of proposals) and ``in1d`` (its recall of retrieval).
    """
    import numpy

    if release(numpy.__version__) < (2,):
        return
    for name in ('evaluation.functional.accuracy', 'evaluation.metrics.multimodal_metric',
                 'datasets.transforms.pose_transforms', 'utils.misc'):
        module = sys.modules.get(f'mmaction.{name}')
        if module is not None:
            module.np = _NumpyWithOldNames('numpy')


def repair_tcanet_scores() -> None:
    """Cure for proposals of TCANet that all score 0, whose average recall is then of no order.

    ``TCANet.predict`` of mmaction2 takes the scores as a view of the proposals
    and then writes the number of the video over them. Here a column that it
    takes is a copy.
    """
    from mmaction import models

    network = getattr(models, 'TCANet', None)  # not in every version
    if network is None or hasattr(network.predict, '__wrapped__'):
        return
    predict, module = network.predict, sys.modules[network.__module__]

    @functools.wraps(predict)
    def predict_with_scores(*args: Any, **options: Any) -> Any:
        plain = module.torch
        module.torch = _torch_with_copied_columns()
        try:
            return predict(*args, **options)
        finally:
            module.torch = plain

    network.predict = predict_with_scores


@functools.cache
def _torch_with_copied_columns() -> types.ModuleType:
    """Return torch, but a column taken from its zeros (B, N, C) is a copy and not a view."""
    import torch

    class Columns(torch.Tensor):
        def __getitem__(self, index: Any) -> torch.Tensor:
            found = self.as_subclass(torch.Tensor)[index]
            is_column = isinstance(index, tuple) and len(index) == 3 and isinstance(index[2], int)
            return found.clone() if is_column else found

    class Torch(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            return getattr(torch, name)

        def zeros(self, *size: Any, **options: Any) -> torch.Tensor:
            return torch.zeros(*size, **options).as_subclass(Columns)

    return Torch('torch')


def repair_negative_hue() -> None:
    """Cure for ``Python integer -18 out of bounds for uint8``.

    Since numpy 2, mmaction's ``ColorJitter`` cannot lower the
    hue, because it adds a negative integer to an array of uint8.
    """
    import numpy

    if release(numpy.__version__) < (2,):
        return
    from mmaction.datasets.transforms import ColorJitter

    ColorJitter.adjust_hue = staticmethod(_adjust_hue)


def repair_bfloat16_scores() -> None:
    """Cure for ``Got unsupported ScalarType BFloat16``.

    To report their accuracy, heads of mmaction convert the scores of a
    training step to numpy, which has no such type.
    """
    from mmaction.models.heads import BaseHead

    loss = BaseHead.loss_by_feat
    if not hasattr(loss, '__wrapped__'):
        BaseHead.loss_by_feat = functools.wraps(loss)(
            lambda head, scores, samples: loss(head, scores.float(), samples))


def _adjust_hue(image: Any, factor: float) -> Any:
    """Shift the hue of an RGB image (H, W, 3) by ``int(factor * 255)``.

    The unit is OpenCV's (two degrees), as in mmaction. The result is float32.
    """
    import cv2
    import numpy

    image = numpy.clip(image, 0, 255).astype(numpy.uint8)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hue = hsv[..., 0].astype(numpy.int16) + int(factor * 255)
    hsv[..., 0] = hue % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(numpy.float32)
