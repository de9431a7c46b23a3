"""Segmentation head: classes of every step, runs of steps grouped into segments."""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from sbp_tad.models.errors import ModelError
from sbp_tad.models.layers.global_batch import average_over_batch, global_count
from sbp_tad.models.layers.masked_layers import (
    ConvTower,
    check_batch,
    check_finite,
    check_sequence,
)
from sbp_tad.registry import MODELS


@MODELS.register_module()
class SegmentationHead(BaseModule):
    """Classify every step and group steps into segments, bottom-up.

    A step may have several classes, or none (background). A segment is a run
    of steps with scores above a threshold. Several thresholds give long and
    short segments from the same scores, as in the temporal actionness
    grouping of Zhao et al., ICCV 2017.

    Args:
        num_classes: number of actions, background not counted.
        in_channels: channels of the features.
        num_convs: convolutions before the predictor.
        thresholds: thresholds of the scores, each in (0, 1).
        max_segments: best segments to keep per item.
        class_prior: probability of every class at the start of training.
        loss_cls: config of the loss, (P, C) logits and targets to a sum.
        init_cfg: weight initialization of mmengine.

    Raises:
        ModelError: no threshold, or one outside (0, 1).
    """

    def __init__(self, num_classes: int, in_channels: int, num_convs: int = 2,
                 thresholds: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
                 max_segments: int = 2000, class_prior: float = 0.01,
                 loss_cls: dict | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if not thresholds or not all(0 < threshold < 1 for threshold in thresholds):
            raise ModelError('thresholds must hold at least one number, all in (0, 1), got '
                             f'{list(thresholds)}')
        self.num_classes, self.max_segments = num_classes, max_segments
        self.in_channels = in_channels
        self.thresholds = tuple(thresholds)
        self.tower = ConvTower(in_channels, in_channels, num_classes, num_convs, kernel_size=3)
        # otherwise the many background steps dominate the loss of the first training steps
        torch.nn.init.constant_(self.tower.predictor.bias,
                                -math.log((1 - class_prior) / class_prior))
        self.loss_cls = MODELS.build(loss_cls or dict(type='SigmoidFocalLoss'))

    def forward(self, features: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """Return logits (B, T, num_classes) of one level (B, C, T) with its mask (B, T).

        Raises:
            ModelError: more or fewer levels than one, or other channels.
        """
        if len(features) != 1:
            raise ModelError(f'SegmentationHead takes a single level, got {len(features)}: '
                             'leave the neck out, or give it one level')
        check_sequence(features[0], masks[0], self.in_channels)
        return self.tower(features[0], masks[0])

    def loss(self, features: Sequence[Tensor], masks: Sequence[Tensor],
             segments_grid: Sequence[Tensor], labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return ``loss_cls`` per positive step; arguments as of :meth:`AnchorFreeHead.loss`."""
        check_batch(features[0])
        logits, real = self(features, masks), masks[0]
        targets = torch.stack([label_steps(*item, logits.shape[1], self.num_classes)
                               for item in zip(segments_grid, labels)])  # (B, T, C)
        num_positive = global_count(targets[real].any(dim=1))
        loss = self.loss_cls(logits[real], targets[real])
        return {'loss_cls': average_over_batch(loss, num_positive)}

    @torch.no_grad()
    def predict(self, features: Sequence[Tensor], masks: Sequence[Tensor]) -> list[InstanceData]:
        """Return the segments of each item, best first; see :meth:`AnchorFreeHead.predict`."""
        scores = self(features, masks).float().sigmoid()  # (B, T, C)
        check_finite(scores)
        scores = scores.masked_fill(~masks[0][..., None], 0.0)
        found = [group_steps(item, self.thresholds) for item in scores]
        return [item[item.scores.argsort(descending=True, stable=True)[:self.max_segments]]
                for item in found]


def label_steps(segments_grid: Tensor, labels: Tensor, num_steps: int, num_classes: int
                ) -> Tensor:
    """Return the classes of every step, (T, C) of 0 and 1.

    A step has the classes of the actions that contain its centre. An action
    too short to contain a centre labels the step that contains its own centre.

    Args:
        segments_grid: (N, 2) start and end in steps; N may be 0.
        labels: (N,) int64 classes.
        num_steps: T.
        num_classes: C.
    """
    start, end = segments_grid.unbind(1)
    steps = torch.arange(num_steps, device=labels.device)[:, None]
    inside = (start <= steps + 0.5) & (steps + 0.5 < end)
    inside |= steps == ((start + end) / 2).floor()  # (T, N)
    targets = torch.zeros(num_steps, num_classes, device=labels.device)
    return targets.index_add(1, labels, inside.to(targets)).clamp(max=1)


def group_steps(scores: Tensor, thresholds: Sequence[float]) -> InstanceData:
    """Return runs of steps above each threshold as segments, with their mean score.

    Args:
        scores: (T, C) in [0, 1].
        thresholds: thresholds of the scores; equal runs of several thresholds
            count once.

    Returns:
        ``segments_grid`` (K, 2) in steps, ``scores`` (K,) and ``labels`` (K,)
        int64, sorted by label, start and end.
    """
    before_first = scores.new_zeros(scores.shape[1], 1)
    runs = []
    for threshold in thresholds:
        above = (scores.t() > threshold).to(scores)  # (C, T)
        edges = torch.cat((before_first, above, before_first), dim=1).diff(dim=1)  # (C, T + 1)
        starts, ends = (edges == 1).nonzero(), (edges == -1).nonzero()  # rows pair: (class, step)
        runs.append(torch.cat((starts, ends[:, 1:]), dim=1))
    labels, start, end = torch.cat(runs).unique(dim=0).unbind(1)
    # float64: differences of the sums of a long window must stay exact enough
    sums = torch.cat((before_first.t(), scores)).double().cumsum(dim=0)  # (T + 1, C)
    mean = (sums[end, labels] - sums[start, labels]) / (end - start)
    return InstanceData(segments_grid=torch.stack((start, end), dim=1).to(scores),
                        scores=mean.to(scores), labels=labels)
